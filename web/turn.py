"""The whole of turn-taking: what is known, what happens, what is to be done. Pure; time is session samples.

Workers report facts, `advance` decides. Every reply has a number; results of an older one are recognised by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE, TurnSettings
from web.actions import (
    Action,
    CancelReply,
    CloseUtterance,
    EndReply,
    ForgetInput,
    Mute,
    SpeechBegan,
    SpeechStopped,
    StartReply,
    TakeText,
    Unmute,
)
from web.happenings import (
    CancelAsked,
    ClearAsked,
    CommitAsked,
    Happening,
    ReplyAsked,
    ReplyFailed,
    ReplyHeard,
    SoundBegan,
    Tick,
    TranscriptLate,
)

Detection = Literal["semantic", "silence", "manual"]


class Phase(Enum):
    """Whose turn it is."""

    LISTENING = auto()  #: nobody speaks; the microphone is open
    HEARING = auto()  #: the user is speaking
    THINKING = auto()  #: the user's turn ended; no reply audio is out yet
    SPEAKING = auto()  #: the reply plays; the user may barge in


@dataclass(frozen=True)
class Rules:
    """How this session takes turns. Lengths are samples."""

    detection: Detection = "semantic"
    p_end: float = 0.5
    min_pause: int = SAMPLE_RATE // 5
    longest_wait: int = SAMPLE_RATE * 8 // 5
    longest_turn: int = SAMPLE_RATE * 30
    user_silence: int = 0
    """Silence that gives the assistant the turn; 0: never."""
    create_response: bool = True
    interrupt_response: bool = True
    echo_settle: int = SAMPLE_RATE * 3
    interrupt_voice: int = SAMPLE_RATE * 3 // 5
    interrupt_words: int = 1
    resume_silence: int = SAMPLE_RATE // 2

    @classmethod
    def of(cls, settings: TurnSettings) -> "Rules":
        """The operator's settings, for a session that asked for nothing else."""

        def samples(ms: float) -> int:
            return int(ms * SAMPLE_RATE / 1000)

        return cls(
            p_end=settings.p_end_threshold,
            min_pause=samples(settings.min_pause_ms),
            longest_wait=samples(settings.longest_wait_ms),
            longest_turn=samples(settings.longest_turn_s * 1000),
            echo_settle=samples(settings.echo_settle_s * 1000),
            interrupt_voice=samples(settings.interrupt_voice_ms),
            interrupt_words=settings.interrupt_words,
            resume_silence=samples(settings.resume_silence_ms),
        )


@dataclass(frozen=True)
class Turn:
    """Everything turn-taking remembers."""

    phase: Phase = Phase.LISTENING
    reply: int = 0
    """Number of the newest reply; 0: none yet."""
    voice: bool = False
    """The user's voice sounds now."""
    voice_from: int = 0
    voice_to: int = 0
    """Onset and end of the newest utterance's voice."""
    ends_at: int | None = None
    """When the pause has lasted long enough to end the turn."""
    p_end: float = 0.0
    """Probability that the newest pause ends the turn."""
    text: str = ""
    """What is understood of the open utterance."""
    settled_to: int = 0
    """All voice up to here is in `text`."""
    taken_to: int = -1
    """Utterances up to here are in the history."""
    awaiting: bool = False
    """The turn ended; its transcript is still to come."""
    reply_wanted: bool = False
    """A reply starts as soon as the transcript is there."""
    muted: bool = False
    quiet_since: int = 0
    """Nobody has spoken since."""

    @property
    def replying(self) -> bool:
        """A reply is being made or played."""
        return self.phase is Phase.SPEAKING or (self.phase is Phase.THINKING and not self.awaiting)


Step = tuple[Turn, tuple[Action, ...]]


