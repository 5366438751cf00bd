"""Whose voice it is, by its level alone: a table of scenes of 32 ms frames, no model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_workers.endpoint.levels import SILENCE_DB, Levels, Rules, level_db

MS = 32.0
RULES = Rules()  # type: ignore[call-arg]

#: The speaker's syllables, three loud frames and two soft ones.
SPEECH = (-22.0, -20.0, -24.0, -33.0, -31.0)


def scene(*parts, rules=RULES):
    """(levels, seconds, probability): the levels again and again; which frames of the last part count."""
    levels = Levels(rules)
    counted = []
    for pattern, seconds, probability in parts:
        counted = [
            levels.hear(pattern[number % len(pattern)], probability, MS)
            for number in range(int(seconds * 1e3 / MS))
        ]
    return counted


def share(counted):
    return sum(counted) / len(counted)


SPOKE = (SPEECH, 3.0, 0.95)
QUIET = ((-65.0,), 2.0, 0.02)


def softer(db):
    return tuple(level - db for level in SPEECH)


@pytest.mark.parametrize("level", [0.0, -20.0, -45.0, -60.0])
def test_the_first_words_of_a_session_always_count(level):
    assert all(scene(QUIET, ((level,), 0.6, 0.95)))


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        pytest.param((SPEECH, 2.0, 0.95), 0.95, 1.0, id="the speaker goes on"),
        pytest.param((softer(6), 2.0, 0.95), 0.9, 1.0, id="the speaker turns away a little"),
        pytest.param((softer(16), 2.0, 0.95), 0.0, 0.1, id="a television 16 dB below is not the speaker"),
        pytest.param((softer(20), 2.0, 0.95), 0.0, 0.0, id="the assistant's own voice at -20 dB is not"),
        pytest.param(
            (tuple(level + 12 for level in SPEECH), 2.0, 0.95), 1.0, 1.0, id="a louder voice counts"
        ),
    ],
)
def test_after_the_speaker(part, least, most):
    assert least <= share(scene(QUIET, SPOKE, QUIET, part)) <= most


def test_soft_ends_of_words_belong_to_them():
    assert all(scene(QUIET, SPOKE, ((-20.0,), 0.2, 0.95), ((-36.0,), 0.2, 0.6)))


def test_babble_that_begins_is_the_room_after_a_while():
    babble = (-30.0, -33.0, -35.0, -31.0)
    assert share(scene(QUIET, SPOKE, (babble, 6.0, 0.9))[-60:]) < 0.1


def test_speech_in_babble_still_counts():
    loud = (-20.0, -21.0, -22.0, -30.0, -29.0)
    assert (
        share(
            scene(
                ((-31.0, -33.0), 5.0, 0.6), (loud, 3.0, 0.95), ((-31.0, -33.0), 2.0, 0.6), (loud, 2.0, 0.95)
            )
        )
        > 0.8
    )


def test_a_cough_does_not_make_the_speaker_inaudible():
    assert share(scene(QUIET, SPOKE, ((-2.0,), 0.3, 0.9), QUIET, (SPEECH, 2.0, 0.95))) > 0.7


def test_who_shouts_once_is_heard_in_the_voice_of_before():
    shout = tuple(level + 18 for level in SPEECH)
    assert share(scene(QUIET, SPOKE, QUIET, (shout, 2.0, 0.95), QUIET, (SPEECH, 2.0, 0.95))) > 0.8


def test_two_seconds_at_full_scale_that_are_no_voice_change_nothing():
    assert share(scene(QUIET, SPOKE, ((0.0,), 2.0, 0.1), QUIET, (SPEECH, 2.0, 0.95))) > 0.95


def test_a_soft_second_speaker_is_heard_once_the_first_is_silent_for_long():
    assert share(scene(QUIET, SPOKE, ((-65.0,), 22.0, 0.02), (softer(20), 2.0, 0.95))) > 0.9


def test_a_louder_moment_after_ten_minutes_of_silence_counts():
    assert all(scene(SPOKE, ((SILENCE_DB,), 600.0, 0.0), ((-40.0,), 1.0, 0.9)))


def test_a_word_after_digital_silence_counts_within_two_frames():
    assert sum(scene(SPOKE, ((SILENCE_DB,), 3.0, 0.0), ((-22.0,), 0.32, 0.95))) >= 9


@given(st.lists(st.tuples(st.floats(-90, 0), st.floats(0, 1)), max_size=300))
def test_whatever_is_heard_levels_stay_levels(frames):
    levels = Levels(RULES)
    for level, probability in frames:
        levels.hear(level, probability, MS)
        assert SILENCE_DB - 1e-6 <= levels.speaker_db <= 1e-6
        assert SILENCE_DB - 1e-6 <= levels.room_db <= 1e-6


def test_levels_are_decibels_below_full_scale():
    assert level_db(np.ones(512, np.float32)) == pytest.approx(0.0)
    assert level_db(np.full(512, 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-3)
    assert level_db(np.zeros(512, np.float32)) == SILENCE_DB
    assert level_db(np.zeros(0, np.float32)) == SILENCE_DB
