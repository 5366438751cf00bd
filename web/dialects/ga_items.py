"""Items of the GA dialect, between what clients write and what the conversation keeps. Pure.

Fields the API may omit are omitted rather than null: SDKs take null for a value.
"""

from typing import Any, Literal

from config.errors import ClientError
from config.messages import AudioFormat, ToolCall, require_text
from web.dialects import ga_events as ev
from web.dialects import ga_formats as formats
from web.dialects.base import AppendAudio
from web.items import Item
from web.prompt import INTERRUPTED
from web.turn_state import SILENCE

Json = dict[str, Any]

Status = Literal["completed", "incomplete", "in_progress"]

#: How a role's text is called in an item.
TEXT_KINDS = {"user": "input_text", "system": "input_text", "assistant": "output_text"}

#: The same of its sound.
AUDIO_KINDS = {"user": "input_audio", "assistant": "output_audio"}


#: Content of any role.
PARTS = {*TEXT_KINDS.values(), *AUDIO_KINDS.values()}


def taken(item: ev.Item, item_id: str, param: str = "item") -> Item:
    """What a client's item says. Raises ClientError for what nobody here understands."""
    match item.type:
        case "message":
            return _message(item, item_id, param)
        case "function_call":
            name, call_id = _need(item.name, f"{param}.name"), _need(item.call_id, f"{param}.call_id")
            return Item("assistant", "", (ToolCall(call_id, name, item.arguments or "{}"),), id=item_id)
        case "function_call_output":
            call_id = _need(item.call_id, f"{param}.call_id")
            return Item("tool", item.output or "", tool_call_id=call_id, id=item_id)
        case "item_reference" if param != "item":
            return Item("user", "", id=_need(item.id, f"{param}.id"))
    raise ClientError(
        f"items of type {item.type!r} are not supported", param=f"{param}.type", code="invalid_value"
    )


def _need(value: str | None, param: str) -> str:
    if not value:
        name = param.rpartition(".")[2]
        raise ClientError(f"{name} is missing", param=param, code="missing_required_parameter")
    return value


def _message(item: ev.Item, item_id: str, param: str) -> Item:
    if not item.content:
        raise ClientError(
            "this message is empty", param=f"{param}.content", code="missing_required_parameter"
        )
    for place, part in enumerate(item.content):
        _understand(part, f"{param}.content[{place}]")
    said = " ".join(part.text or part.transcript or "" for part in item.content)
    text = require_text(said.strip(), f"{param}.content")
    spoken = any(part.type in AUDIO_KINDS.values() for part in item.content) and item.role != "system"
    if not text and not spoken:
        raise ClientError(
            "this message is empty", param=f"{param}.content[0].text", code="missing_required_parameter"
        )
    return Item(item.role, text, id=item_id, spoken=spoken)


def sound(item: ev.Item, audio_format: AudioFormat, param: str = "item") -> AppendAudio | None:
    """What is said in a client's item without being written there. Raises ClientError for what is no audio."""
    if item.type != "message":
        return None
    found = [
        formats.heard([part.audio], audio_format, f"{param}.content[{place}].audio")
        for place, part in enumerate(item.content)
        if part.audio and not (part.text or part.transcript)
    ]
    if not found:
        return None
    if item.role != "user":
        raise ClientError(
            "only sound of the user is listened to; give the transcript",
            param=f"{param}.content",
            code="unsupported_content_type",
        )
    packets = [packet for part in found for packet in part.packets]
    return formats.heard(packets, audio_format, f"{param}.content")


def _understand(part: ev.ContentPart, param: str) -> None:
    """Raises ClientError for what nobody here sees or hears."""
    if part.type == "input_image":
        raise ClientError(
            "images are not understood here", param=f"{param}.type", code="unsupported_content_type"
        )
    if part.type not in PARTS and not (part.text or part.transcript):
        raise ClientError(
            f"there is no content of type {part.type!r}", param=f"{param}.type", code="invalid_value"
        )


def shown(item: Item, status: Status = "completed") -> Json:
    """An item as the client sees it."""
    if item.role == "tool":
        kind: Json = {"type": "function_call_output", "call_id": item.tool_call_id, "output": item.content}
        return {"id": item.id, "object": "realtime.item", "status": status, **kind}
    if item.tool_calls:
        return call(item.id, item.tool_calls[0], status)
    text = "" if item.spoken and item.content == SILENCE else item.content.removesuffix(INTERRUPTED)
    part = {"type": AUDIO_KINDS[item.role], "transcript": text} if item.spoken else {
        "type": TEXT_KINDS[item.role], "text": text}  # fmt: skip
    return message(item.id, "incomplete" if item.cut else status, item.role, [part])


def message(item_id: str, status: Status, role: str, content: list[Json]) -> Json:
    """Something said or written."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def unread(item_id: str) -> Json:
    """What the user said, its transcript still unknown: the field must be there all the same."""
    return message(item_id, "completed", "user", [{"type": "input_audio", "transcript": None}])


def call(item_id: str, asked: ToolCall, status: Status) -> Json:
    """A function that is asked for; its arguments are told when it is complete."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "function_call",
        "status": status,
        "name": asked.name,
        "call_id": asked.id,
        "arguments": "" if status == "in_progress" else asked.arguments,
    }


def reply(item_id: str, status: Status, parts: list[Json]) -> Json:
    """What the assistant says."""
    content = [{**part, "type": f"output_{part['type']}"} for part in parts]
    return message(item_id, status, "assistant", content)


def part(text: str, *, text_only: bool) -> Json:
    """The only part of a reply."""
    return {"type": "text", "text": text} if text_only else {"type": "audio", "transcript": text}
