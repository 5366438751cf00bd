"""Events of one GA client: their numbers, and the chain of items that they name."""

from typing import Any

import msgspec

_encode = msgspec.json.encode

#: An extension: what the user seems to say, all of it, until it is certain.
PARTIAL = "antiphon.input_audio_transcription.partial"


class Teller:
    """Every event goes through here."""

    def __init__(self) -> None:
        self.told = 0
        """Events so far."""
        self.last_item: str | None = None
        """The newest item of the conversation."""

    def event(self, kind: str, **fields: Any) -> str:
        """A message to send. msgspec writes bytes as base64."""
        self.told += 1
        return _encode({"type": kind, "event_id": f"event_{self.told}", **fields}).decode()

    def link(self, item_id: str) -> str | None:
        """An item becomes the newest; returns the one before it."""
        before, self.last_item = self.last_item, item_id
        return before if before != item_id else None

    def whole_item(self, item: dict[str, Any]) -> list[str]:
        """The newest item, added and done."""
        return self.item_at(item, self.link(item["id"]))

    def item_at(self, item: dict[str, Any], before: str | None) -> list[str]:
        """An item after another, added and done."""
        return [
            self.event("conversation.item.added", item=item, previous_item_id=before),
            self.event("conversation.item.done", item=item, previous_item_id=before),
        ]
