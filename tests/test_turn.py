"""Turn-taking as a table: a situation, what happens, what follows. No clock, no audio."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.tuning import TurnSettings
from web import actions as do
from web import requests
from web.actions import Action
from web.dialects.base import CommitInput
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
from web.ticks import next_tick
from web.turn import advance
from web.turn_state import Phase, Turn

S = 24_000
RULES = Rules.of(TurnSettings())
SILENCE = replace(RULES, detection="silence", min_pause=S // 2)
MANUAL = replace(RULES, detection="manual")
PATIENT = replace(RULES, interrupt_response=False)
NO_REPLY = replace(RULES, create_response=False)
LONELY = replace(RULES, user_silence=7 * S, goodbye_after=3)
EAGER = replace(RULES, prepare=True)
EAGER_SILENCE = replace(SILENCE, prepare=True)

LISTENING = Turn()
HEARING = Turn(Phase.HEARING, voice=True, voice_from=S)
PAUSED = Turn(Phase.HEARING, voice_from=S, voice_to=2 * S, ends_at=2 * S + RULES.longest_wait)
AWAITING = Turn(Phase.THINKING, voice_from=S, voice_to=2 * S, awaiting=True, reply_wanted=True)
THINKING = Turn(Phase.THINKING, reply=3, voice_from=S, voice_to=2 * S, taken_to=2 * S)
SPEAKING = replace(THINKING, phase=Phase.SPEAKING)
MUTED = replace(SPEAKING, muted=True, voice=True, voice_from=5 * S)
COUGHED = replace(MUTED, voice=False, voice_to=6 * S)
TALKED = Turn(reply=2, taken_to=2 * S)
HALF_SURE = replace(PAUSED, text="hi", settled_to=2 * S, p_end=0.5, room=True)
PREPARED = replace(HALF_SURE, reply=1, prepared=1, prepared_for="Hi.", prepared_times=1)


def said(
    text: str, start: int = S, to: int = 2 * S, *, settled: bool = True, final: bool = False
) -> Transcript:
    """A transcript."""
    return Transcript(text, start, to, settled, final)


ENDED = (do.SpeechStopped(2 * S), do.CloseUtterance(2 * S + S // 5))
SURE = Pause(2 * S, 200, 0.9)

Row = tuple[str, Turn, Happening, Rules, Phase, tuple[Action, ...]]

TABLE: list[Row] = [
    ("voice opens the user's turn", LISTENING, VoiceStarted(S), RULES, Phase.HEARING, (do.SpeechBegan(S),)),
    ("voice at the very first sample is heard", LISTENING, VoiceStarted(0), RULES, Phase.HEARING, (do.SpeechBegan(0),)),
    ("a voice that was dealt with is no news", replace(LISTENING, taken_to=2 * S), VoiceStarted(S), RULES,
     Phase.LISTENING, ()),
    ("a sure pause ends the turn", PAUSED, SURE, RULES, Phase.THINKING, ENDED),
    ("an unsure pause does not", PAUSED, Pause(2 * S, 200, 0.2), RULES, Phase.HEARING, ()),
    ("a sure pause that is too short waits", PAUSED, Pause(2 * S, 100, 0.9), RULES, Phase.HEARING, ()),
    ("the longest wait ends the turn", PAUSED, Tick(PAUSED.ends_at or 0), RULES, Phase.THINKING,
     (do.SpeechStopped(2 * S), do.CloseUtterance(PAUSED.ends_at or 0))),
    ("a moment earlier does not", PAUSED, Tick((PAUSED.ends_at or 0) - 1), RULES, Phase.HEARING, ()),
    ("a turn that never ends is ended", HEARING, Tick(31 * S), RULES, Phase.THINKING,
     (do.SpeechStopped(31 * S), do.CloseUtterance(31 * S))),
    ("with its text at hand the reply starts at once", replace(PAUSED, text="hi", settled_to=2 * S), SURE, RULES,
     Phase.THINKING, (*ENDED, do.TakeText("hi"), do.StartReply(1))),
    ("text of an older utterance is not at hand", replace(PAUSED, text="hi", settled_to=S), SURE, RULES,
     Phase.THINKING, ENDED),
    ("server_vad does not ask the model", PAUSED, SURE, SILENCE, Phase.HEARING, ()),
    ("the awaited text starts the reply", AWAITING, said("hi"), RULES, Phase.THINKING,
     (do.TakeText("hi"), do.StartReply(1))),
    ("a transcript that misses the end does not", AWAITING, said("hi", to=2 * S - 1), RULES, Phase.THINKING, ()),
    ("an unsettled transcript does not", AWAITING, said("hi", settled=False), RULES, Phase.THINKING, ()),
    ("nothing understood: listen again", AWAITING, said("", final=True), RULES, Phase.LISTENING, (do.TakeText(""),)),
    ("create_response off: text, and no reply", replace(AWAITING, reply_wanted=False), said("hi"), RULES,
     Phase.LISTENING, (do.TakeText("hi"),)),
    ("a transcript that never comes: listen again", AWAITING, TranscriptLate(5 * S), RULES, Phase.LISTENING, ()),
    ("the user goes on before the text is there", AWAITING, VoiceStarted(3 * S), RULES, Phase.HEARING,
     (do.SpeechBegan(3 * S),)),
    ("a successor of the STT repeats the onset: no news", AWAITING, VoiceStarted(S), RULES, Phase.THINKING, ()),
    ("a voice while the reply is made holds it", THINKING, VoiceStarted(3 * S), RULES, Phase.THINKING, (do.Mute(),)),
    ("even while the echo canceller settles: there is nothing to echo", replace(THINKING, voice_to=S, taken_to=S),
     VoiceStarted(2 * S), RULES, Phase.THINKING, (do.Mute(),)),
    ("the user goes on: the reply is dropped", replace(THINKING, muted=True, voice=True, voice_from=3 * S),
     said("and then", 3 * S, 4 * S, settled=False), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(3 * S))),
    ("a cough then costs nobody the answer", replace(THINKING, muted=True, voice_from=3 * S, voice_to=4 * S),
     said("", 3 * S, 4 * S), RULES, Phase.THINKING, (do.SkipVoice(4 * S), do.Unmute())),
    ("unless replies may not be interrupted", THINKING, VoiceStarted(3 * S), PATIENT, Phase.THINKING, ()),
    ("the first sound makes it a speaking one", THINKING, SoundBegan(3), RULES, Phase.SPEAKING, ()),
    ("a late sound of an old reply does not", THINKING, SoundBegan(2), RULES, Phase.THINKING, ()),
    ("a voice over the reply mutes it", SPEAKING, VoiceStarted(5 * S), RULES, Phase.SPEAKING, (do.Mute(),)),
    ("not while the echo canceller settles", SPEAKING, VoiceStarted(3 * S - 1), RULES, Phase.SPEAKING, ()),
    ("a word interrupts even then", replace(SPEAKING, voice=True, voice_from=5 * S),
     said("stop", 5 * S, 6 * S, settled=False), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("a word confirms a barge-in", MUTED, said("stop", 5 * S, 6 * S, settled=False), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("so does a voice that lasts", MUTED, Tick(5 * S + RULES.interrupt_voice), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("a short voice does not", MUTED, Tick(5 * S + RULES.interrupt_voice - 1), RULES, Phase.SPEAKING, ()),
    ("a voice in which nothing was understood must last longer", replace(MUTED, text_to=5 * S + 1),
     Tick(5 * S + RULES.interrupt_voice), RULES, Phase.SPEAKING, ()),
    ("and then interrupts, too", replace(MUTED, text_to=5 * S + 1), Tick(5 * S + RULES.interrupt_unknown_voice), RULES,
     Phase.HEARING, (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("a cough: the reply goes on", COUGHED, said("", 5 * S, 6 * S), RULES, Phase.SPEAKING,
     (do.SkipVoice(6 * S), do.Unmute())),
    ("an mm-hm: the reply goes on", COUGHED, said("Mm-hm. Yeah, right.", 5 * S, 6 * S), RULES, Phase.SPEAKING,
     (do.SkipVoice(6 * S), do.Unmute())),
    ("an mm-hm that has not ended may become more", MUTED, said("Yeah,", 5 * S, 6 * S, settled=False), RULES,
     Phase.SPEAKING, ()),
    ("words made of laughter do not interrupt", MUTED,
     Transcript("Pump out of it.", 5 * S, 6 * S, confidence=0.4), RULES, Phase.SPEAKING, ()),
    ("nor do scraps of an echo", MUTED,
     Transcript("Several.", 5 * S, 6 * S, confidence=0.7), RULES, Phase.SPEAKING, ()),
    ("a stop does", MUTED, Transcript("Stop.", 5 * S, 6 * S, confidence=0.7), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("as in: yeah, but wait", MUTED, said("Yeah, but wait", 5 * S, 6 * S, settled=False), RULES, Phase.HEARING,
     (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("silence after a mute: the reply goes on", COUGHED, Tick(6 * S + RULES.resume_silence), RULES, Phase.SPEAKING,
     (do.Unmute(),)),
    ("a word that is understood late interrupts still", replace(COUGHED, muted=False), said("Stop.", 5 * S, 6 * S),
     RULES, Phase.HEARING, (do.CancelReply(3, "turn_detected"), do.SpeechBegan(5 * S))),
    ("a noise that stays does not chop the reply", replace(SPEAKING, false_mutes=2), VoiceStarted(5 * S), RULES,
     Phase.SPEAKING, ()),
    ("words of the turn before do not interrupt", SPEAKING, said("hi"), RULES, Phase.SPEAKING, ()),
    ("interrupt_response off: words do not interrupt", SPEAKING, said("stop", 5 * S, 6 * S), PATIENT,
     Phase.SPEAKING, ()),
    ("a reply heard to its end leaves the floor", SPEAKING, ReplyHeard(3, 9 * S), RULES, Phase.LISTENING,
     (do.EndReply(3),)),
    ("a user who speaks at that moment is heard", replace(SPEAKING, voice=True, voice_from=8 * S),
     ReplyHeard(3, 9 * S), PATIENT, Phase.HEARING, (do.EndReply(3), do.SpeechBegan(8 * S))),
    ("the end of an old reply changes nothing", SPEAKING, ReplyHeard(2, 9 * S), RULES, Phase.SPEAKING, ()),
    ("a reply that fails leaves the floor", THINKING, ReplyFailed(3, 9 * S), RULES, Phase.LISTENING,
     (do.CancelReply(3, "failed"),)),
    ("the client cancels", SPEAKING, CancelAsked(9 * S), RULES, Phase.LISTENING,
     (do.CancelReply(3, "client_cancelled"),)),
    ("a transcript of the utterance before is text, and the awaited one still to come",
     replace(AWAITING, voice_from=3 * S, voice_to=4 * S), said("so", final=True), RULES, Phase.THINKING,
     (do.TakeText("so"),)),
    ("the final copy of what was taken is not the next turn", replace(AWAITING, taken_to=2 * S),
     said("hi", final=True), RULES, Phase.THINKING, ()),
    ("what is said in the meantime makes a reply ahead stale", PREPARED, said("so", S // 4, S // 2, final=True), EAGER,
     Phase.HEARING, (do.DropReply(1), do.TakeText("so"))),
    ("what sounded while a reply plays is forgotten on demand", MUTED, ClearAsked(6 * S), RULES, Phase.SPEAKING,
     (do.ForgetInput(6 * S), do.Unmute())),
    ("in push-to-talk as well", SPEAKING, ClearAsked(6 * S), MANUAL, Phase.SPEAKING, (do.ForgetInput(6 * S),)),
    ("what was committed is not forgotten", AWAITING, ClearAsked(3 * S), RULES, Phase.THINKING,
     (do.ForgetInput(3 * S),)),
    ("push-to-talk from now on: no silence ends the turn", PAUSED, Tick(PAUSED.ends_at or 0), MANUAL,
     Phase.LISTENING, ()),
    ("nor does a voice interrupt", MUTED, Tick(9 * S), MANUAL, Phase.SPEAKING, (do.Unmute(),)),
    ("nothing to cancel", LISTENING, CancelAsked(9 * S), RULES, Phase.LISTENING, ()),
    ("silence gives the assistant the turn", TALKED, Tick(7 * S), LONELY, Phase.THINKING,
     (do.UserSilent(0, 7 * S), do.TakeText("..."), do.StartReply(3))),
    ("a little less does not", TALKED, Tick(7 * S - 1), LONELY, Phase.LISTENING, ()),
    ("before anything was said nothing is owed", LISTENING, Tick(7 * S), LONELY, Phase.LISTENING, ()),
    ("the third silence is goodbye", replace(TALKED, silences=2), Tick(7 * S), LONELY, Phase.THINKING,
     (do.UserSilent(0, 7 * S), do.TakeText("..."), do.StartReply(3, goodbye=True))),
    ("a goodbye that was heard ends the call", SPEAKING, ReplyHeard(3, 9 * S, farewell=True), RULES, Phase.LISTENING,
     (do.EndReply(3), do.HangUp())),
    ("unless the user speaks again", replace(SPEAKING, voice=True, voice_from=8 * S),
     ReplyHeard(3, 9 * S, farewell=True), PATIENT, Phase.HEARING, (do.EndReply(3), do.SpeechBegan(8 * S))),
    ("a pause that may be the end: the reply is made ahead", replace(HALF_SURE, p_end=0.0), Pause(2 * S, 200, 0.5),
     EAGER, Phase.HEARING, (do.PrepareReply(1, "hi"),)),
    ("so it is when the words come after the judgement", replace(HALF_SURE, settled_to=0, text=""), said("Hi."), EAGER,
     Phase.HEARING, (do.PrepareReply(1, "Hi."),)),
    ("server_vad: it is made as soon as the words are known", replace(HALF_SURE, settled_to=0, p_end=0.0), said("Hi."),
     EAGER_SILENCE, Phase.HEARING, (do.PrepareReply(1, "Hi."),)),
    ("not where replies ahead are off", HALF_SURE, Pause(2 * S, 200, 0.5), RULES, Phase.HEARING, ()),
    ("not without slots to spare", replace(HALF_SURE, room=False), Pause(2 * S, 200, 0.5), EAGER, Phase.HEARING, ()),
    ("not a third time in a turn", replace(HALF_SURE, prepared_times=2), Pause(2 * S, 200, 0.5), EAGER, Phase.HEARING,
     ()),
    ("not for a pause that is hardly the end", HALF_SURE, Pause(2 * S, 200, 0.1), EAGER, Phase.HEARING, ()),
    ("not before all words are known", replace(HALF_SURE, settled_to=S), Pause(2 * S, 200, 0.5), EAGER, Phase.HEARING,
     ()),
    ("one at a time", PREPARED, Pause(2 * S, 300, 0.6), EAGER, Phase.HEARING, ()),
    ("the turn ends: it was right", PREPARED, Tick(PAUSED.ends_at or 0), EAGER, Phase.THINKING,
     (do.SpeechStopped(2 * S), do.CloseUtterance(PAUSED.ends_at or 0), do.TakeText("hi"), do.ConfirmReply(1))),
    ("the user goes on: it has never been", PREPARED, VoiceStarted(3 * S), EAGER, Phase.HEARING, (do.DropReply(1),)),
    ("the words were others: it is made anew", replace(PREPARED, text="high"), Tick(PAUSED.ends_at or 0), EAGER,
     Phase.THINKING, (do.DropReply(1), do.SpeechStopped(2 * S), do.CloseUtterance(PAUSED.ends_at or 0),
                      do.TakeText("high"), do.StartReply(2))),
    ("other words in the same pause: made again", PREPARED, said("high tide"), EAGER, Phase.HEARING,
     (do.DropReply(1), do.PrepareReply(2, "high tide"))),
    ("a commit keeps it until the words are final", PREPARED, CommitAsked(3 * S), EAGER, Phase.THINKING,
     (do.CloseUtterance(3 * S),)),
    ("and lets it out then", replace(PREPARED, phase=Phase.THINKING, awaiting=True, reply_wanted=True),
     said("hi", to=3 * S, final=True), EAGER, Phase.THINKING, (do.TakeText("hi"), do.ConfirmReply(1))),
    ("a failure ahead is nobody's business", PREPARED, ReplyFailed(1, 3 * S), EAGER, Phase.HEARING,
     (do.DropReply(1),)),
    ("what is forgotten takes it along", PREPARED, ClearAsked(3 * S), EAGER, Phase.LISTENING,
     (do.DropReply(1), do.ForgetInput(3 * S))),
    ("room comes and goes without a word", PREPARED, RoomChanged(spare=False), EAGER, Phase.HEARING, ()),
    ("asked for a reply, it starts", LISTENING, ReplyAsked(), RULES, Phase.THINKING, (do.StartReply(1),)),
    ("asked for while the text is awaited, it follows the text", replace(AWAITING, reply_wanted=False), ReplyAsked(),
     MANUAL, Phase.THINKING, ()),
    ("who asked is answered though nothing was understood", replace(AWAITING, reply_wanted=True, reply_asked=True),
     said("", final=True), MANUAL, Phase.THINKING, (do.TakeText(""), do.StartReply(1))),
    ("push-to-talk: the next turn may end before the first is understood", AWAITING, CommitAsked(3 * S), MANUAL,
     Phase.THINKING, (do.CloseUtterance(3 * S),)),
    ("push-to-talk: the reply waits for the last of them", replace(AWAITING, more=1, reply_asked=True),
     said("one", final=True), MANUAL, Phase.THINKING, (do.TakeText("one"),)),
    ("push-to-talk: the voice decides nothing", LISTENING, VoiceStarted(S), MANUAL, Phase.LISTENING, ()),
    ("push-to-talk: the client ends the turn", LISTENING, CommitAsked(3 * S), MANUAL, Phase.THINKING,
     (do.CloseUtterance(3 * S),)),
    ("push-to-talk: a pause's text is not the whole", replace(AWAITING, voice_to=0), said("hi"), MANUAL,
     Phase.THINKING, ()),
    ("a commit while a reply plays only adds to the history", SPEAKING, CommitAsked(8 * S), MANUAL, Phase.SPEAKING,
     (do.CloseUtterance(8 * S),)),
    ("its text then", SPEAKING, said("and you?", 6 * S, 8 * S, final=True), MANUAL, Phase.SPEAKING,
     (do.TakeText("and you?"),)),
    ("what was said is forgotten on demand", HEARING, ClearAsked(3 * S), RULES, Phase.LISTENING,
     (do.ForgetInput(3 * S),)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("turn", "happening", "rules", "phase", "actions"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_the_table(
    turn: Turn, happening: Happening, rules: Rules, phase: Phase, actions: tuple[Action, ...]
) -> None:
    after, done = advance(turn, happening, rules)
    assert (after.phase, done) == (phase, actions)


def play(
    happenings: list[Happening], rules: Rules = RULES, turn: Turn = LISTENING
) -> tuple[Turn, list[Action]]:
    """A whole story."""
    done: list[Action] = []
    for happening in happenings:
        turn, actions = advance(turn, happening, rules)
        done += actions
    return turn, done


def test_a_turn_from_voice_to_reply_and_back() -> None:
    turn, done = play(
        [VoiceStarted(S), VoiceEnded(2 * S), said("hello"), SURE, SoundBegan(1), ReplyHeard(1, 9 * S)]
    )
    assert turn.phase is Phase.LISTENING
    assert done == [do.SpeechBegan(S), *ENDED, do.TakeText("hello"), do.StartReply(1), do.EndReply(1)]


def test_a_pause_within_a_sentence_belongs_to_one_turn() -> None:
    happenings: list[Happening] = [
        VoiceStarted(S),
        VoiceEnded(2 * S),
        Pause(2 * S, 200, 0.1),
        said("I think"),
    ]
    happenings += [
        VoiceStarted(3 * S),
        VoiceEnded(4 * S),
        said("I think so", to=4 * S),
        Pause(4 * S, 200, 0.9),
    ]
    _, done = play(happenings)
    assert [action for action in done if isinstance(action, do.TakeText)] == [do.TakeText("I think so")]


def test_the_settled_text_and_its_final_copy_are_one_utterance() -> None:
    happenings: list[Happening] = [VoiceStarted(S), VoiceEnded(2 * S), said("hi"), SURE]
    _, done = play([*happenings, said("hi", final=True), said("hi", to=2 * S + S // 5, final=True)])
    assert done.count(do.TakeText("hi")) == 1


def test_a_user_who_goes_on_says_two_texts_and_gets_one_reply() -> None:
    happenings: list[Happening] = [
        VoiceStarted(S),
        VoiceEnded(2 * S),
        SURE,
        VoiceStarted(3 * S),
        said("so", final=True),
    ]
    happenings += [VoiceEnded(4 * S), said("it is", 3 * S, 4 * S), Pause(4 * S, 200, 0.9)]
    turn, done = play(happenings)
    texts = [action.text for action in done if isinstance(action, do.TakeText)]
    assert texts == ["so", "it is"]
    assert [action for action in done if isinstance(action, do.StartReply)] == [do.StartReply(1)]
    assert turn.phase is Phase.THINKING


def test_a_reply_that_the_client_stops_is_followed_by_a_whole_silence() -> None:
    turn, _ = play([CancelAsked(9 * S), Tick(9 * S + 1)], LONELY, replace(SPEAKING, quiet_since=S))
    assert (turn.phase, next_tick(turn, LONELY)) == (Phase.LISTENING, 16 * S)


def test_a_commit_of_nothing_does_not_shorten_the_silence() -> None:
    nothing = Transcript("", 11 * S, 11 * S, settled=True, final=True)
    quiet = replace(TALKED, voice_to=2 * S, quiet_since=10 * S)
    turn, _ = play([CommitAsked(11 * S), nothing], LONELY, quiet)
    assert next_tick(turn, LONELY) == 17 * S


def test_a_voice_that_a_commit_closed_does_not_last() -> None:
    turn, done = play([CommitAsked(6 * S), Tick(6 * S)], RULES, replace(MUTED, voice_to=5 * S))
    assert (turn.phase, done) == (Phase.SPEAKING, [do.CloseUtterance(6 * S), do.Unmute()])


def test_who_is_answered_in_the_middle_of_a_sentence_may_finish_it() -> None:
    going_on = said("hello and", S, 3 * S, settled=False)
    turn, done = play([ReplyAsked(), going_on, Tick(3 * S)], RULES, replace(HEARING, voice_to=S // 2))
    assert (turn.phase, turn.voice) == (Phase.HEARING, True)
    assert do.CloseUtterance(3 * S) not in done


def test_the_surer_the_shorter_the_wait() -> None:
    for pause in (0, RULES.early, RULES.early + 1):
        waits = [RULES.wait(p / 100, pause) for p in range(101)]
        assert waits == sorted(waits, reverse=True)
        assert (waits[0], waits[-1]) == (RULES.longest_wait, RULES.min_pause)
    assert SILENCE.wait(0.0, 0) == SILENCE.wait(1.0, 0) == S // 2


def test_late_in_a_pause_it_takes_more_to_be_sure() -> None:
    assert RULES.wait(0.7, RULES.early) == RULES.min_pause
    assert RULES.wait(0.7, RULES.early + 1) == RULES.usual_wait


HAPPENINGS = st.one_of(
    st.builds(VoiceStarted, st.integers(0, 10 * S)),
    st.builds(VoiceEnded, st.integers(0, 10 * S)),
    st.builds(Pause, st.integers(0, 10 * S), st.integers(0, 2000), st.floats(0, 1)),
    st.builds(Transcript, st.sampled_from(["", "word", "two words", "mm-hm"]), st.integers(0, 9 * S),
              st.integers(0, 10 * S), st.booleans(), st.booleans()),
    st.builds(Tick, st.integers(0, 40 * S)),
    st.builds(CommitAsked, st.integers(0, 10 * S)),
    st.builds(ClearAsked, st.integers(0, 10 * S)),
    st.just(ReplyAsked()),
    st.builds(CancelAsked, st.integers(0, 10 * S)),
    st.builds(SoundBegan, st.integers(0, 4)),
    st.builds(ReplyHeard, st.integers(0, 4), st.integers(0, 10 * S), st.booleans()),
    st.builds(ReplyFailed, st.integers(0, 4), st.integers(0, 10 * S)),
    st.builds(TranscriptLate, st.integers(0, 10 * S)),
    st.builds(RoomChanged, st.booleans()),
)  # fmt: skip

STORIES = st.lists(HAPPENINGS, max_size=40)
ALL_RULES = st.sampled_from([RULES, SILENCE, MANUAL, PATIENT, NO_REPLY, LONELY, EAGER, EAGER_SILENCE])


@given(STORIES, ALL_RULES)
def test_whatever_happens_replies_are_numbered_and_each_one_ends_before_the_next(
    story: list[Happening], rules: Rules
) -> None:
    turn, done = play(story, rules, Turn(room=True))
    started = 0
    running: int | None = None
    ahead: int | None = None
    for action in done:
        match action:
            case do.StartReply(reply) | do.PrepareReply(reply):
                assert reply == started + 1, "numbers rise one by one"
                assert running is None
                assert ahead is None
                started = reply
                if isinstance(action, do.StartReply):
                    running = reply
                else:
                    ahead = reply
            case do.ConfirmReply(reply):
                assert reply == ahead
                assert running is None
                running, ahead = reply, None
            case do.DropReply(reply):
                assert reply == ahead
                ahead = None
            case do.CancelReply(reply) | do.EndReply(reply):
                assert reply == running
                running = None
    assert turn.replying == (running is not None)
    assert turn.prepared == (ahead or 0)
    assert not (turn.muted and not turn.replying)
    tick = next_tick(turn, rules)
    if turn.phase is Phase.HEARING:
        assert tick is not None, "no phase without a way out"


@given(STORIES, ALL_RULES)
def test_what_is_made_ahead_of_the_turns_end_leaves_nothing_to_be_seen(
    story: list[Happening], rules: Rules
) -> None:
    """Without replies made ahead everything that a client could notice is the same, but for the numbers."""

    def seen(prepare: bool) -> list[Action]:
        _, done = play(story_of_this_turn, replace(rules, prepare=prepare), Turn(room=True))
        hidden = (do.PrepareReply, do.DropReply)
        shown = [action for action in done if not isinstance(action, hidden)]
        starts = (do.StartReply, do.ConfirmReply)
        return [do.StartReply(0) if isinstance(action, starts) else action for action in shown]

    # a reply's later life is told by its number, which differs: the story ends where the first one begins
    story_of_this_turn = [one for one in story if not isinstance(one, SoundBegan | ReplyHeard | ReplyFailed)]
    with_it, without = seen(True), seen(False)
    first = next((at for at, action in enumerate(without) if isinstance(action, do.StartReply)), len(without))
    assert with_it[: first + 1] == without[: first + 1]


@given(STORIES, ALL_RULES)
def test_from_wherever_one_is_the_way_back_to_listening_is_open(story: list[Happening], rules: Rules) -> None:
    """Nothing happens any more but what the shell itself brings about: time, deadlines, the end of a reply."""
    turn, _ = play(story, replace(rules, user_silence=0), Turn(room=True))
    for _ in range(12):
        if turn.phase is Phase.LISTENING:
            return
        tick = next_tick(turn, replace(rules, user_silence=0))
        if turn.awaiting:
            happening: Happening = TranscriptLate(60 * S, 60 * S)
        elif tick is not None:
            happening = Tick(max(tick, 60 * S))
        else:
            happening = ReplyHeard(turn.reply, 60 * S)
        turn, _ = advance(turn, happening, replace(rules, user_silence=0))
    raise AssertionError(f"stuck in {turn}")


def test_who_is_asked_to_say_it_again_is_heard_although_no_sound_came_meanwhile() -> None:
    late, _ = advance(AWAITING, TranscriptLate(12 * S, 3 * S), MANUAL)
    assert late.quiet_since == 12 * S
    assert requests.happening(CommitInput(), late, 4 * S, 3 * S, manual=True) == CommitAsked(4 * S)


def pushed(*texts: tuple[str, int, int]) -> tuple[Turn, list[Action]]:
    """Push to talk: 2 s of speech whose transcript never came in time, 2 s more, and then these transcripts."""
    late = [CommitAsked(2 * S), ReplyAsked(), TranscriptLate(6 * S, 3 * S), CommitAsked(4 * S), ReplyAsked()]
    finals = [Transcript(text, start, to, settled=True, final=True) for text, start, to in texts]
    return play([*late, *finals], MANUAL, LISTENING)


def test_a_transcript_that_comes_too_late_is_not_the_next_turns() -> None:
    turn, done = pushed(("first", S, 2 * S))
    assert turn.awaiting and not [action for action in done if isinstance(action, do.TakeText)]
    turn, done = pushed(("first", S, 2 * S), ("second", 3 * S, 4 * S))
    assert done[-2:] == [do.TakeText("second"), do.StartReply(1)]


def test_what_was_said_while_the_lost_words_were_awaited_is_the_next_turns() -> None:
    _, done = pushed(("second", 2 * S + 1, 2 * S + S // 2))
    assert done[-2:] == [do.TakeText("second"), do.StartReply(1)]


def test_a_late_transcript_is_nobodys_while_nobody_awaits_one() -> None:
    late, _ = play([CommitAsked(2 * S), TranscriptLate(6 * S, 2 * S)], MANUAL, LISTENING)
    assert advance(late, Transcript("first", S, 2 * S, settled=True, final=True), MANUAL) == (late, ())
