"""What one reply is to be where its asker wished other than the session has it, free of any dialect."""

from typing import Any

import msgspec

from web.config import Wishes
from web.items import Item


class ReplyOptions(msgspec.Struct, frozen=True):
    """Effective for this one reply."""

    wishes: Wishes
    input: list[Item] | None = None
    """What it answers instead of the conversation. An item without content stands for the one of its id."""
    aside: bool = False
    """It belongs to no conversation: nothing of it is kept."""
    told: dict[str, Any] = {}
    """What the dialect says of it, in its own words; JSON types only."""
