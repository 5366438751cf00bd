"""Clauses into frames, with an engine that beeps as long as the words are, when the test lets it."""

import itertools
import threading
import time

import numpy as np
import pytest

from config.errors import ConfigError
from gpu_workers.clauses.clause_runner import ClauseRunner, Rules, Spoken
from gpu_workers.engine import Say, VoiceOptions

#: Samples per letter.
LETTER = 600


class Beeper:
    def __init__(self):
        self.said = []
        self.gate = threading.Event()
        self.gate.set()

    def warm_up(self):
        pass

    def voices(self):
        return ("beep",)

    def synthesise(self, words, voice, speed):
        assert self.gate.wait(20)
        self.said.append(list(words))
        if "bad" in words:
            raise RuntimeError("this word hurts")
        edges = np.cumsum([0] + [len(word) * LETTER for word in words]).tolist()
        return Spoken(np.ones(edges[-1], np.float32), list(itertools.pairwise(edges)))


@pytest.fixture
def beeper():
    return Beeper()


@pytest.fixture
def runner(beeper):
    runner = ClauseRunner(beeper, Rules(), 4)
    runner.warm_up()
    return runner


def frames(runner, slots, wait_s=5.0):
    """Frames of each slot until all have said everything."""
    found = {slot: [] for slot in slots}
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline and any(not got or not got[-1].last for got in found.values()):
        wanted = [slot for slot, got in found.items() if not got or not got[-1].last]
        for slot, frame in runner.step(wanted).items():
            found[slot].append(frame)
        time.sleep(0.001)
    return found


def say(runner, slot, text, first_word=0):
    runner.open(slot, VoiceOptions("beep", first_word=first_word))
    for word in text.split():
        runner.feed(slot, Say([word + " "]))
    runner.feed(slot, Say((), last=True))


def test_all_words_are_spoken_in_order_with_their_times(runner):
    say(runner, 0, "Hello there. I am **well** 😀 thanks. And you?", first_word=3)
    got = frames(runner, [0])[0]
    words = [word for frame in got for word in frame.words]
    assert [number for number, _, _ in words] == list(range(3, 12))
    assert all(start <= stop for _, start, stop in words)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(words))
    assert got[-1].last and got[-1].spoken == 12
    assert sum(len(frame.pcm) for frame in got) >= words[-1][2]


def test_only_the_last_frame_is_shorter(runner):
    say(runner, 0, "One two three.")
    *whole, last = frames(runner, [0])[0]
    assert {len(frame.pcm) for frame in whole} == {runner.frame_samples}
    assert len(last.pcm) % 480 == 0


def test_a_word_is_announced_with_its_first_sample_and_counted_with_its_last(runner):
    say(runner, 0, "Wonderful extraordinary things.")
    given = 0
    for frame in frames(runner, [0])[0]:
        before, given = given, given + len(frame.pcm)
        assert all(before <= start < given for _, start, _ in frame.words)
        assert frame.spoken_to <= given


def test_nothing_to_say_ends_at_once(runner):
    say(runner, 0, "")
    (only,) = frames(runner, [0])[0]
    assert only.last and not len(only.pcm) and only.spoken == 0


def test_words_nobody_can_speak_are_passed_over(runner):
    say(runner, 0, "😀 ** 👍")
    assert frames(runner, [0])[0][-1].spoken == 3


def test_what_is_said_is_what_a_person_would_say(runner, beeper):
    say(runner, 0, "**Dr.** Smith *clears throat* ran 5 km.")
    got = frames(runner, [0])[0]
    assert beeper.said == [["Doctor", "Smith", "", ""], ["ran", "five", "kilometers."]]
    words = [word for frame in got for word in frame.words]
    assert [number for number, _, _ in words] == list(range(7))
    assert words[2][1] == words[2][2] == words[1][2], (
        "a stage direction is a moment behind the word before it"
    )


