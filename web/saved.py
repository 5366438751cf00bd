"""The session's state as it is saved: enough for any web process to go on from."""

from typing import Any

import msgspec

from web.items import Item
from web.reply_options import ReplyOptions
from web.turn_state import Turn


class Saved(msgspec.Struct, frozen=True):
    """What a session was at its last save."""

    dialect: str
    snapshot: dict[str, Any]
    turn: Turn
    history: list[Item]
    applied: dict[str, tuple[int, int]]
    """Newest (epoch, seq) taken of each stage."""
    received: int
    """Session samples received."""
    sent: int = 0
    """Reply samples sent of the newest reply."""
    listening: bool = False
    options: ReplyOptions | None = None
    """Of the reply under way, or asked for, where they are not the session's."""
    since_reply: int | None = None
    """Items that came after the reply under way began; None: there is none, or it was another version's."""
    deleted: list[str] = []
    """Ids of items that were deleted before all that they say was known."""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Saved).decode
