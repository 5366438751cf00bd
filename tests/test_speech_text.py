"""Where clauses are cut, and what of a word is spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_workers import speech_text
from gpu_workers.speech_text import Rules, clause, speakable

RULES = Rules()


def cut(text, *, first=False, done=False):
    words = [word + " " for word in text.split()]
    return " ".join(text.split()[: clause(words, RULES, first=first, done=done)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello! How are", "Hello!"),
        ("Well, I think", ""),
        ("Well, I think so, but", "Well, I think so,"),
        ("The capital of France", ""),
        ("The capital of France is Paris which", "The capital of France is Paris"),
        ("A dog that I once met was", "A dog that I once met"),
        ("Dr. Jones is in. Please", "Dr. Jones is in."),
        ("One two three four of five six", "One two three four"),
    ],
)
def test_the_first_clause_is_short(text, expected):
    assert cut(text, first=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, it is", ""),
        ("Yes, it is a fine day for it, and then", "Yes, it is a fine day for it,"),
        ("It is. And", "It is."),
        ("nothing ends here yet", ""),
        ("J. R. R. Tolkien wrote it. Then", "J. R. R. Tolkien wrote it."),
    ],
)
def test_later_clauses_are_longer(text, expected):
    assert cut(text) == expected


def test_what_is_left_is_spoken_when_no_more_comes():
    assert cut("and that was", done=True) == "and that was"


def test_a_word_without_end_is_cut_somewhere():
    assert 0 < clause(["word "] * 100, RULES, first=False, done=False) <= RULES.longest_words


WORDS = st.lists(st.text(min_size=1, max_size=12), max_size=60)


@given(WORDS, st.booleans())
def test_no_word_is_lost_or_said_twice(words, trickle):
    left, said, first = list(words), [], True
    seen = 0 if trickle else len(words)
    for _ in range(10_000):
        done = seen == len(words)
        count = clause(left[: seen - len(said)], RULES, first=first, done=done)
        said += left[:count]
        left = left[count:]
        first = first and not count
        if not count and done:
            break
        seen = min(len(words), seen + (0 if count else 1))
    assert said == words


@given(st.text(max_size=40))
def test_any_word_can_be_made_speakable(word):
    spoken = speakable(word)
    assert spoken == spoken.strip()
    assert not spoken or any(sign.isalnum() for sign in spoken)
    assert speech_text.pause_ms(word) >= 0


@pytest.mark.parametrize(
    ("word", "spoken"),
    [("**fine**,", "fine,"), ("😀", ""), ("it’s", "it's"), ("#", ""), ("`code`", "code"), ("naïve", "naïve"),
     ("-", ""), ("snake_case", "snake case")],
)  # fmt: skip
def test_markup_and_pictures_are_not_spoken(word, spoken):
    assert speakable(word) == spoken
