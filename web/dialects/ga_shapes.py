"""Ids and responses of the GA dialect, as the client sees them. Pure."""

from dataclasses import dataclass
from typing import Any

from web.dialects.base import ReplyOutcome
from web.reply_options import ReplyOptions

Json = dict[str, Any]


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

    def call_item(self, number: int, index: int) -> str:
        """A function that a reply asks for."""
        return f"item_{self._stem}_f{number}_{index}"

    def response(self, number: int) -> str:
        """A reply as a response."""
        return f"resp_{self._stem}_{number}"

    def reply_number(self, item_id: str) -> int | None:
        """Which reply an item is of; None: of none."""
        number = item_id.removeprefix(f"item_{self._stem}_a")
        return int(number) if number != item_id and number.isascii() and number.isdecimal() else None


def voice_name(voice: str | Json) -> str:
    """As responses have it: sessions may name a voice by an object with its id, and SDKs take none there."""
    return voice if isinstance(voice, str) else str(voice["id"])


def begun_response(names: Names, number: int, session: Json, options: ReplyOptions) -> Json:
    """A response that is being made."""
    output = session["audio"]["output"]
    return {
        "id": names.response(number),
        "object": "realtime.response",
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": None if options.aside else names.conversation,
        "output_modalities": session["output_modalities"],
        "max_output_tokens": session["max_output_tokens"],
        "audio": {"output": {"format": output["format"], "voice": voice_name(output["voice"])}},
        "metadata": None,
        **options.told,
    }


def ended_response(begun: Json, outcome: ReplyOutcome, output: list[Json]) -> Json:
    """A response that is over."""
    status, details = _status(outcome)
    return {
        **begun,
        "status": status,
        "status_details": details,
        "output": output,
        "usage": {
            "total_tokens": outcome.input_tokens + outcome.output_tokens,
            "input_tokens": outcome.input_tokens,
            "output_tokens": outcome.output_tokens,
            "input_token_details": {
                "text_tokens": outcome.input_tokens,
                "audio_tokens": 0,
                "cached_tokens": 0,
            },
            "output_token_details": {"text_tokens": outcome.output_tokens, "audio_tokens": 0},
        },
        "antiphon": {
            "llm_first_token_ms": outcome.llm_first_token_ms,
            "tts_first_audio_ms": outcome.tts_first_audio_ms,
            "heard": outcome.text,
            "dropped_messages": outcome.dropped,
        },
    }


def _status(outcome: ReplyOutcome) -> tuple[str, Json | None]:
    match outcome.status:
        case "completed" if outcome.stopped == "length":
            return "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}
        case "completed":
            return "completed", None
        case "cancelled":
            return "cancelled", {"type": "cancelled", "reason": outcome.reason}
        case "failed":
            return "failed", {"type": "failed", "error": {"type": "server_error", "code": "stage_failed"}}
