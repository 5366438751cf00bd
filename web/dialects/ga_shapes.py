"""Ids, items, parts and responses of the GA dialect, as the client sees them. Pure.

Fields the API may omit are omitted rather than null: SDKs take null for a value.
"""

from dataclasses import dataclass
from typing import Any

from config.errors import ClientError
from web.dialects import ga_events as ev
from web.dialects.base import AddText, ReplyOutcome

Json = dict[str, Any]

#: How a role's text is called in an item.
TEXT_KINDS = {"user": "input_text", "system": "input_text", "assistant": "output_text"}


@dataclass(frozen=True)
class Names:
    """Ids of a session's things. They follow from numbers, so a later connection gives the same."""

    session_id: str

    @property
    def _stem(self) -> str:
        return self.session_id[:12]

    @property
    def conversation(self) -> str:
        """The one conversation."""
        return f"conv_{self._stem}"

    def user_item(self, number: int) -> str:
        """A spoken or typed message."""
        return f"item_{self._stem}_u{number}"

    def reply_item(self, number: int) -> str:
        """The message of a reply."""
        return f"item_{self._stem}_a{number}"

    def response(self, number: int) -> str:
        """A reply as a response."""
        return f"resp_{self._stem}_{number}"

    def reply_number(self, item_id: str) -> int | None:
        """Which reply an item is of; None: of none."""
        number = item_id.removeprefix(f"item_{self._stem}_a")
        return int(number) if number != item_id and number.isascii() and number.isdecimal() else None

    def output(self, number: int) -> Json:
        """Where the message of a reply is."""
        return {"response_id": self.response(number), "output_index": 0}

    def content(self, number: int) -> Json:
        """Where its text and audio are."""
        return {**self.output(number), "item_id": self.reply_item(number), "content_index": 0}


def part(text: str, *, text_only: bool) -> Json:
    """The only part of a reply."""
    return {"type": "text", "text": text} if text_only else {"type": "audio", "transcript": text}


def spoken_item(item_id: str) -> Json:
    """What the user said, its transcript still unknown: the field must be there all the same."""
    return _message(item_id, "completed", "user", [{"type": "input_audio", "transcript": None}])


def typed_message(item: ev.Item) -> AddText:
    """What an item of the client's says. Raises ClientError for what is not text."""
    if item.type != "message":
        raise ClientError(f"items of type {item.type!r} are not supported yet", param="item.type")
    said = [part.text or part.transcript or "" for part in item.content]
    for part, text in zip(item.content, said, strict=True):
        if not text and part.type not in TEXT_KINDS.values():
            raise ClientError(f"content of type {part.type!r} is not supported yet", param="item.content")
    text = " ".join(said).strip()
    if not text:
        raise ClientError("this message is empty", param="item.content")
    return AddText(item.role, text, item.id)


def typed_item(item_id: str, role: str, text: str) -> Json:
    """A message typed instead of spoken."""
    return _message(item_id, "completed", role, [{"type": TEXT_KINDS[role], "text": text}])


def reply_item(item_id: str, status: str, parts: list[Json]) -> Json:
    """What the assistant says."""
    content = [{**part, "type": f"output_{part['type']}"} for part in parts]
    return _message(item_id, status, "assistant", content)


def _message(item_id: str, status: str, role: str, content: list[Json]) -> Json:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def begun_response(names: Names, number: int, session: Json) -> Json:
    """A response that is being made."""
    return {
        "id": names.response(number),
        "object": "realtime.response",
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": names.conversation,
        "output_modalities": session["output_modalities"],
        "max_output_tokens": session["max_output_tokens"],
        "metadata": None,
    }


def ended_response(names: Names, outcome: ReplyOutcome, session: Json, item: Json) -> Json:
    """A response that is over."""
    return {
        **begun_response(names, outcome.number, session),
        "status": outcome.status,
        "status_details": _status_details(outcome),
        "output": [item],
        "usage": {
            "total_tokens": outcome.input_tokens + outcome.output_tokens,
            "input_tokens": outcome.input_tokens,
            "output_tokens": outcome.output_tokens,
        },
        "antiphon": {
            "llm_first_token_ms": outcome.llm_first_token_ms,
            "tts_first_audio_ms": outcome.tts_first_audio_ms,
            "heard": outcome.text,
            "dropped_messages": outcome.dropped,
        },
    }


def _status_details(outcome: ReplyOutcome) -> Json | None:
    match outcome.status:
        case "completed":
            return None
        case "cancelled":
            return {"type": "cancelled", "reason": outcome.reason}
        case "failed":
            return {"type": "failed", "error": {"type": "server_error", "code": "stage_failed"}}
