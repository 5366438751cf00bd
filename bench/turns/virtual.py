"""Plays a dialogue into the real STT engine and the real turn-taking in virtual time, faster than it sounds.

Session samples are the clock. The microphone sends packets of 20 ms, as stock clients do; each is a turn of the STT
loop, and each shows the web what time it is. There are no replies: the assistant is silent, whatever is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.turns import virtual_models
from bench.turns.dialogue import Rendered, Sound, Stretch
from bench.turns.score import Ended
from bench.turns.virtual_models import KnownVad, Library
from bench.turns.virtual_work import Desk
from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE
from config.tuning import TurnSettings
from gpu_workers.engine import ListenOptions, Pcm, SttFact
from gpu_workers.stt.embedded import EmbeddedStt, Settings
from web.actions import Action, CloseUtterance, SpeechStopped, TakeText
from web.config import Wishes
from web.happenings import CommitAsked, Happening, Tick
from web.rules import Rules
from web.ticks import next_tick
from web.turn import advance
from web.turn_state import Phase, Turn

PACKET = SAMPLE_RATE // 50

#: From a packet at the web to the decision: frame wait (median 1 ms) and the way of a result from a worker to the
#: client (word lag, median 3 ms), both for one session in docs/benchmarks.md, "Plumbing".
PLUMBING_S = 0.004

#: The room before the first word.
LEAD = SAMPLE_RATE

#: The room after a turn: a turn whose end was not seen 5 s after its last word was missed.
GAP = SAMPLE_RATE * 11 // 2

#: So long before the next turn's first packet the turn before is closed, whatever the system thinks of it: each turn
#: begins anew.
CLOSE = SAMPLE_RATE * 2 // 5

#: A quiet room is not digital silence.
ROOM_TONE = 2e-4

#: Facts of one slot that follow from one another; more are a loop.
MAX_ROUNDS = 8


@dataclass(frozen=True)
class Known:
    """Something the deciding side learnt. Times are ms from the turn's first sample."""

    at_ms: float
    """When it was known."""
    what: str
    of_ms: float
    """What it is about: where voice began or ended, up to where words were understood."""
    p_end: float | None = None
    ms: int | None = None
    text: str | None = None


@dataclass
class TurnPlayed:
    """A turn as it was played, and all that came of it."""

    phrases: tuple[Stretch, ...]
    """In session samples."""
    until: int
    """The next turn's first sample."""
    ends: list[Ended] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)

    @property
    def begin(self) -> int:
        """Where its first phrase begins."""
        return self.phrases[0].begin

    def ms(self, at: float) -> float:
        """A session sample as a time of the turn."""
        return round((at - self.begin) * 1000 / SAMPLE_RATE, 1)


@dataclass(frozen=True)
class Session:
    """A dialogue as one sound."""

    pcm: Pcm
    turns: tuple[TurnPlayed, ...]


def session(rendered: Rendered) -> Session:
    """The turns one after another, with room before and after each, over the noise."""
    pieces, turns, at = [np.zeros(LEAD, np.float32)], [], LEAD
    for sound in rendered.turns:
        phrases = tuple(Stretch(at + one.begin, at + one.end) for one in sound.phrases)
        pieces += [sound.pcm, np.zeros(_gap(sound), np.float32)]
        at += len(pieces[-2]) + len(pieces[-1])
        turns.append(TurnPlayed(phrases, at))
    pcm = np.concatenate(pieces)
    return Session(np.clip(pcm + bed(rendered, len(pcm)), -1, 1).astype(np.float32), tuple(turns))


def _gap(sound: Sound) -> int:
    """Silence after a sound so that the time since its last word is the same for all."""
    return max(0, GAP - (len(sound.pcm) - sound.phrases[-1].end))


def bed(rendered: Rendered, samples: int) -> Pcm:
    """What is always there."""
    if rendered.noise is not None:
        return np.resize(rendered.noise, samples)
    return np.random.default_rng(0).normal(0, ROOM_TONE, samples).astype(np.float32)


