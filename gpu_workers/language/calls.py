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
        """Nothing can follow a complete JSON object; but an empty one may only keep the place of what follows."""
        complete = self.arguments.rstrip().endswith("}") and _is_object(self.arguments)
        return bool(self.name) and complete and not self.is_empty

    @property
    def is_empty(self) -> bool:
        """There are no arguments, so far."""
        return "".join(self.arguments.split()) in ("", "{}")

    def is_another(self, id: str, name: str) -> bool:
        """Whether a piece of the same number begins the next call: Ollama numbers all calls 0. Some servers make up an
        id for each piece, or repeat the name in it."""
        if not (id and self.id and id != self.id and name):
            return False
        return self.given or self.whole or self.is_empty or name != self.name

    def grow(self, id: str, name: str, arguments: str) -> None:
        """A piece more."""
        self.id = self.id or id
        self.name += name if name != self.name else ""
        self.arguments = arguments if self.is_empty and arguments.strip() else self.arguments + arguments


class Calls:
    """The calls of one answer. Each is given out once, as soon as it is whole."""

    def __init__(self) -> None:
        self._begun: list[_Begun] = []
        self._at: dict[int, _Begun] = {}

    def add(self, index: int, id: str, name: str, arguments: str) -> list[ToolCall]:
        """A piece of the call at `index`; returns that call, if it is whole now. StageFailed where it fits nowhere."""
        call = self._at.get(index)
        if call is None or call.is_another(id, name):
            call = self._begin(index)
        if call.given:
            if name not in ("", call.name) or arguments.strip() not in ("", call.arguments.strip()):
                raise StageFailed("the model went on with a call that was whole")
            return []
        call.grow(id, name, arguments)
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
        function = delta.get("function") or {}
        if not isinstance(function, dict):
            raise StageFailed("the model's call of a tool is malformed")
        index, arguments = delta.get("index"), function.get("arguments") or ""
        if isinstance(arguments, dict):  # whole, as Ollama's own API has it
            arguments = json.dumps(arguments, ensure_ascii=False)
        parts = (_text(delta.get("id")), _text(function.get("name")), arguments)
        number = position if index is None else _number(index)
        if not all(isinstance(part, str) for part in parts) or number is None:
            raise StageFailed("the model's call of a tool is malformed")
        return self.add(number, *parts)

    def finish(self, *, cut: bool = False) -> list[ToolCall]:
        """The answer is over: the calls without arguments. StageFailed when one is incomplete, unless the answer was
        cut at its longest: then it is left out."""
        left = [call for call in self._begun if not call.given]
        for call in left:
            call.arguments = _unwrapped(call.arguments)
        whole = [call for call in left if call.name and (call.is_empty or call.whole)]
        if len(whole) < len(left) and not cut:
            raise StageFailed("the model's call of a tool was cut short, or is no JSON")
        return [_given(call) for call in whole]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _unwrapped(arguments: str) -> str:
    """Some servers encode the object twice: as a JSON string of it."""
    try:
        text = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return text if isinstance(text, str) and _is_object(text) else arguments


def _text(value: Any) -> Any:
    """Some servers number their calls."""
    return str(value) if type(value) is int else value or ""


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 4:
        return int(value)
    return value if isinstance(value, int) else None


def _given(call: _Begun) -> ToolCall:
    call.given = True
    return ToolCall(call.id or f"call_{token_hex(8)}", call.name, call.arguments.strip() or "{}")
