"""Items that clients were told of and the history does not keep, for nothing of them was understood or heard. Pure.

SDKs ask for an item as soon as it has its transcript, or was truncated, and show an error if it is not there.
"""

from collections.abc import Iterable
from typing import Any

from web.dialects import ga_items as items

#: They are asked for within a moment.
KEPT = 64


class Wordless:
    """The newest of them, by id."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._ids = list(known)

    def add(self, item_id: str) -> None:
        """This one has no words."""
        self._ids = [*self._ids, item_id][-KEPT:]

    def shown(self, item_id: str, *, of_reply: bool) -> dict[str, Any] | None:
        """As the client sees it; None: it is none of them."""
        if item_id not in self._ids:
            return None
        if of_reply:
            return items.reply(item_id, "incomplete", [items.part("", text_only=False)])
        return items.message(item_id, "completed", "user", [{"type": "input_audio", "transcript": ""}])

    def snapshot(self) -> list[str]:
        """For a later connection."""
        return self._ids
