"""One listener without models: the test plays voice detector, recogniser and judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.messages import MAX_TEXT, Pause, Transcript, VoiceEnded, VoiceStarted
from gpu_workers.endpoint import ending
from gpu_workers.endpoint.endpointer import Rules as VoiceRules
from gpu_workers.endpoint.listener import Decode, Judge, Listener, Rank, Rules
from gpu_workers.endpoint.utterance import MAX_SEGMENTS

FRAME = 768
VOICE = VoiceRules(onset_ms=64, hangover_ms=96, lag_ms=0, ask_ms=(160,))
RULES = Rules(voice=VOICE, pre_roll_ms=96, segment_ms=5000)
PARTIAL_MS = 500


class Talk:
    """A listener and what came of it; decodes say how many frames they were given."""

    def __init__(self, rules=RULES, start=0):
        self.listener = Listener(rules, start)
        self.at = start
        self.facts = []
        self.wanted = []

    def hear(self, frames, partials=False):
        """v: voice, -: silence."""
        for letter in frames:
            pcm = np.full(512, 0.1 if letter == "v" else 0.0, np.float32)
            self.listener.hear(pcm, 0.9 if letter == "v" else 0.0, PARTIAL_MS if partials else None)
            self.at += FRAME
            self.take()
        return self

    def take(self):
        self.facts += self.listener.facts
        self.wanted += self.listener.wanted
        self.listener.facts, self.listener.wanted = [], []

    def answer(self):
        """Runs all that is wanted."""
        wanted, self.wanted = self.wanted, []
        for item in wanted:
            if isinstance(item, Judge):
                self.listener.judged(item, 0.9)
            else:
                self.listener.decoded(item, f"{len(item.pcm) // 512} frames")
        self.take()
        return self

    def commit(self, at=None):
        self.listener.commit(self.at if at is None else at)
        self.take()
        return self

    def of(self, kind):
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def finals(self):
        return [fact for fact in self.of(Transcript) if fact.final]


SPOKEN = "----vvvvvv------"
END = 10 * FRAME


def test_an_utterance_is_decoded_and_judged_in_its_pause():
    talk = Talk().hear(SPOKEN)
    assert talk.facts == [VoiceStarted(4 * FRAME), VoiceEnded(END)]
    decode, judge = talk.wanted
    assert decode.rank is Rank.FINAL and decode.to == judge.at == END
    assert len(decode.pcm) == 512 * (3 + 6 + 5), "pre-roll, voice, pause"
    talk.answer()
    assert talk.of(Transcript) == [Transcript("14 frames", 1 * FRAME, END, settled=True)]
    assert talk.of(Pause) == [Pause(END, 192, ending.p_end(0.9, "14 frames", 160))]


def test_a_commit_after_a_settled_decode_is_final_at_once():
    talk = Talk().hear(SPOKEN).answer().commit()
    assert talk.finals == [Transcript("14 frames", FRAME, END, settled=True, final=True)]
    assert not talk.wanted


def test_a_commit_while_the_decode_runs_waits_for_it():
    talk = Talk().hear(SPOKEN).commit()
    assert not talk.finals
    talk.answer()
    assert [final.text for final in talk.finals] == ["14 frames"]


def test_a_commit_in_mid_voice_decodes_up_to_it():
    talk = Talk().hear("----vvvvvvvv").commit().answer()
    assert talk.finals == [Transcript("11 frames", FRAME, 12 * FRAME, settled=True, final=True)]


def test_a_commit_without_voice_is_an_empty_final():
    talk = Talk().hear("------").commit()
    assert talk.finals == [Transcript("", talk.at, talk.at, settled=True, final=True)]


def test_finals_come_in_the_order_of_their_commits():
    talk = Talk().hear(SPOKEN).commit().hear("--").commit()
    assert not talk.finals
    assert [final.text for final in talk.answer().finals] == ["14 frames", ""]


def test_audio_after_the_commit_is_the_next_utterance():
    talk = Talk().hear("vvvvvvvvvv").commit(6 * FRAME).answer().hear("vvv" + "-" * 8).answer().commit()
    first, second = talk.finals
    assert (first.text, first.to) == ("6 frames", 6 * FRAME)
    assert second.start == 6 * FRAME
    assert [fact.at for fact in talk.of(VoiceStarted)] == [0, 6 * FRAME]


def test_voice_that_began_just_before_the_commit_is_the_next_utterance():
    talk = Talk().hear(SPOKEN).answer().hear("vvvv").commit()
    assert [(final.text, final.to) for final in talk.finals] == [("14 frames", END)]
    talk.hear("v" + "-" * 8).answer().commit()
    assert talk.finals[1].start >= END
    assert talk.finals[1].to == talk.of(VoiceEnded)[-1].at


def test_a_decode_that_voice_overtook_is_not_settled():
    talk = Talk().hear(SPOKEN).hear("vvvv").answer()
    assert [transcript.settled for transcript in talk.of(Transcript)] == [False]
    assert not talk.of(Pause)


def test_partials_come_while_voice_lasts_one_at_a_time():
    talk = Talk().hear("v" * 60, partials=True)
    assert len(talk.wanted) == 1
    talk.answer().hear("vv", partials=True)
    assert len(talk.wanted) == 1 and talk.wanted[0].rank is Rank.PARTIAL


def test_a_pause_abandons_the_partial():
    talk = Talk().hear("v" * 30, partials=True).hear("-" * 8, partials=True)
    partial, final, _ = talk.wanted
    assert partial.abandoned and not final.abandoned
    talk.answer()
    assert len(talk.of(Transcript)) == 1


def test_a_long_utterance_goes_on_in_a_new_segment_after_a_pause():
    talk = Talk().hear("v" * 200 + "-" * 12).answer().hear("v" * 30 + "-" * 8)
    second = next(item for item in talk.wanted if isinstance(item, Decode))
    assert len(second.pcm) < 50 * 512
    talk.answer().commit()
    assert talk.finals[0].text == f"205 frames {len(second.pcm) // 512} frames"


def test_voice_between_the_last_decode_and_a_stop_too_short_for_one_is_not_lost():
    rules = Rules(voice=VOICE, pre_roll_ms=96, segment_ms=2000, segment_pause_ms=0, late_voice_ms=64)
    talk = Talk(rules).hear("v" * 20 + "-" * 8).answer().hear("v" * 80 + "-" * 4 + "v" * 20 + "-" * 8)
    decodes = [item for item in talk.wanted if isinstance(item, Decode)]
    assert decodes[-1].segment.start + 1.5 * len(decodes[-1].pcm) >= talk.at - 3 * FRAME
    assert decodes[-1].segment.start <= 28 * FRAME
    talk.answer().commit(talk.at)
    late = Talk(rules).hear("v" * 20 + "-" * 8).answer().hear("v" * 10 + "-" * 4 + "vv").commit().answer()
    assert late.finals[0].to > 37 * FRAME


def test_without_a_pause_it_is_cut_and_nothing_is_lost():
    talk = Talk(Rules(voice=VOICE, longest_segment_ms=3200)).hear("v" * 250).commit()
    lengths = [len(item.pcm) // 512 for item in talk.wanted if isinstance(item, Decode)]
    assert lengths == [100, 100, 50]
    assert talk.answer().finals[0].text == "100 frames 100 frames 50 frames"


def test_an_older_decode_that_took_longer_changes_nothing():
    talk = Talk().hear(SPOKEN)
    older = next(item for item in talk.wanted if isinstance(item, Decode))
    talk.wanted.clear()
    talk.hear("vvvvvv------").answer()
    talk.listener.decoded(older, "stale")
    talk.commit()
    assert talk.finals[0].text == "26 frames"


def test_partials_after_a_pause_replace_what_was_said_at_it():
    talk = Talk().hear(SPOKEN).answer().hear("v" * 40, partials=True).answer()
    assert talk.of(Transcript)[-1].text != "14 frames"


def test_the_mark_is_the_start_of_what_is_not_done():
    talk = Talk(start=24_000)
    talk.hear("-" * 20)
    assert talk.listener.mark == talk.at - 3 * FRAME
    talk.hear("vvvvvv" + "-" * 6)
    started = talk.listener.mark
    assert started == 24_000 + (20 - 3) * FRAME
    talk.commit()
    assert talk.listener.mark == started, "the final is still owed"
    talk.answer()
    assert talk.listener.mark >= talk.finals[0].to


def test_what_is_cleared_is_never_said():
    talk = Talk().hear(SPOKEN)
    talk.listener.clear(talk.at)
    talk.answer().hear("-" * 30)
    assert not talk.of(Transcript) and not talk.of(Pause)
    talk.commit()
    assert [final.text for final in talk.finals] == [""]


def test_a_failed_decode_still_ends_the_utterance():
    talk = Talk().hear(SPOKEN).commit()
    for item in talk.wanted:
        if isinstance(item, Decode):
            talk.listener.decoded(item, None)
    talk.take()
    assert [final.text for final in talk.finals] == [""]


def judge_of(talk):
    return next(item for item in talk.wanted if isinstance(item, Judge))


def decode_of(talk):
    return next(item for item in talk.wanted if isinstance(item, Decode))


def test_a_pause_waits_for_its_words():
    talk = Talk().hear(SPOKEN)
    talk.listener.judged(judge_of(talk), 0.9)
    talk.take()
    assert not talk.of(Pause)
    talk.listener.decoded(decode_of(talk), "I would like to")
    talk.take()
    assert [fact.p_end for fact in talk.of(Pause)] == [ending.p_end(0.9, "I would like to", 160)]
    assert talk.of(Pause)[0].p_end < ending.p_end(0.9, None, 160)
    assert isinstance(talk.facts[-2], Transcript), "the words come before what they mean"


def test_words_that_take_too_long_are_not_waited_for():
    rules = RULES.model_copy(
        update={"words_wait_ms": 500, "voice": VOICE.model_copy(update={"ask_ms": (160, 500)})}
    )
    talk = Talk(rules).hear("----vvvvvv" + "-" * 18)
    first, second = [item for item in talk.wanted if isinstance(item, Judge)]
    talk.listener.judged(first, 0.7)
    talk.listener.judged(second, 0.9)
    talk.take()
    assert [fact.p_end for fact in talk.of(Pause)] == [
        ending.p_end(0.7, None, first.ms),
        ending.p_end(0.9, None, second.ms),
    ]
    talk.listener.decoded(decode_of(talk), "Yes.")
    talk.take()
    assert talk.of(Pause)[-1].p_end == ending.p_end(0.9, "Yes.", second.ms)


def test_the_words_of_an_earlier_pause_do_not_judge_a_later_one():
    talk = Talk().hear(SPOKEN)
    talk.listener.judged(judge_of(talk), 0.9)
    older = decode_of(talk)
    talk.hear("vvvvvv")
    talk.listener.decoded(older, "Yes.")
    talk.take()
    assert not talk.of(Pause)


def test_a_session_chooses_its_threshold_and_pre_roll():
    talk = Talk()
    talk.listener.retune(RULES.model_copy(update={"voice": VOICE.with_onset(0.95), "pre_roll_ms": 32}))
    talk.hear("----vvvvvv----")
    assert not talk.facts, "voice of probability .9 is none"
    talk.listener.retune(RULES.model_copy(update={"pre_roll_ms": 32}))
    talk.hear("----vvvvvv------").answer()
    assert talk.of(VoiceStarted) and talk.of(Transcript)[0].start == talk.of(VoiceStarted)[0].at - FRAME


def test_a_threshold_moves_where_voice_ends_too():
    strict = VoiceRules().with_onset(0.8)
    assert strict.onset == 0.8 and 0.5 < strict.offset < 0.8
    assert VoiceRules().with_onset(0.01).offset > 0


def kept_s(talk):
    tape = talk.listener._tape
    return (tape.end - tape.start) / 24_000


@pytest.mark.parametrize("answering", [True, False], ids=["decodes come back", "decodes hang"])
def test_a_radio_stays_bounded(answering):
    talk = Talk(Rules(voice=VOICE, longest_segment_ms=2000))
    longest = 0.0
    for _ in range(150):
        talk.hear("v" * 120 + "-" * 5)
        if answering:
            talk.answer()
        talk.wanted.clear()
        longest = max(longest, kept_s(talk))
    assert longest < 12
    assert len(talk.listener._open.segments) == MAX_SEGMENTS
    assert len(talk.listener._open.text) < MAX_TEXT


def test_ten_minutes_of_silence_in_an_open_utterance_keeps_its_words_and_no_audio():
    talk = Talk().hear(SPOKEN).answer().hear("-" * 18_750)
    assert kept_s(talk) < 9
    talk.hear("vvvvvv------").answer().commit()
    (final,) = talk.finals
    assert final.text.startswith("14 frames ") and final.text.endswith(" frames")
    assert final.to == talk.of(VoiceEnded)[-1].at


def test_ten_minutes_of_silence_before_any_word_keeps_nothing():
    talk = Talk().hear("-" * 18_750)
    assert not talk.facts and not talk.wanted and kept_s(talk) < 1


def test_a_commit_after_a_long_silence_is_final_at_once():
    talk = Talk().hear(SPOKEN).answer().hear("-" * 200).commit()
    assert [final.text for final in talk.finals] == ["14 frames"] and not talk.wanted


def test_silence_after_words_that_are_not_decoded_yet_is_not_forgotten():
    talk = Talk().hear(SPOKEN).hear("-" * 200).commit()
    assert not talk.finals
    assert talk.answer().finals[0].text == "14 frames"


def test_a_television_far_below_the_speaker_does_not_hold_the_turn():
    talk = Talk()
    for level in [0.1] * 40 + [0.01] * 40:
        talk.listener.hear(np.full(512, level, np.float32), 0.95, None)
    talk.take()
    (ended,) = talk.of(VoiceEnded)
    assert 40 * FRAME <= ended.at < 50 * FRAME


STEPS = st.one_of(
    st.tuples(st.just("hear"), st.text("v-", min_size=1, max_size=60)),
    st.tuples(st.just("loud"), st.floats(-1, 1), st.floats(0, 1), st.integers(1, 40)),
    st.tuples(st.just("answer")),
    st.tuples(st.just("commit"), st.integers(0, 40)),
    st.tuples(st.just("clear"), st.integers(0, 40)),
    st.tuples(st.just("retune"), st.floats(0.05, 0.95), st.integers(0, 1000)),
)


def after_the_last(talk, frames_ago):
    """Commits and clears come in the order of their positions."""
    talk.closed = max(getattr(talk, "closed", 0), talk.at - frames_ago * FRAME)
    return talk.closed


def do(talk, what, *given):
    match what:
        case "hear":
            talk.hear(given[0], partials=True)
        case "loud":
            level, probability, frames = given
            for _ in range(frames):
                talk.listener.hear(np.full(512, level, np.float32), probability, PARTIAL_MS)
                talk.at += FRAME
                talk.take()
        case "answer":
            talk.answer()
        case "commit":
            talk.commit(after_the_last(talk, given[0]))
        case "clear":
            talk.listener.clear(after_the_last(talk, given[0]))
            talk.take()
        case "retune":
            voice, pre_roll_ms = VOICE.with_onset(given[0]), given[1]
            talk.listener.retune(RULES.model_copy(update={"voice": voice, "pre_roll_ms": pre_roll_ms}))


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_each_commit_has_one_final_and_facts_are_in_order(history):
    talk = Talk(start=100 * FRAME)
    for step in history:
        do(talk, *step)
        assert talk.listener.mark <= talk.at
    talk.answer()
    assert len(talk.finals) == sum(step[0] == "commit" for step in history)
    assert all(0 <= pause.p_end <= 1 and pause.at + pause.ms * 24 <= talk.at for pause in talk.of(Pause))
    starts = [fact.at for fact in talk.of(VoiceStarted)]
    assert starts == sorted(starts)
