"""A transcript that may still change, for clients that can only append. Pure."""

from itertools import takewhile
from typing import Any

from config.messages import Transcript


class AppendOnly:
    """Gives words once two partial transcripts in a row agree on them, and the rest when the text is final.

    What was given cannot be taken back: where the final text says it otherwise, it goes on at the same word number.
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._told = 0
        self._heard_to = 0
        self._closed_to = 0
        self._fresh_from = 0

    def snapshot(self) -> dict[str, Any]:
        """For a later connection, whose client has read what was given; JSON types only."""
        return dict(vars(self))

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on from it; an empty one, of an earlier version, changes nothing."""
        vars(self).update(snapshot)

    def partial(self, heard: Transcript) -> tuple[str, int]:
        """Words that are settled now (or ""), and the session sample from which on they were said."""
        if heard.to <= self._closed_to:
            return "", heard.start
        if heard.start >= self._heard_to:
            self._words, self._told, self._fresh_from = [], 0, heard.start
        words, fresh_from = heard.text.split(), self._fresh_from
        pairs = zip(words, self._words, strict=False)
        agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._words = words
        self._heard_to = heard.to
        if heard.final or agreed <= self._told:
            return "", fresh_from
        fresh, self._told = words[self._told : agreed], agreed
        self._fresh_from = heard.to
        return " ".join(fresh), fresh_from

    def final(self, text: str) -> tuple[str, int]:
        """The rest of an utterance that is over, and from where on it was said."""
        rest, fresh_from = text.split()[self._told :], self._fresh_from
        self._words, self._told = [], 0
        self._closed_to = self._fresh_from = self._heard_to
        return " ".join(rest), fresh_from
