"""One listener without models: the test plays voice detector, recogniser and judge."""

import numpy as np

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from gpu_workers.endpoint import ending
from gpu_workers.endpoint.endpointer import Rules as VoiceRules
from gpu_workers.endpoint.listener import Decode, Judge, Listener, Rank, Rules

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
