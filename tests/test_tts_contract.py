"""What every text-to-speech engine keeps, the null one and the real ones alike; tests/engine_cases.py says who is
excused from what.
"""

import itertools

import numpy as np
import pytest

from config.errors import ConfigError
from gpu_workers.engine import Say, VoiceOptions
from tests.engine_drivers import SLOTS, Mouths, engines, speak, warm

TEXT = "Hello there! It is a fine day, and the 2 of us are in the park. Goodbye."

#: What no reply should hold, and some do.
STRANGE = {
    "emoji": "Well 👩‍👩‍👧‍👦 🎉 done",
    "combining marks": "Zalgo z̷̧̛a̸͝l̵g̶o cafe\u0301 done",
    "right to left": "Say שלום and مرحبا\u200f now",
    "other scripts": "Say 你好，世界。 and こんにちは now",
    "control characters": "A\x00B \x07 \x1b[31mred\x1b[0m \x7f done",
    "invisible signs": "A\u200bB \ufeff \u202e done",
    "markup": "**Bold** [link](http://example.org) <b>tag</b> `code`",
    "signs alone": "-- ... !!! ??? *** done",
    "the edge of unicode": "A \U0010ffff \ufffd done",
}  # fmt: skip


@pytest.fixture(scope="module", params=engines("tts"))
def built(request):
    name, case = request.param
    return warm("tts", name), case


@pytest.fixture
def tts(built):
    engine, _ = built
    yield engine
    for slot in range(SLOTS):
        engine.close(slot)
    engine.step([])
    assert not engine.faults(), "it is in health, whatever the test did"


def test_it_says_what_it_gives(tts):
    assert tts.slots == SLOTS and 0 < tts.batch <= SLOTS
    assert 240 <= tts.frame_samples <= 4_800 and tts.frame_samples % 240 == 0, "from 10 ms to 200 ms"
    voices = tts.voices()
    assert voices and len(set(voices)) == len(voices) and all(voices)


def test_every_word_is_spoken_once_in_order(tts):
    frames = speak(tts, {0: TEXT}, first_word=2)[0]
    count = len(TEXT.split())
    words = [word for frame in frames for word in frame.words]
    assert [number for number, _, _ in words] == list(range(2, 2 + count))
    assert all(start <= stop for _, start, stop in words)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(words))
    assert frames[-1].spoken == 2 + count
    assert sum(len(frame.pcm) for frame in frames) >= words[-1][2] > count * 1_500


def test_frames_are_whole_and_within_bounds(tts, built):
    frames = speak(tts, {0: TEXT})[0]
    assert all(len(frame.pcm) == tts.frame_samples for frame in frames[:-1])
    pcm = np.concatenate([frame.pcm for frame in frames])
    assert pcm.dtype == np.float32 and np.isfinite(pcm).all() and np.abs(pcm).max() <= 1
    if built[1].audible:
        assert np.abs(pcm[: tts.frame_samples]).max() > 0.0056, "nobody waits for silence"
    assert not any(frame.last for frame in frames[:-1])


def test_progress_is_never_ahead_of_the_audio(tts):
    given = spoken = 0
    for frame in speak(tts, {0: TEXT})[0]:
        begin, given = given, given + len(frame.pcm)
        assert all(begin <= start <= given for _, start, _ in frame.words)
        assert frame.spoken_to <= given and frame.spoken >= spoken
        spoken = frame.spoken


def test_replies_of_all_slots_do_not_mix(tts):
    texts = {0: "One two three.", 1: TEXT, 2: "Hello.", 3: "Good morning to you."}
    frames = speak(tts, texts)
    assert {slot: got[-1].spoken for slot, got in frames.items()} == {0: 3, 1: len(TEXT.split()), 2: 1, 3: 4}
    for slot, text in texts.items():
        words = [number for frame in frames[slot] for number, _, _ in frame.words]
        assert words == list(range(len(text.split())))


def test_a_reply_without_words_ends_at_once(tts):
    for words in ([], [""], ["  "]):
        mouths = Mouths(tts).open(0).say(0, words).run(wait_s=5)
        (*_, last) = mouths.frames[0]
        assert last.last and last.spoken == len(words)
        assert sum(len(frame.pcm) for frame in mouths.frames[0]) < 24_000


