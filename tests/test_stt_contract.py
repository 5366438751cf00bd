"""What every speech-to-text engine keeps, the null one and the real ones alike; tests/engine_cases.py says who is
excused from what.
"""

import time

import numpy as np
import pytest

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from gpu_workers.engine import Tuning
from tests import speech
from tests.conftest import missing
from tests.engine_drivers import SLOTS, Ears, engines, warm

#: A session that began ten hours ago.
LONG_AGO = 36_000 * speech.RATE


@pytest.fixture(scope="module", params=engines("stt"))
def built(request):
    name, case = request.param
    return warm("stt", name), case


@pytest.fixture
def stt(built):
    engine, _ = built
    yield engine
    for slot in range(SLOTS):
        engine.close(slot)
    engine.step({})
    assert not engine.faults(), "it is in health, whatever the test did"


@pytest.fixture
def understands(built):
    return built[1].understands


@pytest.fixture(scope="module")
def sentence():
    """Two short sentences of a recording, a second and a half of quiet after them."""
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    pcm = speech.recording("two_cities")[24_000:110_400]
    return np.concatenate([speech.silence(0.5), pcm, speech.silence(1.5)])


def test_it_says_what_it_takes(stt):
    assert stt.slots == SLOTS and 0 < stt.batch <= SLOTS
    assert 240 <= stt.frame_samples <= 4_800, "from 10 ms to 200 ms"


def test_silence_is_no_voice(stt):
    ears = Ears(stt, 0).hear(s0=speech.silence(1.0), pace=0)
    assert not ears.facts[0]
    assert not ears.commit(0).text


def test_nothing_heard_is_an_empty_utterance(stt):
    ears = Ears(stt, 0, start=LONG_AGO)
    for _ in range(2):
        final = ears.commit(0)
        assert final.final and final.settled and not final.text
        assert final.start <= final.to == LONG_AGO
    assert stt.mark(0) <= LONG_AGO


def test_a_sentence_begins_and_ends_where_it_sounds(stt, sentence):
    ears = Ears(stt, 1, start=LONG_AGO).hear(s1=sentence)
    final = ears.commit(1)
    started, ended = ears.of(1, VoiceStarted), ears.of(1, VoiceEnded)
    assert started and ended and started[0].at < ended[-1].at
    assert 9_000 < started[0].at - LONG_AGO < 28_000
    assert all(LONG_AGO <= fact.at <= ears.at[1] for fact in [*started, *ended])
    assert final.settled and LONG_AGO <= final.start <= final.to <= ears.at[1]


def test_a_pause_after_a_sentence_is_judged_and_its_words_are_settled(stt, sentence, understands):
    if not understands:
        pytest.skip("random weights know no pauses")
    ears = Ears(stt, 1).hear(s1=sentence).until(1, Pause)
    # on a busy machine the pause is judged before its words are there
    ears.until(1, Transcript, such=lambda heard: heard.settled)
    final, ended = ears.commit(1), ears.of(1, VoiceEnded)
    pauses = ears.of(1, Pause)
    assert pauses and all(0 <= pause.p_end <= 1 and pause.ms > 0 for pause in pauses)
    assert any(pause.at == ended[-1].at for pause in pauses)
    settled = [transcript for transcript in ears.of(1, Transcript) if transcript.settled]
    assert settled and settled[-1].to >= ended[-1].at
    assert final.text
    assert final.to <= max(settled[-1].to, ended[-1].at), "else the web would take it for a second utterance"


def test_marks_never_lie_ahead(stt, sentence):
    ears = Ears(stt, 2).hear(s2=sentence)
    assert all(0 <= mark <= ears.at[2] for mark in ears.marks[2])
    assert min(ears.marks[2]) <= ears.of(2, VoiceStarted)[0].at
    ears.commit(2)
    assert stt.mark(2) >= ears.of(2, VoiceEnded)[0].at


