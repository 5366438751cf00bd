"""Replies that are over, as far as their place in the history can still be mended. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from web.items import Items
from web.prompt import INTERRUPTED

#: So many newest replies can be mended.
KEPT = 64


@dataclass(frozen=True)
class PastReply:
    """What a reply said and when, and which item of the history it became; empty: nothing of it was heard."""

    words: Sequence[str]
    spans: Mapping[int, tuple[int, int]]
    sent: int
    item_id: str

    def heard(self, samples: int) -> tuple[str, bool]:
        """Its text up to the last word that began within `samples`, marked if that is not all; whether it is cut."""
        end = min(samples, self.sent)
        count = sum(1 for start, _ in self.spans.values() if start < end)
        text, cut = "".join(self.words[:count]).strip(), count < len(self.words)
        return text + INTERRUPTED if text and cut else text, cut


class PastReplies:
    """By number. A later connection knows none: what it was told then stays."""

    def __init__(self) -> None:
        self._replies: dict[int, PastReply] = {}

    def add(self, number: int, reply: PastReply) -> None:
        """A reply is over."""
        self._replies[number] = reply
        for old in sorted(self._replies)[:-KEPT]:
            del self._replies[old]

    def mend(self, items: Items, number: int, samples: int) -> bool:
        """The client says how much of a reply was heard; whether that changes the history. Twice is as once."""
        past = self._replies.get(number)
        place = items.place(past.item_id) if past is not None else None
        if past is None or place is None:
            return False
        text, cut = past.heard(samples)
        if (items[place].content, items[place].cut) == (text, cut):
            return False
        span = items[place].span
        shorter = span and (span[0], min(span[1], span[0] + samples))
        mended = {"content": text, "cut": cut, "span": shorter}
        items.replace(place, msgspec.structs.replace(items[place], **mended))
        return True