def test_the_voice_s_language_says_the_numbers(runner, beeper):
    runner.open(0, VoiceOptions("beep", language="fr-FR"))
    runner.feed(0, Say(["Il ", "a ", "81 ", "ans."], last=True))
    frames(runner, [0])
    assert beeper.said == [["Il", "a", "quatre-vingt-un", "ans."]]


def test_a_word_too_long_for_one_clause_is_one_word_still(runner, beeper):
    text = "今天天气很好，" * 20 + "我们走吧。"
    say(runner, 0, f"{text} {'9' * 1000} Bye.")
    got = frames(runner, [0])[0]
    words = [word for frame in got for word in frame.words]
    assert [number for number, _, _ in words] == [0, 1, 2]
    assert len(beeper.said) > 3 and max(len("".join(clause)) for clause in beeper.said) < 3_000
    assert "".join(part for clause in beeper.said for part in clause).startswith(text[:100])
    done = [frame.spoken for frame in got]
    assert done == sorted(done) and done[-1] == 3
    heard = next(frame for frame in got if frame.spoken == 1)
    assert heard.spoken_to >= len(text) * LETTER, "a word counts as heard with its last part"


def test_a_clause_that_fails_costs_itself_only(runner):
    say(runner, 0, "Hello. bad. Bye.")
    assert frames(runner, [0])[0][-1].spoken == 3


def test_the_first_clause_does_not_wait_for_the_end(runner, beeper):
    runner.open(0, VoiceOptions("beep"))
    runner.feed(0, Say(["This ", "is ", "a ", "first ", "clause ", "without ", "any ", "end "]))
    deadline = time.monotonic() + 2
    while not beeper.said and time.monotonic() < deadline:
        runner.step([0])
        time.sleep(0.001)
    assert beeper.said


def test_a_closed_slots_clauses_are_never_spoken(runner, beeper):
    beeper.gate.clear()
    say(runner, 0, "Busy with this.")
    say(runner, 1, "Dropped before.")
    runner.close(1)
    beeper.gate.set()
    frames(runner, [0])
    time.sleep(0.02)
    assert beeper.said == [["Busy", "with", "this."]]


def test_a_late_clause_of_an_earlier_reply_is_dropped(runner, beeper):
    beeper.gate.clear()
    say(runner, 0, "Old words here.")
    time.sleep(0.02)
    say(runner, 0, "New.")
    beeper.gate.set()
    got = frames(runner, [0])[0]
    assert got[-1].spoken == 1
    assert sum(len(frame.pcm) for frame in got) < 20 * LETTER


def test_who_runs_out_first_is_served_first(runner, beeper):
    say(runner, 0, "A very first sentence here. And a second sentence here. And a third one.")
    deadline = time.monotonic() + 2
    while not runner.step([]) and not beeper.said and time.monotonic() < deadline:
        time.sleep(0.001)
    beeper.gate.clear()
    time.sleep(0.02)
    runner.step([])  # the second clause of 0 is being spoken, or waits
    say(runner, 1, "Urgent.")
    beeper.gate.set()
    frames(runner, [0, 1])
    assert beeper.said.index(["Urgent."]) < beeper.said.index(["And", "a", "third", "one."])


def test_an_unknown_voice_names_the_known_ones(runner):
    with pytest.raises(ConfigError, match="beep"):
        runner.open(0, VoiceOptions("nobody"))


@pytest.mark.parametrize(
    ("word_cost_s", "longest"),
    [
        pytest.param(0.0, 13, id="nothing"),
        pytest.param(0.001, 13, id="little"),
        pytest.param(60.0, 4, id="more than is in hand"),
    ],
)
def test_a_clause_has_no_more_words_than_its_time_allows(beeper, word_cost_s, longest):
    runner = ClauseRunner(beeper, Rules(word_cost_s=word_cost_s), 1)
    runner.warm_up()
    say(runner, 0, "One two three four " + "again " * 12 + "end.")
    frames(runner, [0])
    assert len(beeper.said[0]) == 4
    assert max(map(len, beeper.said[1:])) == longest
