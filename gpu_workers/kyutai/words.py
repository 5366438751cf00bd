"""Words out of the text tokens of a Kyutai recogniser: which tokens are one word, when it begins and ends. Pure.

The model says one token for each frame. Two of them are no text: one stands where a word begins, the other where
nothing does. Both end the word before them (as in moshi-server, which takes the times from the same tokens).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

#: Says that a word begins here.
BOUNDARY = 0
#: Says nothing.
PADDING = 3
#: What else is no text: sentencepiece's begin and end.
ENDS = (1, 2)

#: A word of more tokens is cut: no language has any, but a model that has lost its way does.
MAX_PIECES = 48

#: The least probability that is taken into a mean, so that one doubtful piece does not make it zero.
LEAST = 1e-6


@dataclass(frozen=True)
class Word:
    """A word from session sample `start` to `to`; `doubt` sums the logarithms of what its `pieces` were sure of."""

    text: str
    start: int
    to: int
    pieces: int = 1
    doubt: float = 0.0


class WordReader:
    """One slot's tokens, in order."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._pieces: list[int] = []
        self._doubt = 0.0
        self._start: int | None = None
        self._due = False
        self._to = 0

    @property
    def open(self) -> bool:
        """A word has begun, and has not ended."""
        return bool(self._pieces) or self._due

    def hear(self, token: int, sure: float, begin: int, end: int) -> Word | None:
        """The token for the audio from `begin` to `end`; the word that it ended, if it did."""
        if token in (BOUNDARY, PADDING):
            word = self.finish()
            self._due = token == BOUNDARY and (word is not None or not self._due)
            if token == BOUNDARY:
                self._start = begin
            return word
        if token in ENDS:
            return None
        self._due = False
        if self._start is None:
            self._start = begin
        self._pieces.append(token)
        self._doubt += log(max(LEAST, sure))
        self._to = end
        return self.finish() if len(self._pieces) >= MAX_PIECES else None

    def finish(self) -> Word | None:
        """What is there of a word is the word."""
        start, self._start = self._start, None
        if not self._pieces or start is None:
            return None
        text = self._decode(self._pieces).strip()
        word = Word(text, start, max(self._to, start), len(self._pieces), self._doubt)
        self._pieces, self._doubt = [], 0.0
        return word if text else None


def confidence(words: Sequence[Word]) -> float:
    """The geometric mean of what the model was sure of, token by token; 1 for no words."""
    pieces = sum(word.pieces for word in words)
    return exp(sum(word.doubt for word in words) / pieces) if pieces else 1.0
