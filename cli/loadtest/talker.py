"""One simulated person in one conversation: speaks, hears the answer out, rests, speaks again. No socket, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from cli.loadtest.gathered import EARLY, FAILED, OK, UNANSWERED, Gathered, Turn
from cli.loadtest.plan import Plan, Utterance
from cli.loadtest.wires import Heard, Kind, Wire
from cli.sound import RATE
from cli.turn import Reply

#: An answer that has not ended by then never will.
GIVE_UP_S = 20.0

#: At the end of a run nobody waits that long; a turn without an answer is a failure after this time.
OVERDUE_S = 5.0

#: The assistant that speaks first gets this long to begin.
GREETING_S = 20.0

#: Between the end of an answer and the next turn, as people do.
REST_S = (0.5, 1.5)

#: An answer must be so long for its rate of delivery to mean anything: the first packets come at once.
RATED_S = 1.0

#: Of each new difference, what goes into the jitter (RFC 3550, 6.4.1).
JITTER_GAIN = 1 / 16


class Phase(Enum):
    """What the talker does."""

    GREETED = auto()  #: waits for the assistant's first words to end
    RESTING = auto()  #: is silent for a while
    SPEAKING = auto()  #: in an utterance
    LISTENING = auto()  #: waits for the answer's end
    OVER = auto()  #: has said all


@dataclass
class Answer:
    """A reply as it arrives."""

    began_s: float
    text_s: float | None = None
    audio_s: float | None = None
    last_s: float = 0.0
    ended: Kind | None = None
    jitter_s: float = 0.0
    player: Reply = field(default_factory=lambda: Reply("", None))

    def play(self, now_s: float, samples: int) -> None:
        """Some of its sound came."""
        if self.audio_s is None:
            self.audio_s = now_s
        else:
            off = abs((now_s - self.last_s) - self._piece / RATE)
            self.jitter_s += JITTER_GAIN * (off - self.jitter_s)
        self._piece = samples
        self.last_s = now_s
        self.player.play(now_s, samples)

    _piece: int = 0

    @property
    def factor(self) -> float | None:
        """All of its audio per second from its first piece to its last."""
        if self.audio_s is None or self.player.audio_s < RATED_S or self.last_s <= self.audio_s:
            return None
        return round(self.player.samples / RATE / (self.last_s - self.audio_s), 3)

    def heard_out(self, now_s: float) -> bool:
        """It is complete, and a player would have played it."""
        return self.ended is not None and now_s >= self.player.runs_out_at


@dataclass
class _Asked:
    """What the talker waits for."""

    spoken_s: float
    early: bool
    onset_s: float
    words_s: float | None
    ended_s: float | None = None
    transcript_s: float | None = None


class Talker:
    """One conversation. `found` is told what comes of it."""

    def __init__(self, plan: Plan, wire: Wire, dice: Random, found: Gathered) -> None:
        self.wire = wire
        self._plan = plan
        self._dice = dice
        self._found = found
        self._phase = Phase.GREETED if wire.assistant_first else Phase.RESTING
        self._utterances = self._endless()
        self._utterance = next(self._utterances)
        self._at = 0
        self._rest = self._pause()
        self._asked: _Asked | None = None
        self._answer: Answer | None = None
        self._onset_s = 0.0
        self._words_s: float | None = None
        self._turns = 0
        self.ready_s: float | None = None
        """When the server said that it listens."""
        self.answered = False
        """Whether anything that was said got an answer, measured or not."""

    def _endless(self) -> Iterator[Utterance]:
        all_of_them = self._plan.speech.utterances
        at = self._dice.randrange(len(all_of_them))
        while True:
            yield all_of_them[at % len(all_of_them)]
            at += 1

    def _pause(self) -> int:
        return max(1, round(self._dice.uniform(*REST_S) / self._plan.speech.packet_s))

    @property
    def over(self) -> bool:
        """All was said and answered."""
        return self._phase is Phase.OVER

    # --- the microphone

    def speak(self, now_s: float) -> bytes:
        """The message whose turn it is; it leaves now."""
        packet = self._plan.speech.silence
        if self._phase is Phase.SPEAKING:
            packet = self._utterance.packets[self._at]
            self._say(now_s)
        elif self._phase is Phase.RESTING:
            self._rest -= 1
            if not self._rest:
                self._phase, self._at, self._words_s = Phase.SPEAKING, 0, None
        elif self._phase is Phase.LISTENING:
            self._listen(now_s)
        elif self._phase is Phase.GREETED:
            self._await_greeting(now_s)
        return self.wire.append(packet)

    def _say(self, now_s: float) -> None:
        said = self._utterance
        self._at += 1
        if self._at == said.voiced_from + 1:
            self._onset_s = now_s - self._plan.speech.packet_s
        if self._at == said.voiced_to:
            self._ask(now_s)
        if self._at == len(said.packets):
            self._phase = Phase.LISTENING

    def _ask(self, now_s: float) -> None:
        """The voice ends. An answer that is under way is to what was said before."""
        if self._answer is not None and self._answer.ended is not None:
            self._answer = None
        self._asked = _Asked(now_s, self._answer is not None, self._onset_s, self._words_s)

    def _listen(self, now_s: float) -> None:
        asked, answer = self._asked, self._answer
        assert asked is not None
        if answer is not None and answer.ended is Kind.FAILED:
            self._close(FAILED, now_s)
        elif answer is not None and answer.heard_out(now_s):
            voiced = answer.audio_s is not None
            self._close((EARLY if asked.early else OK) if voiced else UNANSWERED, now_s)
        elif now_s > asked.spoken_s + GIVE_UP_S and (answer is None or answer.last_s < now_s - GIVE_UP_S):
            self._close(UNANSWERED, now_s)

    def _await_greeting(self, now_s: float) -> None:
        if self.ready_s is None:
            return
        answer = self._answer
        if answer is not None and answer.ended is Kind.FAILED:
            self._found.fail(now_s - self._plan.zero_s, "greeting failed")
        elif answer is not None and answer.heard_out(now_s):
            self._found.greetings_ms += _ms(self.ready_s, answer.audio_s)
            self._found.late_greetings += answer.player.late_s > 0
        elif now_s < self._greeting_due_s(answer):
            return
        else:
            words = "the assistant did not speak first" if answer is None else "it began, and never ended"
            self._found.fail(now_s - self._plan.zero_s, "no greeting", words)
        self._phase, self._answer = Phase.RESTING, None

    def _greeting_due_s(self, answer: Answer | None) -> float:
        """Until then something must come of it: the first word, its next sound, its end; then, all must be played."""
        assert self.ready_s is not None
        if answer is None:
            return self.ready_s + GREETING_S
        heard_s = max(answer.began_s, answer.last_s, answer.player.runs_out_at)
        return heard_s + GIVE_UP_S

    def break_off(self, now_s: float) -> None:
        """The run ends in the middle of a turn: it counts if its answer is being heard, or should long have been."""
        asked, answer = self._asked, self._answer
        if asked is None:
            return
        if answer is not None and answer.audio_s is not None:
            self._close(EARLY if asked.early else OK, now_s)
        elif now_s > asked.spoken_s + OVERDUE_S:
            self._close(UNANSWERED, now_s)

    def _close(self, outcome: str, now_s: float) -> None:
        """The turn is over; it counts if its voice ended while it is measured."""
        asked, answer = self._asked, self._answer
        assert asked is not None
        self.answered |= outcome in (OK, EARLY)
        if self._plan.measured(asked.spoken_s):
            turn = self._turn(asked, answer, outcome)
            self._found.turns.append(turn)
            if outcome in (UNANSWERED, FAILED):
                self._found.fail(now_s - self._plan.zero_s, f"turn {outcome}")
        self._asked = self._answer = None
        self._turns += 1
        self._utterance, self._rest = next(self._utterances), self._pause()
        self._phase = Phase.OVER if self._turns == self._plan.turns else Phase.RESTING

    def _turn(self, asked: _Asked, answer: Answer | None, outcome: str) -> Turn:
        at_s = round(asked.spoken_s - self._plan.zero_s, 3)
        if answer is None or outcome != OK:
            return Turn(at_s, outcome)
        transcript_s = asked.transcript_s
        if transcript_s is None and not self.wire.says_final:
            transcript_s = asked.ended_s  # all its words were there by then
        known_s = asked.ended_s
        if transcript_s is not None and answer.text_s is not None and transcript_s <= answer.text_s:
            known_s = transcript_s
        return Turn(
            at_s,
            outcome,
            end_of_turn_ms=_between(asked.spoken_s, asked.ended_s),
            stt_ms=_between(asked.ended_s, transcript_s),
            llm_ms=_between(known_s, answer.text_s),
            tts_ms=_between(answer.text_s, answer.audio_s),
            voice_to_voice_ms=_between(asked.spoken_s, answer.audio_s),
            first_words_ms=None if self.wire.says_final else _between(asked.onset_s, asked.words_s),
            audio_s=answer.player.audio_s,
            factor=answer.factor,
            late_ms=round(1000 * answer.player.late_s, 1),
            jitter_ms=round(1000 * answer.jitter_s, 2),
        )

    # --- the ears

    def hear(self, heard: Heard, now_s: float) -> None:
        """A message of the server, once the session is ready."""
        match heard.kind:
            case Kind.AUDIO:
                self._answering(now_s).play(now_s, heard.samples)
            case Kind.TEXT:
                answer = self._answering(now_s)
                answer.text_s = answer.text_s or now_s
            case Kind.REPLY:
                self._answer = Answer(now_s)
            case Kind.DONE | Kind.FAILED if self._answer is not None:
                self._answer.ended = heard.kind
            case Kind.CANCELLED:
                self._answer = None
            case Kind.WORDS | Kind.TRANSCRIPT | Kind.TURN_ENDED:
                self._understood(heard.kind, now_s)

    def _answering(self, now_s: float) -> Answer:
        if self._answer is None:
            self._answer = Answer(now_s)
        return self._answer

    def _understood(self, kind: Kind, now_s: float) -> None:
        asked = self._asked
        if kind is Kind.WORDS:
            self._words_s = self._words_s or now_s
        if asked is None:
            return
        if kind is Kind.WORDS:
            asked.words_s = asked.words_s or now_s
        if kind is Kind.TURN_ENDED:
            if self._answer is None:
                asked.ended_s = now_s  # the newest: the user may have gone on
        elif asked.ended_s is not None and (asked.transcript_s is None or self._answer is None):
            asked.transcript_s = now_s


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else round(1000 * (end_s - begin_s), 1)


def _ms(begin_s: float, end_s: float | None) -> list[float]:
    return [] if end_s is None else [round(1000 * (end_s - begin_s), 1)]
