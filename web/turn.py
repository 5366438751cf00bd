"""The whole of turn-taking: what is known, what happens, what is to be done. Pure; time is session samples.

Workers report facts, `advance` decides. Every reply has a number; results of an older one are recognised by it.
"""

from collections.abc import Sequence
from dataclasses import replace

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE
from web.actions import (
    Action,
    CancelReply,
    CloseUtterance,
    ConfirmReply,
    DropReply,
    EndReply,
    ForgetInput,
    HangUp,
    Mute,
    PrepareReply,
    SkipVoice,
    SpeechBegan,
    SpeechStopped,
    StartReply,
    TakeText,
    Unmute,
    UserSilent,
)
from web.backchannel import asks_for_floor, is_scrap, same_words
from web.happenings import (
    CancelAsked,
    ClearAsked,
    CommitAsked,
    Happening,
    ReplyAsked,
    ReplyFailed,
    ReplyHeard,
    RoomChanged,
    SoundBegan,
    Tick,
    TranscriptLate,
)
from web.rules import Rules
from web.turn_state import SILENCE, Phase, Turn

Step = tuple[Turn, tuple[Action, ...]]


def advance(turn: Turn, happening: Happening, rules: Rules) -> Step:
    """What follows. A reply made ahead lives only as long as the pause it was made in."""
    after, actions = _step(turn, happening, rules)
    paused = after.phase is Phase.HEARING and not after.voice
    if after.prepared and not paused and not after.awaiting:
        dropped = replace(after, prepared=0, prepared_for="")
        return dropped, (DropReply(after.prepared), *actions)
    return after, actions


