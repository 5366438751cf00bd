"""Text of which every sign knows its word, so that it can be rewritten across words and dealt out again."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

#: What is said instead of a match: nothing (as it stands), a text on the word where the match begins, or texts on the
#: words that stand at these places of the whole text, in order.
Said = str | Sequence[tuple[int, str]] | None

#: A pattern, and what to say for its match. No pattern may take more than linear time: every repetition has a bound, or
#: its signs cannot stand where it ends.
Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], Said]]

_SPACES = re.compile(r"\s+")


class Owned:
    """The words of a clause as one text. A word's last space, or its line break, stands between it and the next."""

    def __init__(self, words: Sequence[str]) -> None:
        self.count = len(words)
        pieces = [_spaced(word) for word in words]
        self.text = "".join(pieces)
        self._owners = [number for number, piece in enumerate(pieces) for _ in piece]

    def rewrite(self, rules: Sequence[Rule]) -> None:
        """Applies each rule to the whole text, in order."""
        for pattern, say in rules:
            self._apply(pattern, say)

    def remove(self, pattern: re.Pattern[str]) -> None:
        """Takes matches out, but for what a group of them holds, which stays with its words."""
        edges = [0]
        for match in pattern.finditer(self.text):
            kept = next((match.span(number) for number, held in enumerate(match.groups(), 1) if held), None)
            start, stop = kept or (match.end(), match.end())
            edges += [match.start(), start, stop, match.end()]
        edges.append(len(self.text))
        if len(edges) == 2:
            return
        spans = [span for place, span in enumerate(pairwise(edges)) if place % 2 == 0]
        self.text, self._owners = (
            "".join(self.text[start:stop] for start, stop in spans),
            [owner for start, stop in spans for owner in self._owners[start:stop]],
        )

    def words(self) -> list[str]:
        """What became of each word, without spaces around it."""
        signs: list[list[str]] = [[] for _ in range(self.count)]
        for sign, owner in zip(self.text, self._owners, strict=True):
            signs[owner].append(sign)
        return [_SPACES.sub(" ", "".join(found)).strip() for found in signs]

    def _apply(self, pattern: re.Pattern[str], say: Callable[[re.Match[str]], Said]) -> None:
        text: list[str] = []
        owners: list[int] = []
        done = 0
        for match in pattern.finditer(self.text):
            said = say(match)
            if said is None:
                continue
            start = match.start()
            text.append(self.text[done:start])
            owners += self._owners[done:start]
            parts = [(start, said)] if isinstance(said, str) else [(at, f" {part} ") for at, part in said]
            for at, part in parts:
                text.append(part)
                owners += [self._owners[min(at, len(self._owners) - 1)]] * len(part)
            done = match.end()
        if done or text:
            self.text, self._owners = "".join(text) + self.text[done:], owners + self._owners[done:]


def _spaced(word: str) -> str:
    """The word with one space, or a line break, behind it."""
    return _SPACES.sub(" ", word).strip() + ("\n" if "\n" in word else " ")


def following(match: re.Match[str]) -> str:
    """The signs behind a match, without spaces; "" at the end."""
    return match.string[match.end() : match.end() + 8].strip()
