"""What may be said, as people write it down: lines with marks for pauses, and how a line becomes phrases. Pure.

    ~   a breath at a comma of fluent speech
    /   between two sentences of one turn
    &   between groups of digits or letters, and between the things of a list
    |   a hesitation

`{spell:MARIA}` is spelt letter by letter in groups; `{phone}`, `{card}`, `{code}` are digits drawn anew, in groups.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bench.turns.dialogue import Phrase

#: From and to, ms: how long each mark lasts. Fluent pauses and pauses within a turn as measured in conversations.
PAUSES_MS = {"~": (90, 280), "/": (310, 600), "&": (320, 800), "|": (310, 1500)}

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

#: How people say the groups of a number, by what it is.
GROUPS = {
    "phone": ((3, 3, 4), (3, 4), (5, 3, 3), (4, 3, 3)),
    "card": ((4, 4, 4, 4),),
    "code": ((3, 3), (2, 2, 2)),
}

_MARK = re.compile(r"\s*([~/&|])\s*")
_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


@dataclass(frozen=True)
class Pool:
    """All that one seed may say. Each line is a turn; its category is the name of the field."""

    plain: tuple[str, ...]
    hesitation: tuple[str, ...]
    spelling: tuple[str, ...]
    number: tuple[str, ...]
    list: tuple[str, ...]
    short: tuple[str, ...]
    questions: tuple[str, ...]
    """Each gets a long answer."""
    interruptions: tuple[str, ...]
    backchannels: tuple[str, ...]
    babble: tuple[str, ...]
    """What people in the background talk about."""


def phrases(line: str, rng: Random) -> tuple[Phrase, ...]:
    """A turn: fields filled in, each mark a pause of a length drawn for it."""
    whole = _FIELD.sub(lambda found: filled(found[1], found[2], rng), line)
    parts = _MARK.split(whole.replace(",.", "."))  # the voice falls where a line ends with a field
    pauses = [drawn(mark, rng) for mark in parts[1::2]] + [0]
    return tuple(Phrase(text, pause_ms) for text, pause_ms in zip(parts[::2], pauses, strict=True))


def drawn(mark: str, rng: Random) -> int:
    """A pause in ms; short ones are more frequent than long ones, as with people."""
    low, high = PAUSES_MS[mark]
    share: float = min(rng.random(), rng.random() ** 0.7)
    return round(low + (high - low) * share)


def filled(field: str, word: str | None, rng: Random) -> str:
    """The text of a field, with marks between its groups."""
    if field == "spell" and word:
        return " & ".join(_commas(group) for group in grouped(word, rng))
    sizes = rng.choice(GROUPS[field])
    return " & ".join(_commas([rng.choice(DIGITS) for _ in range(size)]) for size in sizes)


def grouped(word: str, rng: Random) -> list[list[str]]:
    """Letters in groups of two to four."""
    letters, found = list(word), []
    while letters:
        size = len(letters) if len(letters) <= 3 else rng.choice((2, 3, 3, 4))
        if len(letters) - size == 1:
            size += 1
        found.append(letters[:size])
        letters = letters[size:]
    return found


def _commas(group: Sequence[str]) -> str:
    """A group as the voice reads it: its melody stays up."""
    return " ".join(group) + ","


def texts(pool: Pool) -> list[str]:
    """Every line of a pool."""
    return [line for lines in vars(pool).values() for line in lines]