class Player:
    """One session of one dialogue under one set of rules."""

    def __init__(self, engine: EmbeddedStt, desk: Desk, rules: Rules, played: Session) -> None:
        self._engine = engine
        self._desk = desk
        self._rules = rules
        self._session = played
        self._turn = Turn()
        self._current = 0
        self._acts: list[Action] = []

    def run(self) -> tuple[TurnPlayed, ...]:
        """The whole session."""
        self._engine.open(0, ListenOptions(0))
        heard = 0
        for received in range(PACKET, len(self._session.pcm) + 1, PACKET):
            self._desk.until(received / SAMPLE_RATE)
            self._look_at_time(received)
            frames = {}
            if received >= heard + self._engine.frame_samples:
                frames[0] = self._session.pcm[heard : heard + self._engine.frame_samples]
                heard += self._engine.frame_samples
            self._step(frames)
        self._engine.close(0)
        return self._session.turns

    def _look_at_time(self, received: int) -> None:
        tick = next_tick(self._turn, self._rules)
        if tick is not None and received >= tick:
            self._happen(Tick(received), received)
        until = self._session.turns[self._current].until
        due = until - CLOSE <= received < until - CLOSE + PACKET
        if due and self._turn.phase is not Phase.LISTENING:
            self._happen(CommitAsked(received), received, asked=True)
        if received >= until:
            self._current = min(self._current + 1, len(self._session.turns) - 1)

    def _step(self, frames: dict[int, Pcm]) -> None:
        """One turn of the STT loop; an utterance that is closed is told to the engine at once."""
        for _ in range(MAX_ROUNDS):
            facts = self._engine.step(frames).get(0, ())
            at = (self._desk.now_s + PLUMBING_S) * SAMPLE_RATE
            for fact in facts:
                self._note(fact, at)
                self._happen(fact, at)
            closed = [act.pos for act in self._acts if isinstance(act, CloseUtterance)]
            self._acts.clear()
            for pos in closed:
                self._engine.commit(0, pos)
            if not facts and not closed:
                return
            frames = {}

    def _happen(self, happening: Happening, at: float, *, asked: bool = False) -> None:
        understood = self._turn.text
        self._turn, actions = advance(self._turn, happening, self._rules)
        self._acts += actions
        turn = self._session.turns[self._current]
        stopped = [action.at for action in actions if isinstance(action, SpeechStopped)]
        turn.texts += [action.text for action in actions if isinstance(action, TakeText) and action.text]
        if asked or not any(isinstance(action, CloseUtterance) for action in actions):
            return
        turn.ends.append(Ended(at, stopped[0] if stopped else int(at)))
        self._know(at, "turn ended", turn.ends[-1].stopped, text=understood)

    def _note(self, fact: SttFact, at: float) -> None:
        match fact:
            case VoiceStarted(of):
                self._know(at, "voice started", of)
            case VoiceEnded(of):
                self._know(at, "voice ended", of)
            case Pause(of, ms, p_end):
                self._know(at, "pause", of, p_end=round(p_end, 3), ms=ms, text=self._turn.text)
            case Transcript():
                what = "final" if fact.final else "settled" if fact.settled else "partial"
                self._know(at, what, fact.to, text=fact.text)

    def _know(
        self,
        at: float,
        what: str,
        of: int,
        *,
        p_end: float | None = None,
        ms: int | None = None,
        text: str | None = None,
    ) -> None:
        turn = self._session.turns[self._current]
        turn.known.append(Known(turn.ms(at), what, turn.ms(of), p_end, ms, text))


def play(
    rendered: Rendered, settings: Sequence[TurnSettings], library: Library, engine: Settings
) -> list[tuple[TurnPlayed, ...]]:
    """The dialogue under each of the settings."""
    vad = KnownVad(library)
    return [_play(rendered, one, library, vad, engine) for one in settings]


def _play(
    rendered: Rendered, settings: TurnSettings, library: Library, vad: KnownVad, engine: Settings
) -> tuple[TurnPlayed, ...]:
    desk = Desk()
    built = EmbeddedStt(engine, 1, virtual_models.parts(library, vad, desk, engine))
    rules = Wishes(create_response=False).rules(settings)
    return Player(built, desk, rules, session(rendered)).run()
