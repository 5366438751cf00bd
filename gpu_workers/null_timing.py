"""What the null engines share: their words. They fake the work of models and keep the time of real ones."""

#: The NATO alphabet: recognisable in a transcript, and nobody takes it for an answer.
WORDS = tuple(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike "  # noqa: SIM905
    "november oscar papa quebec romeo sierra tango".split()
)

#: What the fake user says: other words than the fake assistant, of which they would be taken for the echo.
HEARD = tuple("one two three four five six seven eight nine ten eleven twelve".split())  # noqa: SIM905


def word(number: int) -> str:
    """The assistant's word with this number, round and round."""
    return WORDS[number % len(WORDS)]


def heard_word(number: int) -> str:
    """The user's."""
    return HEARD[number % len(HEARD)]
