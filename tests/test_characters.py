"""Prompts: from instructions and dice to a system prompt; from a history to messages."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from config import voices
from config.errors import ClientError
from config.messages import ChatMessage
from config.voices import Instructions, Kind
from web import characters, prompt
from web.characters import system_prompt

FILE = Path(__file__).parent.parent / "voices.yaml"
NOON = datetime(2026, 3, 2, 12, 5, tzinfo=timezone(timedelta(hours=1), "CET"))


def told(kind: str, seed: str = "sid", **fields: str) -> str:
    return system_prompt(Instructions(type=kind, **fields), NOON, Random(seed))


HOLDS = {
    "constant: who it is": ("constant", {"text": "You are a pirate."}, "You are a pirate."),
    "constant without a text": ("constant", {}, characters.DEFAULT_TEXT),
    "smalltalk: the time and the zone": ("smalltalk", {}, "It is Monday, 2 March 2026, 12:05 (CET)."),
    "smalltalk: who it is": ("smalltalk", {"text": "You are a pirate."}, "You are a pirate."),
    "guess_animal: the rules": ("guess_animal", {}, "yes or no"),
    "news: there are none": ("news", {}, "no headlines are set up"),
    "explanation: the stages": ("unmute_explanation", {}, "Text to speech, the mouth"),
    "explanation: the credit": ("unmute_explanation", {}, "Unmute, the open voice system of Kyutai"),
    "English, if nothing is said": ("smalltalk", {}, "Speak English."),
    "a language": ("smalltalk", {"language": "de"}, "Speak German."),
    "either of two languages": ("smalltalk", {"language": "fr/en"}, "Speak French or English."),
}


@pytest.mark.parametrize(("kind", "fields", "part"), HOLDS.values(), ids=HOLDS)
def test_a_prompt_holds(kind, fields, part):
    assert part in told(kind, **fields)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_prompt_begins_with_what_is_the_same_for_all(kind):
    assert told(kind).startswith(characters.FRAME)
    for need in ("read aloud", "speech recognition", '"..."', '"bye!"'):
        assert need in characters.FRAME


@pytest.mark.parametrize("kind", ["smalltalk", "guess_animal", "quiz_show"])
def test_the_same_dice_give_the_same_prompt(kind):
    assert told(kind, "one") == told(kind, "one")
    assert len({told(kind, str(seed)) for seed in range(20)}) > 5


def test_a_time_without_a_zone_goes_without():
    now = system_prompt(Instructions(type="smalltalk"), NOON.replace(tzinfo=None), Random(1))
    assert "12:05." in now


def test_a_quiz_asks_five_of_at_least_fifty_questions():
    questions = characters.quiz_questions()
    assert len(questions) >= 50
    assert all(question.endswith("?") and answer and len(answer) < 40 for question, answer in questions)
    asked = [question for question, _ in questions if question in told("quiz_show")]
    assert len(asked) == 5


def test_the_two_animals_of_a_game_differ():
    for seed in range(30):
        said = told("guess_animal", str(seed))
        assert len([animal for animal in characters.ANIMALS if f"think of {animal}" in said]) == 2


def test_our_prompts_leave_most_of_a_small_context_to_the_talk():
    for character in voices.load(FILE):
        said = system_prompt(character.spoken, NOON, Random(1))
        assert len(said) < 2000, f"{character.name}: over 500 of 2048 tokens"


# --- what a client asks for

ASKED = {
    "nothing": (None, Instructions(type="constant")),
    "what a client of Unmute sends": (
        {"type": "smalltalk", "language": "en/fr"},
        Instructions(type="smalltalk", language="en/fr"),
    ),
    "fields that are null": ({"type": "smalltalk", "language": None}, Instructions(type="smalltalk")),
    "an empty text": ({"type": "constant", "text": ""}, Instructions(type="constant")),
    "a field of a later version": ({"type": "quiz_show", "rounds": 2}, Instructions(type="quiz_show")),
}


@pytest.mark.parametrize(("asked", "understood"), ASKED.values(), ids=ASKED)
def test_instructions_are_understood(asked, understood):
    assert characters.instructions(asked) == understood


REFUSED = {
    "an unknown type": (
        {"type": "sing"},
        ".type",
        "unknown instructions type 'sing'; there are: constant, smalltalk",
    ),
    "no type": ({"text": "Hi"}, ".type", "unknown instructions type ''"),
    "a type that is a list": ({"type": ["a" * 999]}, ".type", "unknown instructions type"),
    "an unknown language": (
        {"type": "news", "language": "xx"},
        ".language",
        "language: unknown language 'xx'",
    ),
    "an endless text": (
        {"type": "constant", "text": "a" * 20_001},
        ".text",
        "text: String should have at most",
    ),
    "a text that is a number": (
        {"type": "constant", "text": 7},
        ".text",
        "text: Input should be a valid string",
    ),
    "no object": (["constant"], "", "instructions must be an object"),
}


@pytest.mark.parametrize(("asked", "param", "said"), REFUSED.values(), ids=REFUSED)
def test_instructions_are_refused(asked, param, said):
    with pytest.raises(ClientError) as caught:
        characters.instructions(asked)
    assert (caught.value.param, caught.value.wire_code) == (
        f"session.instructions{param}",
        "invalid_instructions",
    )
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 300


# --- messages

SYSTEM = ("system", "Be kind.")
HISTORIES = {
    "an empty history: the assistant begins": ([], [SYSTEM, ("user", prompt.OPENING)]),
    "what the user said is last": ([("user", "Hi.")], [SYSTEM, ("user", "Hi.")]),
    "turns stay in order": (
        [("user", "Hi."), ("assistant", "Hello."), ("user", "Well?")],
        [SYSTEM, ("user", "Hi."), ("assistant", "Hello."), ("user", "Well?")],
    ),
    "two of one role become one": (
        [("user", "I"), ("user", "mean"), ("assistant", "Yes?"), ("assistant", "Go on."), ("user", "you.")],
        [SYSTEM, ("user", "I mean"), ("assistant", "Yes? Go on."), ("user", "you.")],
    ),
    "the mark of an interruption is taken off": (
        [("user", "Hi."), ("assistant", f"Once upon{prompt.INTERRUPTED}"), ("user", "Stop.")],
        [SYSTEM, ("user", "Hi."), ("assistant", "Once upon"), ("user", "Stop.")],
    ),
    "a reply of which nothing was heard is left out": (
        [("user", "Hi."), ("assistant", prompt.INTERRUPTED), ("user", "Stop.")],
        [SYSTEM, ("user", "Hi. Stop.")],
    ),
    "after the assistant, the user is given a word": (
        [("user", "Hi."), ("assistant", "Hello.")],
        [SYSTEM, ("user", "Hi."), ("assistant", "Hello."), ("user", prompt.OPENING)],
    ),
    "silence is a message": ([("user", "...")], [SYSTEM, ("user", "...")]),
}  # fmt: skip


@pytest.mark.parametrize(("history", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_messages(history, expected):
    made = prompt.messages("Be kind.", [ChatMessage(role, content) for role, content in history])
    assert [(message.role, message.content) for message in made] == expected


def test_an_assistant_that_began_was_spoken_to_first():
    made = prompt.messages("", [ChatMessage("assistant", "hi"), ChatMessage("user", "yes")])
    assert [message.role for message in made] == ["system", "user", "assistant", "user"]
    assert made[:2] == prompt.messages("", [])
