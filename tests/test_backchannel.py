"""Which words take the floor, and which come back from the loudspeaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.backchannel import asks_for_floor, is_echo, same_words

LISTENING_ON = (
    "", "...", "Mm-hm.", "mhm", "Uh-huh.", "Yeah.", "Yeah, right.", "Right.", "Okay, okay.", "I see.", "Oh, I see!",
    "Sure. Got it.", "Hmm", "Uh", "Of course.", "All right, all right.", "That’s right.", "Ha ha ha!",
)  # fmt: skip

TAKING_THE_FLOOR = (
    "Stop.", "No.", "Wait", "Yeah, but wait", "Okay, what about tomorrow?", "I see a problem",
    "Right there, on the left",
    "Sure, but how?", "Thank you, that's enough.", "Go on holiday", "Hm, I don't think so.",
)  # fmt: skip


@pytest.mark.parametrize("text", LISTENING_ON)
def test_who_says_only_this_listens_on(text: str) -> None:
    assert asks_for_floor(text) == 0


@pytest.mark.parametrize("text", TAKING_THE_FLOOR)
def test_who_says_this_takes_the_floor(text: str) -> None:
    assert asks_for_floor(text) > 0


def test_case_and_punctuation_make_no_other_words() -> None:
    assert same_words("What's the time?", "what’s the time")
    assert not same_words("I can", "I can't")


SPOKEN = ["The ", "sea ", "covers ", "most ", "of ", "our ", "planet, ", "and ", "it ", "is ", "salty."]


@pytest.mark.parametrize(
    "text",
    [
        "covers most of our",
        "Covers most of hour planet.",
        "and it is salty",
        "planet and is",
        "Seacovers mosto four planet.",
    ],
)
def test_what_the_assistant_just_said_is_its_echo(text: str) -> None:
    assert is_echo(text, SPOKEN)


@pytest.mark.parametrize(
    "text", ["Tell me about whales instead.", "Stop", "No, wait.", "Is it?! What do you mean by that?", ""]
)
def test_what_the_user_says_is_none(text: str) -> None:
    assert not is_echo(text, SPOKEN)


def test_a_word_that_both_say_may_still_be_the_users() -> None:
    assert not is_echo("Stop.", ["Shall ", "I ", "stop ", "here?"])


def test_before_anything_was_said_there_is_no_echo() -> None:
    assert not is_echo("hello", [])


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=30))
def test_no_text_is_too_strange(text: str, spoken: list[str]) -> None:
    assert asks_for_floor(text) >= 0
    assert not (is_echo(text, spoken) and not spoken)
    assert same_words(text, text)
