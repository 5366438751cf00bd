"""What a program on the bare `openai` client does at each event; that package itself neither plays nor truncates."""

import base64
import json
from collections.abc import Callable
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from user import User, said

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}


class Talk:
    """One conversation: an event in, client events out."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._playing = ""
        """The item that sounds."""
        self._items: dict[str, str] = {}
        self._handlers: dict[str, Callable[[Any], list[Any] | None]] = {
            "session.updated": lambda event: user.speak(),
            "response.output_audio.delta": self._play,
            "input_audio_buffer.speech_started": self._fall_silent,
            "conversation.item.truncated": self._ask,
            "conversation.item.retrieved": lambda event: self._show(event.item),
            "conversation.item.input_audio_transcription.completed": self._understood,
            "response.function_call_arguments.done": self._call,
            "response.done": self._done,
            "error": lambda event: user.report.errors.append(event.error.message),
        }

    def answers(self, event: RealtimeServerEvent) -> list[Any]:
        self._user.report.event(event.type)
        handler = self._handlers.get(event.type)
        return (handler(event) if handler else None) or []

    def _play(self, event: Any) -> None:
        self._playing = event.item_id
        self._user.hear(base64.b64decode(event.delta))

    def _fall_silent(self, _: Any) -> list[Any]:
        if not self._playing:
            return []
        heard_ms, item_id, self._playing = self._user.stop_listening(), self._playing, ""
        truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
        return [{**truncate, "audio_end_ms": heard_ms}]

    def _ask(self, event: Any) -> list[Any]:
        self._user.report.truncated_ms.append(event.audio_end_ms)
        return [{"type": "conversation.item.retrieve", "item_id": event.item_id}]

    def _understood(self, event: Any) -> None:
        self._items[event.item_id] = said("user", event.transcript)

    def _call(self, event: Any) -> list[Any]:
        self._user.report.tools.append(json.loads(event.arguments)["town"])
        output = {"type": "function_call_output", "call_id": event.call_id, "output": "sunny"}
        return [{"type": "conversation.item.create", "item": output}]

    def _done(self, event: Any) -> list[Any]:
        output = event.response.output
        for item in output:
            if item.type == "message":
                self._show(item)
        self._playing = ""
        self._user.answered()
        return [{"type": "response.create"}] if any(item.type == "function_call" for item in output) else []

    def _show(self, item: Any) -> None:
        self._items[item.id] = said(item.role, item.content[0].transcript)
        self._user.report.transcripts = list(self._items.values())
