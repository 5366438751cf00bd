"""Calls of tools, put together from the pieces in which a model streams them. Pure; nothing is executed here."""

import json
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from config.errors import StageFailed
from config.messages import MAX_TEXT, ToolCall

#: In one answer; a model that asks for more runs in circles.
MAX_CALLS = 16

#: As in config.messages.ToolCall.
MAX_NAME, MAX_ID = 64, 200


@dataclass(eq=False)
class _Begun:
    """A call of which pieces have come."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    given: bool = False

    @property
    def whole(self) -> bool:
        """Nothing can follow a complete JSON object."""
        return bool(self.name) and self.arguments.rstrip().endswith("}") and _is_object(self.arguments)


class Calls:
    """The calls of one answer. Each is given out once, as soon as it is whole."""

    def __init__(self) -> None:
        self._begun: list[_Begun] = []
        self._at: dict[int, _Begun] = {}

    def add(self, index: int, id: str, name: str, arguments: str) -> list[ToolCall]:
        """A piece of the call at `index`; returns that call, if it is whole now. StageFailed where it fits nowhere."""
        call = self._at.get(index)
        if call is None or (id and call.id and id != call.id):  # Ollama numbers all calls 0
            call = self._begin(index)
        if call.given:
            if name or arguments.strip():
                raise StageFailed("the model went on with a call that was whole")
            return []
        call.id = call.id or id
        call.name += name
        call.arguments += arguments
        if len(call.name) > MAX_NAME or len(call.id) > MAX_ID or len(call.arguments) > MAX_TEXT:
            raise StageFailed("the model's call of a tool is too long")
        return [_given(call)] if call.whole else []

    def _begin(self, index: int) -> _Begun:
        if len(self._begun) == MAX_CALLS:
            raise StageFailed(f"the model asked for more than {MAX_CALLS} calls in one answer")
        call = self._at[index] = _Begun()
        self._begun.append(call)
        return call

    def add_delta(self, delta: Any, position: int) -> list[ToolCall]:
        """A piece as OpenAI's API streams it; `position`: where it stood in its list, for servers that number none."""
        if not isinstance(delta, dict):
            raise StageFailed("the model's call of a tool is malformed")
        index, function = delta.get("index"), delta.get("function") or {}
        parts = (delta.get("id") or "", *((function.get(key) or "") for key in ("name", "arguments")))
        if not all(isinstance(part, str) for part in parts) or not isinstance(index, int | None):
            raise StageFailed("the model's call of a tool is malformed")
        return self.add(position if index is None else index, *parts)

    def finish(self, *, cut: bool = False) -> list[ToolCall]:
        """The answer is over: the calls without arguments. StageFailed where one is not whole, unless the answer had no
        more room: `cut`. Then nobody is to run it."""
        left = [call for call in self._begun if not call.given]
        if cut:
            return []
        if any(not call.name or call.arguments.strip() for call in left):
            raise StageFailed("the model's call of a tool was cut short, or is no JSON")
        return [_given(call) for call in left]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _given(call: _Begun) -> ToolCall:
    call.given = True
    return ToolCall(call.id or f"call_{token_hex(8)}", call.name, call.arguments.strip() or "{}")