def test_nothing_is_said_before_there_are_words(tts):
    mouths = Mouths(tts).open(0)
    assert not any(mouths.step() for _ in range(5))
    assert not tts.step([])
    assert mouths.say(0, "Hello.").run().frames[0][-1].spoken == 1


def test_a_reply_is_never_over_before_its_last_word_was_fed(tts):
    mouths = Mouths(tts).open(0)
    for word in ("One.", "Two.", "Three."):
        mouths.say(0, word, last=False).idle(0.1)
        assert not mouths.done(0)
    assert mouths.say(0, []).run().frames[0][-1].spoken == 3


def test_what_stands_before_a_pause_is_heard_before_the_text_goes_on(tts):
    """A function runs, and nobody knows for how long; words that wait for others to follow would bridge nothing."""
    mouths = Mouths(tts).open(0)
    for text, count in (("One moment", 2), ("please", 3)):  # no sign says that a clause ends
        for word in text.split():
            tts.feed(0, Say([word + " "]))
        tts.feed(0, Say(pause=True))
        mouths.until(lambda count=count: count == sum(len(frame.words) for frame in mouths.frames[0]))
        mouths.idle(0.1)
        assert not mouths.done(0)
    frames = mouths.say(0, "It is sunny.").run().frames[0]
    assert [number for frame in frames for number, _, _ in frame.words] == list(range(6))
    assert frames[-1].spoken == 6


def test_a_closed_reply_leaves_nothing_behind(tts):
    tts.open(0, VoiceOptions(tts.voices()[0]))
    tts.feed(0, Say([word + " " for word in TEXT.split()], last=True))
    tts.step([0])
    tts.close(0)
    assert speak(tts, {0: "Hello."})[0][-1].spoken == 1


def test_an_opened_slot_has_forgotten_its_last_reply(tts):
    mouths = Mouths(tts).open(0).say(0, TEXT)
    mouths.until(lambda: mouths.frames[0])
    frames = mouths.open(0, first_word=7).say(0, "Hello you.").run().frames[0]
    assert [number for frame in frames for number, _, _ in frame.words] == [7, 8]
    assert frames[-1].spoken == 9


def test_a_reply_that_is_closed_in_its_midst_disturbs_no_other(tts):
    mouths = Mouths(tts)
    for slot in (0, 1, 2):
        mouths.open(slot).say(slot, TEXT)
    mouths.until(lambda: mouths.frames[1])
    mouths.close(1).open(3).say(3, "Hello.")
    mouths.run()
    count = len(TEXT.split())
    assert {slot: got[-1].spoken for slot, got in mouths.frames.items()} == {0: count, 2: count, 3: 1}


def test_a_slot_that_is_closed_twice_or_never_was_open_is_no_harm(tts):
    tts.close(2)
    Mouths(tts).open(2).close(2)
    tts.close(2)
    assert speak(tts, {2: "Hello."})[2][-1].spoken == 1


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_whatever_is_written_is_passed(tts, text):
    frames = speak(tts, {0: text, 1: "Hello."})
    assert frames[0][-1].spoken == len(text.split(" "))
    assert frames[1][-1].spoken == 1
    assert all(np.isfinite(frame.pcm).all() for frame in frames[0])


def test_a_word_of_5000_letters_can_be_called_off(tts):
    mouths = Mouths(tts).open(0).say(0, "a" * 5_000 + " end.").open(1).say(1, "Hello.")
    mouths.until(lambda: mouths.frames[0] and mouths.done(1))
    mouths.close(0)
    assert speak(tts, {0: "Hello."})[0][-1].spoken == 1


def test_a_very_long_reply_is_spoken_to_its_end(tts, built):
    words = list(itertools.islice(itertools.cycle(TEXT.split()), built[1].reply_words))
    frames = speak(tts, {0: " ".join(words)}, speed=4.0)[0]
    assert frames[-1].spoken == len(words)
    assert [number for frame in frames for number, _, _ in frame.words] == list(range(len(words)))


def test_an_unknown_voice_is_refused(tts):
    if tts.voices() == ("null",):
        pytest.skip("to it every voice sounds the same")
    with pytest.raises(ConfigError):
        tts.open(0, VoiceOptions("nobody"))
    assert speak(tts, {0: "Hello."})[0][-1].spoken == 1
