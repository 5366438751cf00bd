"""What a client does to the items of its conversation: adds, asks for and deletes them."""

from collections.abc import Callable, Iterable
from typing import Any

from config.errors import AntiphonError
from web.dialects import base
from web.dictation import Dictations
from web.history import History


class ItemDesk:
    """Raises ClientError, before anything is changed, where an item is not there or cannot be."""

    def __init__(
        self,
        history: History,
        dialect: base.Dialect,
        send: Callable[[Iterable[str]], bool],
        changed: Callable[[], None],
        under_way: Callable[[], str],
        dictations: Dictations,
    ) -> None:
        """changed: called before the client is told. under_way: id of the reply that is being made; empty: none is."""
        self._history = history
        self._dialect = dialect
        self._send = send
        self._changed = changed
        self._under_way = under_way
        self._dictations = dictations
        self.requests: dict[type, Callable[[Any], None]] = {
            base.AddItem: self.add,
            base.RetrieveItem: self.retrieve,
            base.DeleteItem: self.delete,
        }
        """How each is served."""

    def add(self, request: base.AddItem) -> None:
        """Something was typed, or a function was run; or there is sound, whose words come later."""
        self._dictations.require_room(request.sound is not None)
        before = self._history.add(request.item, request.after, under_way=self._under_way())
        self._changed()
        self._send(self._dialect.item_added(request, before))
        if request.sound is not None:
            self._dictations.ask(
                request.sound, self._dialect.wishes, lambda text: self._understood(request.item.id, text)
            )

    def _understood(self, item_id: str, text: str | AntiphonError) -> None:
        if isinstance(text, str) and text and self._history.append(item_id, text):
            self._changed()
        self._send(self._dialect.item_understood(item_id, text))

    def retrieve(self, request: base.RetrieveItem) -> None:
        """What the server knows of it."""
        self._send(self._dialect.item_retrieved(request, self._history.find(request.item_id)))

    def delete(self, request: base.DeleteItem) -> None:
        """It is not said again to the model."""
        self._history.delete(request.item_id, under_way=self._under_way())
        self._changed()
        self._send(self._dialect.item_deleted(request, self._history.last_id))
