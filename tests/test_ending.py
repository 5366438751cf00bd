"""The probability that a turn is over: sound, words and silence each move it the way they should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.turns import fit
from gpu_workers.endpoint.completeness import SIGNS
from gpu_workers.endpoint.ending import DEAF_WEIGHTS, WEIGHTS, p_end

WHOLE = "I would like to book a table for two."


@pytest.mark.parametrize(
    "cut",
    [
        "I would like to book a table for.",
        "I would like to.",
        "My phone number is 555.",
        "If it rains tomorrow.",
        "I need it for the, um,",
        "It was good, but",
        "My name is J-O-H.",
    ],
)
def test_a_cut_sentence_is_over_less_probably_than_a_whole_one(cut):
    assert p_end(0.9, cut, 200) < 0.6 * p_end(0.9, WHOLE, 200)


def test_a_final_melody_does_not_end_half_a_sentence():
    assert p_end(0.999, "I would like to go to the.", 200) < 0.5


def test_a_whole_sentence_that_sounds_final_is_over_at_once():
    assert p_end(0.99, WHOLE, 140) > 0.7
    assert p_end(0.99, "Yes.", 140) > 0.7


@given(st.floats(0, 1), st.floats(0, 1), st.text(max_size=40) | st.none(), st.integers(0, 10_000))
def test_a_more_final_sound_is_over_more_probably(one, other, text, ms):
    less, more = sorted([p_end(min(one, other), text, ms), p_end(max(one, other), text, ms)])
    assert p_end(min(one, other), text, ms) == less
    assert 0 < less <= more < 1


@given(st.floats(0, 1), st.text(max_size=40) | st.none(), st.integers(0, 5_000), st.integers(1, 5_000))
def test_a_longer_pause_is_over_more_probably(sound, text, ms, more):
    assert p_end(sound, text, ms + more) >= p_end(sound, text, ms)


def test_every_sign_has_a_weight_and_a_prior():
    assert set(WEIGHTS) == {*SIGNS, *DEAF_WEIGHTS} == set(fit.PRIOR)