def _step(turn: Turn, happening: Happening, rules: Rules) -> Step:  # noqa: C901, PLR0911, PLR0912, PLR0915 - the table
    """One row per line; what is not listed changes nothing."""
    manual = rules.detection == "manual"
    match turn.phase, happening:
        case _, VoiceStarted(at) | VoiceEnded(at) | Pause(at) if manual or at <= turn.taken_to:
            return turn, ()
        case _, RoomChanged(spare):
            return replace(turn, room=spare), ()
        case Phase.LISTENING, VoiceStarted(at):
            return _hearing(turn, at), (SpeechBegan(at),)
        case Phase.HEARING, VoiceStarted():
            return replace(turn, voice=True, ends_at=None, p_end=0.0), ()
        case Phase.THINKING, VoiceStarted(at) if at < turn.voice_to:
            return turn, ()
        case Phase.THINKING, VoiceStarted(at) if turn.awaiting:
            return _hearing(replace(turn, awaiting=False, reply_wanted=False), at), (SpeechBegan(at),)
        case Phase.THINKING | Phase.SPEAKING, VoiceStarted(at):
            return _barge_in(replace(turn, voice=True, voice_from=at, text="", p_end=0.0), rules)
        case Phase.HEARING | Phase.THINKING | Phase.SPEAKING, VoiceEnded(at) if turn.voice:
            return replace(turn, voice=False, voice_to=at, ends_at=at + rules.wait(0.0, 0)), ()
        case Phase.HEARING, Pause(at, ms, p_end):
            return _paused(replace(turn, voice_to=at, p_end=p_end), at + ms * SAMPLE_RATE // 1000, rules)
        case Phase.THINKING | Phase.SPEAKING, Pause(at, _, p_end) if turn.replying:
            return replace(turn, voice_to=at, p_end=p_end), ()
        case _, Transcript():
            return _understood(turn, happening, rules)
        case Phase.HEARING, Tick(at):
            return _hearing_on(turn, at, rules)
        case Phase.THINKING | Phase.SPEAKING, Tick(at) if turn.muted:
            return _muted_on(turn, at, rules)
        case Phase.LISTENING, Tick(at) if turn.reply and 0 < rules.user_silence <= at - turn.quiet_since:
            return _left_to_assistant(turn, at, rules)
        case Phase.LISTENING | Phase.HEARING, CommitAsked(at):
            ended = replace(turn, phase=Phase.THINKING, awaiting=True, voice=False, committed=at)
            return ended, (CloseUtterance(at),)
        case Phase.THINKING, CommitAsked(at) if turn.awaiting and manual:
            return replace(turn, more=turn.more + 1, committed=at), (CloseUtterance(at),)
        case _, CommitAsked(at) if turn.replying:
            return replace(turn, voice=False, committed=at), (CloseUtterance(at),)
        case _, ClearAsked(at):
            return _cleared(turn, at, rules)
        case Phase.THINKING, ReplyAsked() if turn.awaiting:
            return replace(turn, reply_wanted=True, reply_asked=True), ()
        case Phase.LISTENING | Phase.HEARING, ReplyAsked():
            return _start_reply(replace(turn, silences=0))
        case _, CancelAsked(at) if turn.replying:
            return _floor_free(turn, at, rules, CancelReply(turn.reply, "client_cancelled"))
        case Phase.THINKING, SoundBegan(reply) if reply == turn.reply and turn.replying:
            return replace(turn, phase=Phase.SPEAKING), ()
        case _, ReplyHeard(reply, at, farewell) if reply == turn.reply and turn.replying:
            freed, actions = _floor_free(turn, at, rules, EndReply(turn.reply))
            hang_up = farewell and freed.phase is Phase.LISTENING
            return freed, (*actions, HangUp()) if hang_up else actions
        case _, ReplyFailed(reply) if turn.prepared and reply == turn.prepared:
            return replace(turn, prepared=0, prepared_for=""), (DropReply(reply),)
        case _, ReplyFailed(reply, at) if reply == turn.reply and turn.replying:
            return _floor_free(turn, at, rules, CancelReply(turn.reply, "failed"))
        case Phase.THINKING, TranscriptLate(at, received) if turn.awaiting:
            taken_to, lost_to = at if received is None else received, max(turn.committed, turn.voice_to)
            return replace(_listening(turn, at), taken_to=taken_to, lost_to=lost_to), ()
    return turn, ()


# --- the user's turn


def _hearing(turn: Turn, at: int) -> Turn:
    return replace(
        turn, phase=Phase.HEARING, voice=True, voice_from=at, ends_at=None, p_end=0.0, text="", muted=False,
        prepared_times=0,
    )  # fmt: skip


def _listening(turn: Turn, at: int) -> Turn:
    return replace(
        turn, phase=Phase.LISTENING, voice=False, ends_at=None, awaiting=False, reply_wanted=False, muted=False,
        text="", quiet_since=at, reply_asked=False, more=0,
    )  # fmt: skip


def _paused(turn: Turn, now: int, rules: Rules) -> Step:
    """A pause was judged: it ends the turn now, or later, or is long enough to begin a reply in."""
    if rules.detection != "semantic" or turn.voice:
        return turn, ()
    ends_at = turn.voice_to + rules.wait(turn.p_end, now - turn.voice_to)
    if now >= ends_at:
        return _end_turn(turn, now, rules)
    return _prepare(replace(turn, ends_at=ends_at), rules)


def _hearing_on(turn: Turn, now: int, rules: Rules) -> Step:
    if rules.detection == "manual":  # since a moment ago: the client ends its turns itself
        return _listening(turn, now), ()
    paused_out = not turn.voice and turn.ends_at is not None and now >= turn.ends_at
    if paused_out or now - turn.voice_from >= rules.longest_turn:
        return _end_turn(turn, now, rules)
    return turn, ()


def _end_turn(turn: Turn, now: int, rules: Rules) -> Step:
    """The user's turn is over; with its transcript at hand the reply starts at once."""
    stopped = now if turn.voice else turn.voice_to
    waiting = replace(
        turn, phase=Phase.THINKING, voice=False, voice_to=stopped, ends_at=None, awaiting=True,
        reply_wanted=rules.create_response or turn.reply_asked,
    )  # fmt: skip
    actions = (SpeechStopped(stopped), CloseUtterance(now))
    if turn.settled_to >= stopped and turn.settled_to > turn.taken_to:
        ended, more = _take(waiting, turn.text, turn.settled_to)
        return ended, actions + more
    return waiting, actions


def _left_to_assistant(turn: Turn, now: int, rules: Rules) -> Step:
    """The user says nothing: the assistant has the turn, and in the end says goodbye."""
    silences = turn.silences + 1
    silent = (UserSilent(turn.quiet_since, now), TakeText(SILENCE))
    return _start_reply(replace(turn, silences=silences), silent, goodbye=0 < rules.goodbye_after <= silences)


def _cleared(turn: Turn, at: int, rules: Rules) -> Step:
    if not turn.replying:
        return turn if turn.awaiting else replace(_listening(turn, at), taken_to=at), (ForgetInput(at),)
    taken_to = turn.taken_to if rules.detection == "manual" else max(turn.taken_to, at)
    return _unmuted(replace(turn, voice=False, text="", taken_to=taken_to), (ForgetInput(at),))


# --- its text


def _understood(turn: Turn, heard: Transcript, rules: Rules) -> Step:
    """A transcript came: it may complete a turn, confirm an interruption, or be remembered."""
    manual = rules.detection == "manual"
    known_to = turn.lost_to if manual else max(turn.taken_to, turn.voice_from)
    awaited = heard.final and turn.awaiting and heard.to > known_to
    if min(heard.start, heard.to - 1) < turn.taken_to and not awaited:
        return turn, ()
    if heard.final and turn.awaiting and not awaited:  # of the utterance before
        taken, took = _take(replace(turn, awaiting=False), heard.text, heard.to)
        return replace(taken, awaiting=True), took
    whole = heard.settled and heard.to >= turn.voice_to and not manual
    if heard.final or (turn.awaiting and whole):
        return _take(turn, heard.text, heard.to)
    settled_to = heard.to if heard.settled else turn.settled_to
    known = replace(turn, text=heard.text, text_to=heard.to, settled_to=settled_to)
    if turn.phase is Phase.HEARING:
        return _prepare(known, rules)
    may_interrupt = turn.replying and not manual and rules.interrupt_response
    return _spoken_over(known, heard, rules) if may_interrupt else (known, ())


def _spoken_over(known: Turn, heard: Transcript, rules: Rules) -> Step:
    """Something was said while a reply is made or played."""
    needed = rules.scrap_confidence if is_scrap(heard.text) else rules.interrupt_confidence
    if heard.confidence >= needed and asks_for_floor(heard.text) >= rules.interrupt_words:
        return _interrupt(known, heard.start, rules)
    if heard.settled and not known.voice:
        return _was_nothing(known, heard.to)
    return known, ()


def _take(turn: Turn, text: str, to: int) -> Step:
    """An utterance is complete: into the history, and on to the reply if the turn waited for it."""
    took = (TakeText(text.strip()),)
    taken = replace(turn, taken_to=max(turn.taken_to, to), text="" if turn.awaiting else turn.text)
    if text.strip():
        taken = replace(taken, silences=0)
    if not turn.awaiting:
        dropped = (DropReply(turn.prepared),) if turn.prepared else ()
        return replace(taken, prepared=0, prepared_for=""), (*dropped, *took)
    if turn.more:
        return replace(taken, more=turn.more - 1), took
    if turn.reply_wanted and (text.strip() or turn.reply_asked):
        return _reply_to(replace(taken, awaiting=False), text, took)
    return _listening(taken, max(turn.voice_to, turn.quiet_since)), took


# --- replies


def _prepare(turn: Turn, rules: Rules) -> Step:
    """A pause that probably ends the turn, and its text: the reply may be made ahead, and nobody knows of it."""
    known = not turn.voice and turn.settled_to >= turn.voice_to and turn.settled_to > turn.taken_to
    if turn.prepared:
        if not known or same_words(turn.text, turn.prepared_for):
            return turn, ()
        again, more = _prepare(replace(turn, prepared=0), rules)
        return again, (DropReply(turn.prepared), *more)
    wished = (
        rules.prepare and rules.create_response and turn.room and turn.prepared_times < rules.prepare_most
    )
    likely = rules.detection == "silence" or turn.p_end >= rules.prepare_p_end
    if not (known and wished and likely and turn.text.strip()):
        return turn, ()
    number = turn.reply + 1
    prepared = replace(
        turn, reply=number, prepared=number, prepared_for=turn.text, prepared_times=turn.prepared_times + 1
    )
    return prepared, (PrepareReply(number, turn.text.strip()),)


def _reply_to(turn: Turn, text: str, before: Sequence[Action]) -> Step:
    """The one made ahead, if it answers these words; else a new one."""
    if not turn.prepared or not same_words(text, turn.prepared_for):
        return _start_reply(turn, before)
    confirmed = _thinking(replace(turn, prepared=0, prepared_for=""))
    return confirmed, (*before, ConfirmReply(turn.prepared))


def _start_reply(turn: Turn, before: Sequence[Action] = (), *, goodbye: bool = False) -> Step:
    return _thinking(replace(turn, reply=turn.reply + 1)), (*before, StartReply(turn.reply + 1, goodbye))


def _thinking(turn: Turn) -> Turn:
    return replace(
        turn, phase=Phase.THINKING, awaiting=False, reply_wanted=False, reply_asked=False, muted=False, false_mutes=0,
        prepared_times=0, more=0,
    )  # fmt: skip


def _floor_free(turn: Turn, at: int, rules: Rules, ended: Action) -> Step:
    """The reply is over. A user who spoke meanwhile without interrupting is heard now."""
    speaks = turn.voice or (turn.voice_to > turn.taken_to and bool(turn.text))
    if not speaks or rules.detection == "manual":
        return _listening(turn, at), (ended,)
    hearing = replace(turn, phase=Phase.HEARING, muted=False)
    return hearing, (ended, SpeechBegan(turn.voice_from))


# --- barge-in


def _barge_in(turn: Turn, rules: Rules) -> Step:
    """Voice while a reply is made or played: hold the audio, and see what comes of it."""
    unsettled = turn.phase is Phase.SPEAKING and turn.voice_from < rules.echo_settle
    if not rules.interrupt_response or turn.muted or unsettled or turn.false_mutes >= rules.false_mutes:
        return turn, ()
    return replace(turn, muted=True), (Mute(),)


def _muted_on(turn: Turn, now: int, rules: Rules) -> Step:
    if rules.detection == "manual" or (not turn.voice and now - turn.voice_to >= rules.resume_silence):
        return _unmuted(turn)
    if turn.voice and now >= rules.believed_at(turn.voice_from, turn.text_to):
        return _interrupt(turn, turn.voice_from, rules)
    return turn, ()


def _unmuted(turn: Turn, before: Sequence[Action] = ()) -> Step:
    unmuted = replace(turn, muted=False, false_mutes=turn.false_mutes + 1)
    return (unmuted, (*before, Unmute())) if turn.muted else (turn, (*before,))


def _was_nothing(turn: Turn, to: int) -> Step:
    """A cough, an echo, an "mm-hm": forgotten, and the reply goes on."""
    forgotten = replace(turn, taken_to=max(turn.taken_to, to), text="", ends_at=None)
    return _unmuted(forgotten, (SkipVoice(to),))


def _interrupt(turn: Turn, onset: int, rules: Rules) -> Step:
    """The user has the floor; what is known of the utterance is kept, and it may be over already."""
    heard = replace(turn, phase=Phase.HEARING, muted=False, voice_from=onset, prepared_times=0)
    actions: tuple[Action, ...] = (CancelReply(turn.reply, "turn_detected"), SpeechBegan(onset))
    if turn.voice:
        return replace(heard, ends_at=None), actions
    ended, more = _paused(replace(heard, ends_at=turn.voice_to + rules.wait(0.0, 0)), turn.settled_to, rules)
    return ended, actions + more