def test_an_opened_slot_has_forgotten_everything(stt, sentence):
    Ears(stt, 0).hear(s0=sentence[: len(sentence) // 2])
    ears = Ears(stt, 0, start=1_000)
    ears.hear(s0=speech.silence(0.5)).idle(0.3)
    assert not ears.commit(0).text
    assert not ears.facts[0]


def test_a_slot_opened_while_its_last_utterance_is_still_read_gets_none_of_it(stt, sentence):
    ears = Ears(stt, 0).hear(s0=sentence, pace=0)
    stt.commit(0, ears.at[0])
    ears.open(0, start=LONG_AGO).hear(s0=speech.silence(0.3), pace=0)
    final = ears.commit(0)
    assert not final.text and final.start >= LONG_AGO
    ears.idle(0.3)
    assert not ears.facts[0]


def test_a_closed_slot_says_nothing_more(stt, sentence):
    ears = Ears(stt, 0).hear(s0=sentence[: -len(sentence) // 4], pace=0.001)
    ears.close(0).facts[0].clear()
    ears.idle(0.3)
    assert not ears.facts[0]


def test_what_is_cleared_is_not_said(stt, sentence):
    ears = Ears(stt, 3).hear(s3=sentence)
    stt.clear(3, ears.at[3])
    assert not ears.commit(3).text


def test_a_slot_that_is_retuned_in_mid_speech_goes_on(stt, sentence, understands):
    half = len(sentence) // 2 // stt.frame_samples * stt.frame_samples
    ears = Ears(stt, 0).hear(s0=sentence[:half])
    stt.retune(0, Tuning(threshold=0.6, prefix_ms=100))
    ears.hear(s0=sentence[half:])
    stt.retune(0, Tuning())
    final = ears.commit(0)
    assert final.text or not understands
    assert len(ears.of(0, VoiceStarted)) >= 1


def test_what_is_no_number_harms_nothing(stt, sentence, understands):
    broken = np.full(stt.frame_samples * 3, np.nan, np.float32)
    broken[::7] = np.inf
    ears = Ears(stt, 0).hear(s0=np.concatenate([broken, sentence]))
    final = ears.commit(0)
    assert final.text or not understands
    assert ears.of(0, VoiceStarted)


def test_slots_do_not_hear_each_other(stt, sentence):
    """One listens, others come and go: it understands what it understands alone, and voice begins where it did."""
    alone = Ears(stt, 0).hear(s0=sentence)
    expected = alone.commit(0).text
    third = len(sentence) // 3 // stt.frame_samples * stt.frame_samples
    ears = Ears(stt, 0, 1, 2).hear(
        s0=sentence[:third], s1=speech.silence(third / speech.RATE), s2=sentence[:40_000]
    )
    ears.close(2).open(3).hear(s0=sentence[third : 2 * third], s3=sentence[20_000:40_000])
    stt.clear(3, ears.at[3])
    ears.open(3).hear(s0=sentence[2 * third :], s3=-sentence[:10_000])
    assert ears.commit(0).text == expected
    assert not ears.facts[1] and not ears.commit(1).text
    assert [fact.at for fact in ears.of(0, VoiceStarted)] == [fact.at for fact in alone.of(0, VoiceStarted)]


def test_all_slots_at_once_are_each_understood(stt, sentence, understands):
    ears = Ears(stt, *range(SLOTS)).hear(pace=0.004, **{f"s{slot}": sentence for slot in range(SLOTS)})
    texts = [ears.commit(slot).text for slot in range(SLOTS)]
    assert all(texts) or not understands
    assert all(ears.of(slot, VoiceStarted) for slot in range(SLOTS))


def test_a_minute_of_speech_without_a_commit_is_one_utterance(stt, understands, sentence):
    """As long as nobody commits; what is remembered of it is bounded by the web, which closes it after 30 s."""
    minute = np.resize(speech.recording("two_cities"), 60 * speech.RATE)
    began = time.monotonic()
    ears = Ears(stt, 0).hear(s0=minute, pace=0)
    heard_s = time.monotonic() - began
    final = ears.commit(0)
    assert final.final and final.to <= ears.at[0]
    assert heard_s < 60, "it listens faster than people speak"
    if understands:
        assert len(final.text.split()) > 60, final.text
    assert not Ears(stt, 0).hear(s0=speech.silence(0.3), pace=0).commit(0).text
