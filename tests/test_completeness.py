"""What the words of a turn say about its end: a table of texts as the recogniser writes them, and any text at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_workers.endpoint.completeness import SIGNS, signs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "nothing"),
        ("...", "nothing"),
        ("What time is it?", "question_mark"),
        ("What time is it", "question"),
        ("I would say,", "comma"),
        ("I went to the sh-", "trails_off"),
        ("And then we...", "trails_off"),
        ("And then we went home", "unmarked"),
        ("I would like to see the.", "determiner"),
        ("We are looking at something for.", "preposition"),
        ("Please turn it on.", "particle"),
        ("I was late because", "conjunction"),
        ("The answer is.", "auxiliary"),
        ("And so they", "subject"),
        ("It was a very", "degree"),
        ("I think the, um,", "filler"),
        ("I will book.", "transitive"),
        ("Yes, I'd like to.", "opening"),
        ("My name is", "opening"),
        ("If it rains tomorrow.", "half"),
        ("Yes.", "answer"),
        ("No, thanks.", "answer"),
        ("Can you say that again, please?", "courtesy"),
        ("Apples, oranges.", "list_open"),
        ("Apples, oranges, and pears.", "list_closed"),
        ("My name is J-O-H-N.", "letters"),
        ("J. O. H. N.", "letters"),
        ("My phone number is 555.", "digits_open"),
        ("Five five five, zero one two.", "digits_open"),
        ("It's 555-019-2834.", "digits_done"),
        ("Five five five. Zero one nine two.", "digits_done"),
        ("At nine.", "number"),
        ("It's bob dot smith at", "address_open"),
        ("It's bob@", "address_open"),
        ("The email is b o b", "address_open"),
        ("It's bob dot smith at example dot com.", "address_done"),
        ("bob@example.org", "address_done"),
        ("Lisbon.", "one_word"),
        ("\"'I'd rather stay at home,'", "comma"),
    ],
)
def test_a_sign_is_seen(text, expected):
    assert signs(text).get(expected) == 1.0, signs(text)


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("When is the train?", "half"),
        ("If it rains, we stay.", "half"),
        ("I think we can.", "auxiliary"),
        ("Yes.", "one_word"),
        ("555, 0192", "list_open"),
        ("At half past nine.", "digits_open"),
        ("A whole sentence.", "unmarked"),
    ],
)
def test_what_only_looks_like_a_sign_is_none(text, absent):
    assert absent not in signs(text)


@given(st.text(max_size=300))
def test_any_text_has_known_signs_of_finite_weight(text):
    found = signs(text)
    assert set(found) <= set(SIGNS)
    assert all(math.isfinite(value) and value >= 0 for value in found.values())


@given(
    st.lists(
        st.sampled_from(
            [
                "the",
                "if",
                "and",
                "yes",
                "at",
                "dot",
                "com",
                "5",
                "nine",
                "j",
                "o",
                ".",
                ",",
                "?",
                "'",
                '"',
                "-",
                "@",
                "um",
                "i'd",
                "like",
            ]
        ),
        max_size=12,
    )
)
def test_words_of_the_lexicon_in_any_order_harm_nothing(pieces):
    assert signs(" ".join(pieces))
