"""Where clauses are cut."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_workers.clauses import speech_text
from gpu_workers.clauses.speech_text import Rules, clause, ends_sentence, parts, pause_ms
from gpu_workers.spoken import joins

RULES = Rules()


def cut(text, *, first=False, done=False):
    words = [word + " " for word in text.split()]
    return " ".join(text.split()[: clause(words, RULES, first=first, done=done)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello! How are", "Hello!"),
        ("**Hello!** How are", "**Hello!**"),
        ("Well, I", ""),
        ("Well, I think, but", "Well, I think,"),
        ("The capital is", ""),
        ("The capital city is", "The capital city is"),
        ("The capital of France", "The capital"),
        ("A dog that I once met was", "A dog"),
        ("It is a very", "It is"),
        ("It was the best of", "It was the best"),
        ("It runs under the bridge", "It runs under"),
        ("Dr. Jones is in. Please", "Dr. Jones is in."),
        ("No. I do not", "No."),
        ("42. That", ""),
        ("The answer is 42", "The answer is"),
        ("They are 5 km", "They are 5 km"),
        ("They have about 5", "They have about"),
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
        (
            "We met on the evening of November 23, 2026, and then",
            "We met on the evening of November 23, 2026,",
        ),
    ],
)
def test_later_clauses_are_longer(text, expected):
    assert cut(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Take 5 km", ["Take 5 km"]),
        ("Go 10 to 5 km away now", ["Go 10", "to 5 km away now"]),
        ("It is 3.5 million people", ["It is 3.5 million", "people"]),
        ("One two three *clears throat* four", ["One two three", "*clears throat* four"]),
        ("*clears throat a bit* Hello you there", ["*clears throat a bit*", "Hello you there"]),
        ("*clears a b c d e f g h", ["*clears a b c", "d e f g h"]),
        ("See <a href=x title=y z=w> there", ["See <a href=x title=y z=w>", "there"]),
        ("At 3 pm Dr. Smith came in", ["At 3 pm", "Dr. Smith came in"]),
        ("a 3 - 5 range", ["a 3 - 5", "range"]),
        ("Born May 5, 1980, in Rome", ["Born May 5, 1980,", "in Rome"]),
        ("on the 3rd of May we met", ["on the 3rd of May", "we met"]),
        ("It costs 5 USD today", ["It costs", "5 USD today"]),
    ],
)
def test_what_belongs_together_is_spoken_together(text, expected):
    words, clauses, told = [word + " " for word in text.split()], [], 0
    given = 0
    while told < len(words):
        given = min(given + 1, len(words))
        count = clause(words[told:given], RULES, first=not clauses, done=given == len(words))
        if count:
            clauses.append("".join(words[told : told + count]).strip())
        told += count
    assert clauses == expected


@pytest.mark.parametrize(
    ("word", "following", "ends"),
    [
        ("done.", None, True), ("done.)", None, True), ("done.**", None, True), ("so?!", None, True),
        ("great!😀", None, True), ("3.5", None, False), ("3.5.", None, True), ("12:30.", None, True),
        ("https://a.org/b.", None, True), ("a.org", None, False), ("Dr.", "Smith", False),
        ("(Dr.", "Smith", False), ("e.g.", "This", False), ("vs.", "Them", False), ("U.S.", "Army", False),
        ("U.S.", "The", True), ("U.S.", None, False), ("C.", "It", True), ("J.", "Smith", False),
        ("etc.", "and", False), ("etc.", "Then", True), ("p.m.", "We", True), ("p.m.", "we", False),
        ("no.", "5", False), ("no.", "Then", True), ("well...", "then", False), ("well...", "Then", True),
        ("well…", None, False), ("line\n", "next", True), ("你好。", None, True), ("word", None, False),
        ("", None, False), ("...", None, False),
    ],
)  # fmt: skip
def test_the_end_of_a_sentence_is_told_from_other_full_stops(word, following, ends):
    assert ends_sentence(word, following) == ends


def test_a_sentence_is_followed_by_a_longer_pause_than_a_clause():
    assert pause_ms("done. ") > pause_ms("well, ") > pause_ms("word ") == 0


def test_what_is_left_is_spoken_when_no_more_comes():
    assert cut("and that was", done=True) == "and that was"


@pytest.mark.parametrize(
    "word",
    ["word ", "5 ", "May ", "Dr. ", "*clears ", "[laughs ", "(softly ", "<a ", "](x ", "- ", "J. ", "a,"],
)
@pytest.mark.parametrize("first", [True, False])
def test_words_without_end_hold_the_speech_for_a_few_words_only(word, first):
    longest = RULES.first_words if first else RULES.longest_words
    assert (
        0
        < clause([word] * (longest + joins.LONGEST), RULES, first=first, done=False)
        <= longest + joins.LONGEST
    )


def test_a_clause_of_long_words_is_cut_before_it_is_too_much_for_a_model():
    words = ["x" * 90 + " "] * 20
    assert clause(words, RULES, first=False, done=False) == 3


#: Pieces from which constructs and their halves come about.
_PIECES = """
    5 km 3.5 - * ** *clears throat* [laughs ] ( (softly <b <b> May 23, 2026 Dr. e.g. U.S. The $3 million 。 … , .
    😀 of 3rd 1.
"""
TRICKY = st.sampled_from([*_PIECES.split(), "\n"])
WORDS = st.lists(st.one_of(TRICKY, st.text(min_size=1, max_size=12)), max_size=60)


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


@given(WORDS, st.booleans())
def test_more_words_than_the_horizon_change_nothing(words, first):
    words = words * 3
    if len(words) > RULES.horizon:
        near = clause(words[: RULES.horizon], RULES, first=first, done=False)
        assert near == clause(words, RULES, first=first, done=False) > 0


@given(st.text(max_size=300))
@example("很" * 250 + "。" + "好，" * 3)
@example("x" * 20_000)
def test_parts_of_a_word_are_the_word(word):
    found = parts(word)
    assert "".join(found) == word
    assert found and (len(found) == 1 or max(map(len, found)) <= 2 * speech_text.LONGEST_WORD)


def test_a_word_of_a_language_without_spaces_is_spoken_in_sentences():
    assert parts("你好。今天天气很好，我们走吧！ ") == ["你好。", "今天天气很好，", "我们走吧！ "]


def test_an_address_is_never_cut_but_what_only_begins_like_one_is():
    address = "(https://antiphon.org/" + "a" * 500 + "). "
    assert parts(address) == [address]
    assert len(parts('www."' + "a" * 500)) > 1


@given(st.text(max_size=40), st.none() | st.text(max_size=5))
def test_any_word_has_a_pause(word, following):
    assert pause_ms(word, following) in (0, 130, 260)
