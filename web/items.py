"""What a conversation is made of: things said, typed, called and answered, each with the id clients know. Pure."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Literal

import msgspec

from config.errors import ClientError
from config.messages import ChatMessage, ToolCall

#: Where `after` asks for the very beginning.
ROOT = "root"

#: Kept of a conversation, the newest: more than any prompt takes, and no more than a web process can keep for all its
#: sessions.
MOST_ITEMS, MOST_CHARACTERS = 1000, 2_000_000

#: Session samples at which something began and ended to be said.
Span = tuple[int, int]

#: Characters of one result that are remembered: what was asked for again costs a call, what is kept costs every prompt.
REMEMBERED = 500


class Exchange(msgspec.Struct, frozen=True):
    """Functions of the server's own that a reply asked for, and what they gave."""

    calls: tuple[ToolCall, ...]
    results: tuple[str, ...]

    @classmethod
    def of(cls, calls: Iterable[ToolCall], results: Iterable[str]) -> "Exchange":
        """As much of it as is remembered."""
        return cls(tuple(calls), tuple(result[:REMEMBERED] for result in results))

    @property
    def size(self) -> int:
        """Its characters."""
        return sum(map(len, self.results)) + sum(len(call.arguments) for call in self.calls)

    def messages(self) -> Iterator[ChatMessage]:
        """As a model is told of it."""
        yield ChatMessage("assistant", "", self.calls)
        for call, result in zip(self.calls, self.results, strict=True):
            yield ChatMessage("tool", result, tool_call_id=call.id)


class Item(ChatMessage, frozen=True, omit_defaults=True):
    """A message of the prompt, and what clients know it by. A version that knows no items reads it as a message."""

    id: str = ""
    spoken: bool = False
    """It was sound, and the content is its transcript."""
    cut: bool = False
    """Somebody fell silent, or was made to, before its end."""
    span: Span | None = None
    """When it was said, or added; None: saved by a version that did not write it down."""
    consulted: tuple[Exchange, ...] = ()
    """What it was made with; models are told, clients are not."""


def no_such(asked: Literal["retrieve", "delete", "truncate"], item_id: str) -> ClientError:
    """What somebody wanted to do is not possible with an item that is not there. The API has a code for each."""
    return ClientError(
        f"cannot {asked} item {item_id!r}: there is no such item",
        param="item_id",
        code=f"item_{asked}_invalid_item_id",
    )


class Items:
    """In the order of the conversation; ids are unique, but for those that have none."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = list(items)
        self._characters = sum(map(size, self._items))

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: int) -> Item:
        return self._items[place]

    def newest(self, count: int, characters: int) -> list[Item]:
        """The last so many, and no more than have so many characters; the very last in any case."""
        sizes = accumulate(map(size, reversed(self._items[-count:])))
        fit = sum(1 for size in sizes if size <= characters)
        return self._items[-max(1, fit) :]

    def forget_oldest(self) -> int:
        """What is more than is kept; how many that are."""
        gone = max(0, len(self._items) - MOST_ITEMS)
        left = self._characters - sum(map(size, self._items[:gone]))
        while left > MOST_CHARACTERS and gone < len(self._items) - 1:
            left -= size(self._items[gone])
            gone += 1
        del self._items[:gone]
        self._characters = left
        return gone

    def place(self, item_id: str) -> int | None:
        """Where it is; None: there is none."""
        found = (place for place, item in enumerate(self._items) if item_id and item.id == item_id)
        return next(found, None)

    def id_before(self, place: int) -> str | None:
        """Of the item before that place, as clients know them; None: there is none."""
        return next((item.id for item in reversed(self._items[:place]) if item.id), None)

    def find(self, item_id: str) -> Item | None:
        """The item of this id."""
        place = self.place(item_id)
        return None if place is None else self._items[place]

    def place_after(self, item_id: str | None) -> int:
        """Where an item goes that shall follow this one; None: at the end. Raises ClientError."""
        if item_id is None:
            return len(self._items)
        if item_id == ROOT:
            return 0
        if (place := self.place(item_id)) is None:
            raise ClientError(
                f"there is no item {item_id!r} to follow",
                param="previous_item_id",
                code="item_create_invalid_previous_item_id",
            )
        return place + 1

    def insert(self, place: int, item: Item) -> None:
        """Raises ClientError where there is one of its id."""
        if self.place(item.id) is not None:
            raise ClientError(
                f"there is an item {item.id!r} already", param="item.id", code="item_create_duplicate_item_id"
            )
        self._items.insert(place, item)
        self._characters += size(item)

    @property
    def telling(self) -> list[Item]:
        """Those that say something: a model need not know of others."""
        return [
            item
            for item in self._items
            if item.content or item.tool_calls or item.consulted or item.role == "tool"
        ]

    def replace(self, place: int, item: Item) -> None:
        """Another in its place."""
        self._characters += size(item) - size(self._items[place])
        self._items[place] = item

    def remove(self, place: int) -> None:
        """It has never been."""
        self._characters -= size(self._items.pop(place))


def size(item: Item) -> int:
    """Characters, as they count for what is kept."""
    asked = sum(len(call.arguments) for call in item.tool_calls)
    return len(item.content) + asked + sum(exchange.size for exchange in item.consulted)
