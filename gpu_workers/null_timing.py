"""What the null engines share: their words. They fake the work of models and keep the time of real ones."""

#: The NATO alphabet: recognisable in a transcript, and nobody takes it for an answer.
WORDS = tuple(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike "  # noqa: SIM905
    "november oscar papa quebec romeo sierra tango".split()
)


def word(number: int) -> str:
    """The word with this number, round and round."""
    return WORDS[number % len(WORDS)]
