"""What a model is shown of a conversation: messages and tools in OpenAI's format, cut to a window. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from config.messages import ChatMessage, Tool
from config.tokens import message_tokens


def chat(messages: Iterable[ChatMessage], marks: re.Pattern[str] | None = None) -> list[dict[str, Any]]:
    """Messages as a chat API wants them, without the marks of the model's own format."""
    return [_shown(message, marks) for message in messages]


def _shown(message: ChatMessage, marks: re.Pattern[str] | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": without(marks, message.content)}
    if message.role == "tool":
        shown["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        shown["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    return shown


def marks_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern of all these, the longest first; None for none. Some models have runs of spaces among theirs."""
    known = sorted(filter(str.strip, tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, known))) if known else None


def without(marks: re.Pattern[str] | None, text: str) -> str:
    """Text that cannot speak as somebody else. A space takes a mark's place, lest its two sides make another."""
    return marks.sub(" ", text) if marks is not None else text


def functions(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools as a chat API wants them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def choice(wanted: str) -> str | dict[str, Any]:
    """`Prompt.tool_choice` as a chat API wants it."""
    if wanted in ("auto", "none", "required"):
        return wanted
    return {"type": "function", "function": {"name": wanted}}


def fitting(messages: Sequence[ChatMessage], room: int) -> list[ChatMessage]:
    """The newest messages that should fit into `room` tokens, after the system's; the last one always stays.

    Half of the room is freed at a time: each drop changes the beginning, and all of the prompt is read again. The
    result of a tool goes with the message that asked for it.
    """
    surplus = sum(map(message_tokens, messages)) - room
    half = max(1, room // 2)
    to_drop = -(-surplus // half) * half if surplus > 0 else 0
    tail = _last_exchange(messages)
    kept: list[ChatMessage] = []
    dropped: set[str] = set()
    for message in messages[:tail]:
        orphaned = message.role == "tool" and message.tool_call_id in dropped
        if orphaned or (message.role != "system" and to_drop > 0):
            to_drop -= message_tokens(message)
            dropped |= {call.id for call in message.tool_calls}
        else:
            kept.append(message)
    return [*kept, *messages[tail:]]


def _last_exchange(messages: Sequence[ChatMessage]) -> int:
    """Where the last message begins, with the call that it answers."""
    at = len(messages) - 1
    while at > 0 and messages[at].role == "tool":
        at -= 1
    return at
