"""The text of one reply on its way into the model: words as an LLM writes them, cut into what is fed in one go. Pure.

The model has to know a few pieces ahead. For that long words are kept as they are written, so that numbers, dates and
markup are put into words with what follows them in view; what belongs together is never parted for the sake of haste.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from gpu_workers.clauses import speech_text
from gpu_workers.spoken import joins, spoken

#: More words than this are not put into spoken form in one go: it is a longest clause, and takes a millisecond.
WINDOW = 24

#: So many words wait for one that closes what they opened; then they never belonged together. Twice the longest
#: construct, because a number may end one and begin the next.
PATIENCE = 2 * joins.LONGEST

#: A word of more tokens is fed in parts. Words of a language have up to ten; the model waits as long as it has read.
LONGEST_PIECE = 24

#: What separates pieces within what is said for one word. Colons and parentheses are not in the model's texts.
_BETWEEN = re.compile(r"[\s:()]+")

Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Piece:
    """Tokens that belong to word number `number` of the reply."""

    tokens: Sequence[int]
    number: int


class Tokens:
    """A tokenizer that passes over what it does not know."""

    def __init__(self, encode: Encode, unknown: int) -> None:
        self._encode = encode
        self._unknown = unknown

    def of(self, word: str) -> list[int]:
        """Its tokens; of a word with unknown signs those of the rest, none if nothing of it has a sound."""
        tokens = self._encode(word)
        if self._unknown in tokens:
            word = "".join(sign for sign in word if self._unknown not in self._encode(sign))
            tokens = [token for token in self._encode(word) if token != self._unknown]
        return tokens if any(sign.isalnum() for sign in word) else []


class Script:
    """Takes words, gives pieces. A word that is silent has no piece; its number is passed over."""

    def __init__(self, tokens: Tokens, language: str, first_word: int) -> None:
        self._tokens = tokens
        self._language = language
        self._written: deque[tuple[str, int]] = deque()
        self._told_last = False
        self._paused = False
        self.words = first_word
        """Number of the next word to be written: how many the reply has by now."""

    def write(self, words: Sequence[str], *, last: bool = False, pause: bool = False) -> None:
        """More words; `last`: no more will come; `pause`: not for a while."""
        self._paused = pause or (self._paused and not words)
        for word in words:
            self._written.extend((part, self.words) for part in speech_text.parts(word))
            self.words += 1
        self._told_last = self._told_last or last

    @property
    def complete(self) -> bool:
        """Everything was taken, and no more will come."""
        return self._told_last and not self._written

    @property
    def rests(self) -> bool:
        """Everything was taken, and no more will come for a while."""
        return self._paused and not self._written

    def take(self, wanted: int) -> list[Piece]:
        """So many pieces, or some more; fewer only where the text ends; none where it has not come so far yet."""
        pieces: list[Piece] = []
        ends = self._told_last or self._paused
        while len(pieces) < wanted and (ends or len(pieces) + len(self._written) >= wanted):
            count = self._cut()
            if not count:
                break
            pieces += self._pieces([self._written.popleft() for _ in range(count)])
        return pieces

    def _cut(self) -> int:
        """How many words to put into spoken form in one go: as many as possible, for they explain each other."""
        words = [word for word, _ in islice(self._written, WINDOW + PATIENCE)]
        done = (self._told_last or self._paused) and len(words) == len(self._written)
        for count in range(min(len(words), WINDOW), 0, -1):
            if joins.may_cut(words, count, done=done):
                return count
        return 0 if len(words) < PATIENCE and not done else min(len(words), WINDOW)

    def _pieces(self, written: Sequence[tuple[str, int]]) -> list[Piece]:
        said = spoken([word for word, _ in written], self._language)
        return [
            Piece(tokens[begin : begin + LONGEST_PIECE], number)
            for (_, number), text in zip(written, said, strict=True)
            for word in _BETWEEN.split(text)
            if word and (tokens := self._tokens.of(word))
            for begin in range(0, len(tokens), LONGEST_PIECE)
        ]
