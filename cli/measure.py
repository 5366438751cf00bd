"""The turn book: who said what when, counted from timed happenings. Pure: no clock, no socket, no printing.

Times are seconds on any one clock. What each figure means (all at the client, nothing added for playback):

- voice_to_voice_ms   last audible packet of the turn sent → packet that completes the first audible 20 ms received
- end_of_turn_ms      the same → end of turn received
- llm_first_token_ms  the server's own stage time, else end of turn → first piece of reply text received
- tts_first_audio_ms  the server's own stage time, else first piece of reply text → first audio packet received
- late_audio_ms       sum of the stalls of a player that starts 80 ms after the first packet of the reply

A turn's speech ends where the server says that the voice ended. From a server that does not say, with the last audible
packet sent before the turn's end was received; where that one is too near to be followed by a pause, the recording went
on meanwhile, and those two figures are null. Neither counts what a recording says after the pause that ended its turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

from cli import happenings as h
from cli.sound import PACKET_S
from cli.turn import Reply, Turn
from cli.voice_sent import VoiceSent

#: Clear speech of this many packets (500 ms) asks for an answer; less is a click, a breath or the tail of a word.
OWED_PACKETS = 25
#: Clear speech of this many packets (500 ms) that lies this far before what the server says it hears was missed.
#: Less may be a cough; nearer may be the server's rounding, or packets that died with a line.
MISSED_PACKETS = 25
MISSED_BEFORE_S = 1.0
#: A transcript that has not come so long after the reply ended will not come.
LATE_TEXT_S = 2.0

Field = str | int | float | bool | None
Report = dict[str, Field]


@dataclass(frozen=True)
class Notice:
    """Something worth telling, at its moment."""

    event: str
    t: float
    fields: Mapping[str, Field] = field(default_factory=dict)


class TurnBook:
    """Takes happenings in the order they were seen; tells what to announce; answers for the figures at any time."""

    def __init__(self) -> None:
        self.session: str | None = None
        self.turns: dict[str, Turn] = {}
        self.replies: dict[str, Reply] = {}
        self.errors: list[str] = []
        #: By turn, apart from `turns`: a transcript may come before its turn has ended.
        self.texts: dict[str, h.UserText] = {}
        self._lost: set[str] = set()
        self._hearing = False
        self._voice = VoiceSent()
        self._sent_s = 0.0
        #: Sound sent before the session that is held now.
        self._before_s = 0.0
        #: When, in seconds of sound sent, clear speech was sent that no turn holds yet.
        self._clear_at: list[float] = []
        self._heard_some = False
        #: What was understood since the newest turn ended, of no turn so far.
        self._understood = ""
        self._missed: list[str] = []

    @singledispatchmethod
    def note(self, happening: h.Happening, t: float) -> list[Notice]:
        """Write down what happened at `t`."""
        raise TypeError(f"no such happening: {happening!r}")

    # What the call itself does.

    @note.register
    def _(self, happening: h.SessionOpened, t: float) -> list[Notice]:
        if self.session is None or happening.session == self.session:
            self.session = happening.session
            return [Notice("session_opened", t, {"session": happening.session})]
        self.session = happening.session
        self._before_s, self._voice = self._sent_s, VoiceSent()
        self._hearing = False
        cut_short = [reply.id for reply in self.replies.values() if reply.status is None]
        self._lost |= {name for name, turn in self.turns.items() if not turn.replies}
        notices = self.note(
            h.ServerError("session_lost", "the server forgot the session and began a new one"), t
        )
        for reply in cut_short:
            notices += self.note(h.ReplyDone(reply, "failed", "session_lost"), t)
        return notices

    @note.register
    def _(self, happening: h.SessionReady, t: float) -> list[Notice]:
        return [Notice("session_ready", t)]

    @note.register
    def _(self, happening: h.FileStarted, t: float) -> list[Notice]:
        return [Notice("file_started", t)]

    @note.register
    def _(self, happening: h.FileEnded, t: float) -> list[Notice]:
        return [Notice("file_ended", t)]

    @note.register
    def _(self, happening: h.PacketSent, t: float) -> list[Notice]:
        if happening.loud:
            self._voice.sent(self._sent_s - self._before_s, t)
        if happening.clear:
            self._clear_at.append(self._sent_s)
        self._sent_s += PACKET_S
        return []

    @note.register
    def _(self, happening: h.LineLost, t: float) -> list[Notice]:
        return [Notice("disconnected", t, {"code": happening.code})]

    @note.register
    def _(self, happening: h.LineBack, t: float) -> list[Notice]:
        self._voice.comparable = False
        return [Notice("reconnected", t, {"skipped_ms": happening.skipped_ms})]

    # What the user does, as the server reports it.

    @note.register
    def _(self, happening: h.SpeechStarted, t: float) -> list[Notice]:
        if happening.from_s is not None and not self._heard_some:
            self._miss(self._before_s + happening.from_s - MISSED_BEFORE_S)
        self._hearing = self._heard_some = True
        return [Notice("speech_started", t)]

    def _miss(self, before_s: float) -> None:
        """Speech that was sent before a turn begins, and belongs to no earlier one, was not heard."""
        missed = [at for at in self._clear_at if at < before_s]
        self._clear_at = self._clear_at[len(missed) :]
        if len(missed) >= MISSED_PACKETS:
            self._missed.append(f"speech {missed[0]:.1f} to {missed[-1]:.1f} s into the call was not heard")

    @note.register
    def _(self, happening: h.SpeechStopped, t: float) -> list[Notice]:
        self._hearing = False
        self._voice.ended(happening.to_s)
        return [Notice("speech_stopped", t)]

    @note.register
    def _(self, happening: h.TurnEnded, t: float) -> list[Notice]:
        turn = self.turns.get(happening.turn)
        silent, spoken_at = not self._voice, self._voice.take(t)
        if turn is None:
            turn = Turn(len(self.turns) + 1, t, spoken_at)
            self.turns[happening.turn] = turn
        else:
            turn.ended_at = t
            turn.spoken_at = turn.spoken_at if silent else spoken_at
            turn.replies.clear()
        self._hearing = self._heard_some = False
        self._understood = ""
        self._clear_at.clear()
        after = _ms(turn.spoken_at, t)
        return [Notice("turn_ended", t, {"turn": turn.number, "end_of_turn_ms": after})]

    @note.register
    def _(self, happening: h.UserText, t: float) -> list[Notice]:
        self.texts[happening.turn] = happening
        if happening.turn not in self.turns:
            self._understood = happening.text
        if not happening.final:
            return []
        turn = self.turns.get(happening.turn)
        return [
            Notice("user_text", t, {"turn": None if turn is None else turn.number, "text": happening.text})
        ]

    @note.register
    def _(self, happening: h.TurnLost, t: float) -> list[Notice]:
        self._lost.add(happening.turn)
        return self.note(h.ServerError("transcription_failed", happening.reason), t)

    # What the assistant does.

    @note.register
    def _(self, happening: h.ReplyStarted, t: float) -> list[Notice]:
        reply, notices = self._reply(happening.reply, t)
        if reply.status is None:
            reply.words.clear()  # announced again after a reconnect: its words come again from the first
        return notices

    @note.register
    def _(self, happening: h.ReplyWord, t: float) -> list[Notice]:
        reply, notices = self._reply(happening.reply, t)
        if happening.text:
            reply.words.append(happening.text)
        if reply.first_word_at is None:
            reply.first_word_at = t
            notices.append(Notice("llm_first_word", t, _of(reply)))
        return notices

    @note.register
    def _(self, happening: h.ReplyAudio, t: float) -> list[Notice]:
        reply, notices = self._reply(happening.reply, t)
        samples = len(happening.pcm) // 2
        if not samples or reply.status is not None:
            return notices
        reply.play(t, samples)
        if reply.first_audio_at is None:
            reply.first_audio_at = t
            notices.append(Notice("first_audio", t, _of(reply)))
        if reply.audible_at is None and reply.listener.hears(happening.pcm):
            reply.audible_at = t
            spoken_at = None if reply.turn is None else reply.turn.spoken_at
            notices.append(Notice("first_audible", t, {**_of(reply), "voice_to_voice_ms": _ms(spoken_at, t)}))
        return notices

    @note.register
    def _(self, happening: h.ReplyDone, t: float) -> list[Notice]:
        reply, notices = self._reply(happening.reply, t)
        if reply.status is not None:
            return notices
        reply.status, reply.stages, reply.done_at = happening.status, happening.stages, t
        if happening.status == "cancelled":
            notices.append(Notice("interrupted", t, _of(reply)))
        fields: dict[str, Field] = {"status": happening.status, "text": reply.text, "audio_s": reply.audio_s}
        notices.append(Notice("reply_done", t, {**_of(reply), **fields}))
        if happening.status == "failed":
            reason = happening.reason or "the server gave no reason"
            self.errors.append(f"a reply failed: {reason}")
        return notices

    @note.register
    def _(self, happening: h.ServerError, t: float) -> list[Notice]:
        self.errors.append(f"{happening.code}: {happening.message}" if happening.code else happening.message)
        return [Notice("error", t, {"code": happening.code, "message": happening.message})]

    def _reply(self, name: str, t: float) -> tuple[Reply, list[Notice]]:
        """The reply of that name; a new one answers the latest turn unless that one has been answered."""
        if name in self.replies:
            return self.replies[name], []
        turn = next(reversed(self.turns.values()), None)
        if turn is not None and any(reply.samples and reply.status for reply in turn.replies):
            turn = None
        reply = Reply(name, turn)
        self.replies[name] = reply
        if turn is not None:
            turn.replies.append(reply)
        return reply, [Notice("reply_started", t, _of(reply))]

    # What can be asked of the book.

    def greeted(self, t: float) -> bool:
        """Whether the assistant has spoken first and a player would have played it all."""
        return any(reply.status and t >= reply.runs_out_at for reply in self.replies.values())

    def exchanges_over(self, t: float) -> int:
        """Turns for which nothing more is to come, without those in which the user went on before the answer."""
        return sum(self._over(name, turn, t) and not turn.dropped for name, turn in self.turns.items())

    def settled(self, t: float) -> bool:
        """Whether all that was said so far was answered: no turn open, no reply under way."""
        quiet = not self._hearing and len(self._clear_at) < OWED_PACKETS
        spoken = all(reply.status for reply in self.replies.values())
        return quiet and spoken and all(self._over(name, turn, t) for name, turn in self.turns.items())

    def _over(self, name: str, turn: Turn, t: float) -> bool:
        text = self.texts.get(name)
        known = text is not None and text.final
        if name in self._lost or (known and text is not None and not text.text and not turn.replies):
            return True
        ends = [reply.done_at for reply in turn.replies]
        if not ends or None in ends:
            return self._overtaken(turn)
        return known or t - max(end for end in ends if end is not None) > LATE_TEXT_S

    def _overtaken(self, turn: Turn) -> bool:
        """Nobody answers a turn any more once a later one is being answered."""
        return not turn.replies and any(
            later.replies for later in self.turns.values() if later.number > turn.number
        )

    def failures(self, *, to_the_end: bool = True) -> list[str]:
        """One line for each turn that is owed a spoken answer and has none, and for speech that was not heard.

        to_the_end: what was said last is owed an answer, too.
        """
        lines = list(self._missed)
        for name, turn in self.turns.items():
            text = self.texts.get(name)
            if (turn.reply and turn.reply.samples) or (text is not None and text.final and not text.text):
                continue
            if self._went_on(turn):
                continue
            lines.append(f"turn {turn.number} was not answered: {self._why(name, turn)}")
        if to_the_end and (self._hearing or len(self._clear_at) >= OWED_PACKETS):
            lines.append(self._last_speech())
        return lines

    def _last_speech(self) -> str:
        """What became of the speech after the newest turn: as much as the server told."""
        if self._hearing:
            return "the last speech was heard, but its turn had not ended when the call did"
        began_s, length_ms = self._clear_at[0], round(1000 * PACKET_S * len(self._clear_at))
        what = f"{length_ms} ms of clear sound, from {began_s:.1f} s into the call on,"
        if self._understood:
            return f"{what} were understood ({self._understood!r}), but no turn came of them"
        if self._heard_some:
            return f"{what} were heard as speech, but no turn came of them"
        return f"{what} were not heard as speech after the last turn"

    def _went_on(self, turn: Turn) -> bool:
        """The user went on before an answer could be heard: a later turn's reply answers this one too."""
        return turn.dropped and any(
            later.reply is not None and later.reply.samples
            for later in self.turns.values()
            if later.number > turn.number
        )

    def _why(self, name: str, turn: Turn) -> str:
        if name in self._lost:
            return "the server lost it"
        if turn.reply is None:
            return "no reply was begun"
        if turn.reply.status is None:
            return "its reply has no voice yet"
        return f"its reply ended without a voice ({turn.reply.status})"

    def report(self) -> list[Report]:
        """The figures of each turn, in order; null where something never came."""
        return [self._figures(name, turn) for name, turn in self.turns.items()]

    def _figures(self, name: str, turn: Turn) -> Report:
        reply = turn.reply or Reply("", turn)
        text = self.texts.get(name)
        return {
            "user_text": text.text if text is not None else None,
            "assistant_text": reply.text,
            "voice_to_voice_ms": _ms(turn.spoken_at, reply.audible_at),
            "end_of_turn_ms": _ms(turn.spoken_at, turn.ended_at),
            "llm_first_token_ms": reply.stages.get(
                "llm_first_token_ms", _ms(turn.ended_at, reply.first_word_at)
            ),
            "tts_first_audio_ms": reply.stages.get(
                "tts_first_audio_ms", _ms(reply.first_word_at, reply.first_audio_at)
            ),
            "reply_audio_s": reply.audio_s,
            "late_audio_ms": round(1000 * reply.late_s, 1),
            "interrupted": reply.status == "cancelled",
        }


def _of(reply: Reply) -> dict[str, Field]:
    return {"reply": reply.id, "turn": reply.turn.number if reply.turn is not None else None}


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(1000 * (end - start), 1)