def advance(turn: Turn, happening: Happening, rules: Rules) -> Step:  # noqa: C901, PLR0911, PLR0912 - the table
    """One row per line; what is not listed changes nothing."""
    manual = rules.detection == "manual"
    match turn.phase, happening:
        case _, VoiceStarted(at) | VoiceEnded(at) | Pause(at) if manual or at <= turn.taken_to:
            return turn, ()
        case Phase.LISTENING, VoiceStarted(at):
            return _hearing(turn, at), (SpeechBegan(at),)
        case Phase.HEARING, VoiceStarted():
            return replace(turn, voice=True, ends_at=None, p_end=0.0), ()
        case Phase.THINKING, VoiceStarted(at) if at < turn.voice_to:
            return turn, ()
        case Phase.THINKING, VoiceStarted(at) if turn.awaiting:
            return _hearing(replace(turn, awaiting=False, reply_wanted=False), at), (SpeechBegan(at),)
        case Phase.THINKING, VoiceStarted(at) if rules.interrupt_response:
            return _hearing(turn, at), (CancelReply(turn.reply, "turn_detected"), SpeechBegan(at))
        case Phase.THINKING, VoiceStarted(at):
            return replace(turn, voice=True, voice_from=at), ()
        case Phase.SPEAKING, VoiceStarted(at):
            return _barge_in(replace(turn, voice=True, voice_from=at, text="", p_end=0.0), rules)
        case Phase.HEARING | Phase.THINKING | Phase.SPEAKING, VoiceEnded(at) if turn.voice:
            return replace(turn, voice=False, voice_to=at, ends_at=at + _wait(rules)), ()
        case Phase.HEARING, Pause(at, ms, p_end):
            return _paused(replace(turn, voice_to=at, p_end=p_end), at + ms * SAMPLE_RATE // 1000, rules)
        case Phase.SPEAKING, Pause(at, _, p_end):
            return replace(turn, voice_to=at, p_end=p_end), ()
        case _, Transcript():
            return _understood(turn, happening, rules)
        case Phase.HEARING, Tick(at):
            return _hearing_on(turn, at, rules)
        case Phase.SPEAKING, Tick(at) if turn.muted:
            return _muted_on(turn, at, rules)
        case Phase.LISTENING, Tick(at) if 0 < rules.user_silence <= at - turn.quiet_since:
            return _start_reply(turn, (TakeText("..."),))
        case Phase.LISTENING | Phase.HEARING, CommitAsked(at):
            return replace(turn, phase=Phase.THINKING, awaiting=True, voice=False), (CloseUtterance(at),)
        case _, CommitAsked(at) if turn.replying:
            return turn, (CloseUtterance(at),)
        case Phase.LISTENING | Phase.HEARING, ClearAsked(at):
            return replace(_listening(turn, at), taken_to=at), (ForgetInput(at),)
        case Phase.THINKING, ReplyAsked() if turn.awaiting:
            return replace(turn, reply_wanted=True), ()
        case Phase.LISTENING | Phase.HEARING, ReplyAsked():
            return _start_reply(turn)
        case _, CancelAsked() if turn.replying:
            return _floor_free(turn, turn.quiet_since, rules, CancelReply(turn.reply, "client_cancelled"))
        case Phase.THINKING, SoundBegan(reply) if reply == turn.reply and turn.replying:
            return replace(turn, phase=Phase.SPEAKING), ()
        case _, ReplyHeard(reply, at) if reply == turn.reply and turn.replying:
            return _floor_free(turn, at, rules, EndReply(turn.reply))
        case _, ReplyFailed(reply, at) if reply == turn.reply and turn.replying:
            return _floor_free(turn, at, rules, CancelReply(turn.reply, "failed"))
        case Phase.THINKING, TranscriptLate(at) if turn.awaiting:
            return replace(_listening(turn, at), taken_to=at), ()
    return turn, ()


def next_tick(turn: Turn, rules: Rules) -> int | None:
    """The session sample at which a Tick changes something; None: never."""
    if turn.phase is Phase.HEARING:
        return turn.voice_from + rules.longest_turn if turn.voice or turn.ends_at is None else turn.ends_at
    if turn.phase is Phase.SPEAKING and turn.muted:
        return turn.voice_from + rules.interrupt_voice if turn.voice else turn.voice_to + rules.resume_silence
    if turn.phase is Phase.LISTENING and rules.user_silence:
        return turn.quiet_since + rules.user_silence
    return None


def _wait(rules: Rules) -> int:
    return rules.min_pause if rules.detection == "silence" else rules.longest_wait


def _hearing(turn: Turn, at: int) -> Turn:
    return replace(
        turn, phase=Phase.HEARING, voice=True, voice_from=at, ends_at=None, p_end=0.0, text="", muted=False
    )


def _listening(turn: Turn, at: int) -> Turn:
    return replace(
        turn, phase=Phase.LISTENING, voice=False, ends_at=None, awaiting=False, reply_wanted=False, muted=False,
        text="", quiet_since=at,
    )  # fmt: skip


def _floor_free(turn: Turn, at: int, rules: Rules, ended: Action) -> Step:
    """The reply is over. A user who spoke meanwhile without interrupting is heard now."""
    speaks = turn.voice or (turn.voice_to > turn.taken_to and bool(turn.text))
    if not speaks or rules.detection == "manual":
        return _listening(turn, at), (ended,)
    hearing = replace(turn, phase=Phase.HEARING, muted=False)
    return hearing, (ended, SpeechBegan(turn.voice_from))


def _paused(turn: Turn, now: int, rules: Rules) -> Step:
    if rules.detection != "semantic" or turn.voice or turn.p_end < rules.p_end:
        return turn, ()
    if now - turn.voice_to >= rules.min_pause:
        return _end_turn(turn, now, rules)
    return replace(turn, ends_at=turn.voice_to + rules.min_pause), ()


def _hearing_on(turn: Turn, now: int, rules: Rules) -> Step:
    paused_out = not turn.voice and turn.ends_at is not None and now >= turn.ends_at
    if paused_out or now - turn.voice_from >= rules.longest_turn:
        return _end_turn(turn, now, rules)
    return turn, ()


def _end_turn(turn: Turn, now: int, rules: Rules) -> Step:
    """The user's turn is over; with its transcript at hand the reply starts at once."""
    stopped = now if turn.voice else turn.voice_to
    waiting = replace(
        turn, phase=Phase.THINKING, voice=False, voice_to=stopped, ends_at=None, awaiting=True,
        reply_wanted=rules.create_response,
    )  # fmt: skip
    actions = (SpeechStopped(stopped), CloseUtterance(now))
    if turn.settled_to >= stopped and turn.settled_to > turn.taken_to:
        ended, more = _take(waiting, turn.text, turn.settled_to)
        return ended, actions + more
    return waiting, actions


def _understood(turn: Turn, heard: Transcript, rules: Rules) -> Step:
    """A transcript came: it may complete a turn, confirm an interruption, or only be remembered."""
    awaited = heard.final and turn.awaiting
    if min(heard.start, heard.to - 1) < turn.taken_to and not awaited:
        return turn, ()
    whole = heard.settled and heard.to >= turn.voice_to and rules.detection != "manual"
    if heard.final or (turn.awaiting and whole):
        return _take(turn, heard.text, heard.to)
    known = replace(turn, text=heard.text, settled_to=heard.to if heard.settled else turn.settled_to)
    if turn.phase is not Phase.SPEAKING or rules.detection == "manual" or not rules.interrupt_response:
        return known, ()
    if len(heard.text.split()) >= rules.interrupt_words:
        return _interrupt(known, heard.start, rules)
    if turn.muted and heard.settled and not turn.voice:
        return replace(known, muted=False), (Unmute(),)
    return known, ()


def _take(turn: Turn, text: str, to: int) -> Step:
    """An utterance is complete: into the history, and on to the reply if the turn waited for it."""
    took = (TakeText(text.strip()),)
    taken = replace(turn, taken_to=max(turn.taken_to, to), text="" if turn.awaiting else turn.text)
    if not turn.awaiting:
        return taken, took
    if turn.reply_wanted and text.strip():
        return _start_reply(replace(taken, awaiting=False), took)
    return _listening(taken, turn.voice_to), took


def _start_reply(turn: Turn, before: Sequence[Action] = ()) -> Step:
    number = turn.reply + 1
    started = replace(
        turn, phase=Phase.THINKING, reply=number, voice=False, awaiting=False, reply_wanted=False, muted=False
    )
    return started, (*before, StartReply(number))


def _barge_in(turn: Turn, rules: Rules) -> Step:
    """Voice while speaking: hold the audio, and see what comes of it."""
    if not rules.interrupt_response or turn.muted or turn.voice_from < rules.echo_settle:
        return turn, ()
    return replace(turn, muted=True), (Mute(),)


def _muted_on(turn: Turn, now: int, rules: Rules) -> Step:
    if turn.voice and now - turn.voice_from >= rules.interrupt_voice:
        return _interrupt(turn, turn.voice_from, rules)
    if not turn.voice and now - turn.voice_to >= rules.resume_silence:
        return replace(turn, muted=False), (Unmute(),)
    return turn, ()


def _interrupt(turn: Turn, onset: int, rules: Rules) -> Step:
    """The user has the floor; what is known of the utterance is kept, and it may be over already."""
    heard = replace(turn, phase=Phase.HEARING, muted=False, voice_from=onset)
    actions: tuple[Action, ...] = (CancelReply(turn.reply, "turn_detected"), SpeechBegan(onset))
    if turn.voice:
        return replace(heard, ends_at=None), actions
    ended, more = _paused(replace(heard, ends_at=turn.voice_to + _wait(rules)), turn.settled_to, rules)
    return ended, actions + more
