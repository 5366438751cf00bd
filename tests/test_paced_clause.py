"""When words sound in a clause that comes in pieces: by letters, within what was given out, whatever comes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_workers.clauses.paced_clause import (
    FASTEST_PACE,
    SLOWEST_PACE,
    USUAL_PACE,
    PacedClause,
    next_pace,
    weight,
)

PACE = 100.0


def loud(samples):
    return np.full(samples, 0.1, np.float32)


def quiet(samples):
    return np.zeros(samples, np.float32)


def run(words, pieces, pace=PACE):
    """What is given out for each piece, and at the end."""
    clause = PacedClause(words, pace)
    return [*(clause.add(piece) for piece in pieces), clause.end()]


def test_words_share_the_time_by_their_letters_at_the_usual_pace():
    (spoken, rest) = run(["a", "abcdefg"], [loud(1000)])
    assert spoken.spans == [(0, 200), (200, 1000)]
    assert len(spoken.pcm) == 1000 and not len(rest.pcm)


def test_sound_is_held_until_a_word_is_whole():
    first, second, rest = run(["abc", "abc"], [loud(300), loud(300)])
    assert first is None
    assert (len(second.pcm), second.spans) == (400, [(0, 400)])
    assert (len(rest.pcm), rest.spans) == (200, [(400, 600)]), "the last word has what is left"


def test_a_clause_that_goes_on_longer_than_thought_is_given_out_all_the_same():
    first, second, rest = run(["abc"], [loud(500), loud(300)])
    assert (len(first.pcm), first.spans) == (500, [(0, 400)])
    assert (len(second.pcm), list(second.spans)) == (300, [])
    assert not len(rest.pcm)


def test_a_clause_that_ends_sooner_than_thought_has_all_its_words():
    (first, rest) = run(["abc", "a", "abcde"], [loud(500)])
    assert first.spans == [(0, 400)]
    assert rest.spans == [(400, 425), (425, 500)]


def test_quiet_around_it_is_cut_off_and_quiet_within_is_kept():
    pieces = [quiet(5000), np.concatenate([quiet(3000), loud(1000)]), quiet(2000), loud(1000), quiet(9000)]
    given_out = [piece for piece in run(["abcdefghi"] * 4, pieces) if piece]
    pcm = np.concatenate([piece.pcm for piece in given_out])
    assert len(pcm) == 240 + 1000 + 2000 + 1000 + 240, "with 10 ms at both ends"


def test_a_clause_of_silence_is_no_sound_and_its_words_are_moments():
    *nothing, rest = run(["abc", "abc"], [quiet(5000), quiet(5000)])
    assert nothing == [None, None]
    assert not len(rest.pcm) and rest.spans == [(0, 0), (0, 0)]


def test_words_that_are_not_spoken_are_moments():
    (spoken, rest) = run(["", "abc", "", "abc", ""], [loud(2000)])
    assert [*spoken.spans, *rest.spans] == [(0, 0), (0, 400), (400, 400), (400, 800), (800, 800)]


@given(
    words=st.lists(st.sampled_from(["", "a", "abc", "abcdefghijkl", "—"]), min_size=1, max_size=12),
    pieces=st.lists(st.tuples(st.booleans(), st.integers(1, 3000)), max_size=12),
    pace=st.floats(10, 4000),
)
def test_no_word_is_told_outside_what_is_given_out_with_it(words, pieces, pace):
    sound = [loud(length) if is_loud else quiet(length) for is_loud, length in pieces]
    at, spans = 0, []
    for piece in run(words, sound, pace):
        if piece is None:
            continue
        end = at + len(piece.pcm)
        assert all(at <= start <= stop <= end for start, stop in piece.spans)
        at, spans = end, [*spans, *piece.spans]
    assert len(spans) == len(words)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    everything = np.concatenate([quiet(0), *sound])
    heard = np.flatnonzero(everything)
    assert at <= (heard[-1] - heard[0] + 1 + 720 if len(heard) else 0)
    assert at >= (heard[-1] - heard[0] + 1 if len(heard) else 0), "no sound is lost"


def test_the_pace_is_learnt_and_bounded():
    words = ["abcd"] * 5
    letters = sum(map(weight, words))
    pace = USUAL_PACE
    for _ in range(30):
        pace = next_pace(pace, words, int(letters * 2000))
    assert pace == pytest.approx(2000, rel=0.01)
    assert next_pace(pace, words, 0) == pytest.approx(pace)
    for _ in range(50):
        pace = next_pace(pace, words, 10_000_000)
    assert pace <= SLOWEST_PACE
    for _ in range(50):
        pace = next_pace(pace, words, 10)
    assert pace >= FASTEST_PACE
