"""Each field of each client event of the SDK's union with a value that does not fit: one error that a program can act
on, and a session that is as it was. Mistakes in their own words stand in test_ga_mistakes.py."""

import json
from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent

from config.errors import ClientError
from tests.ga_line import Line
from web.dialects.base import AppendAudio

TYPE, VALUE, MISSING = "invalid_type", "invalid_value", "missing_required_parameter"
LONG, LOW, HIGH = "string_above_max_length", "below_min_value", "above_max_value"

Case = tuple[str, dict[str, Any], str, str]


def inside(path: str, value: Any) -> dict[str, Any]:
    """An object with that value at that place."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def session(path: str, value: Any, code: str, param: str = "") -> Case:
    return "session.update", {"session": inside(path, value)}, code, param or f"session.{path}"


def response(path: str, value: Any, code: str, param: str = "") -> Case:
    return "response.create", {"response": inside(path, value)}, code, param or f"response.{path}"


def item(code: str, param: str, **fields: Any) -> Case:
    return "conversation.item.create", {"item": fields}, code, param


def message(content: Any, code: str, param: str, role: str = "user") -> Case:
    return item(code, f"item.content{param}", type="message", role=role, content=content)


DETECTION, HEARS, SAYS = "audio.input.turn_detection", "audio.input", "audio.output"
CALL: dict[str, Any] = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
TEXT = {"type": "input_text", "text": "Hi"}

CASES: list[Case] = [
    # events without fields of their own, and the fields of all
    ("input_audio_buffer.commit", {"event_id": 7}, TYPE, "event_id"),
    ("input_audio_buffer.clear", {"event_id": "x" * 65}, LONG, "event_id"),
    # session.update
    ("session.update", {}, MISSING, "session"),
    ("session.update", {"session": []}, TYPE, "session"),
    session("type", "telepathy", VALUE),
    session("type", 7, TYPE),
    session("model", 7, TYPE),
    session("model", "m" * 257, LONG),
    session("instructions", ["Be kind."], TYPE),
    session("instructions", "x" * 20_001, LONG),
    session("output_modalities", "audio", TYPE),
    session("output_modalities", [], "array_below_min_length"),
    session("output_modalities", ["smell"], VALUE, "session.output_modalities[0]"),
    session("audio", "loud", TYPE),
    session(f"{HEARS}.format.type", "audio/mp3", "invalid_audio"),
    session(f"{HEARS}.format", {"type": "audio/pcm", "rate": 8000}, "invalid_audio", f"session.{HEARS}.format.rate"),
    session(f"{HEARS}.format.rate", "24k", TYPE),
    session(f"{HEARS}.noise_reduction.type", "mid_field", VALUE),
    session(f"{HEARS}.noise_reduction", {"strength": "much"}, TYPE, f"session.{HEARS}.noise_reduction.strength"),
    session(f"{HEARS}.transcription", "whisper-1", TYPE),
    session(f"{HEARS}.transcription.model", 1, TYPE),
    session(f"{HEARS}.transcription.language", 1, TYPE),
    session(f"{HEARS}.transcription.prompt", {}, TYPE),
    session(f"{HEARS}.transcription.keywords", "tea", TYPE),
    session(f"{HEARS}.transcription.languages", [1], TYPE, f"session.{HEARS}.transcription.languages[0]"),
    session(f"{HEARS}.transcription.delay", "some", VALUE),
    session(DETECTION, "server_vad", TYPE),
    session(f"{DETECTION}.type", "telepathy", VALUE),
    session(DETECTION, {"type": "server_vad", "threshold": 2}, f"decimal_{HIGH}", f"session.{DETECTION}.threshold"),
    session(DETECTION, {"type": "server_vad", "threshold": "x"}, TYPE, f"session.{DETECTION}.threshold"),
    session(f"{DETECTION}.prefix_padding_ms", -1, f"integer_{LOW}"),
    session(f"{DETECTION}.prefix_padding_ms", 1.5, TYPE),
    session(f"{DETECTION}.silence_duration_ms", 10_001, f"integer_{HIGH}"),
    session(f"{DETECTION}.idle_timeout_ms", 4999, f"integer_{LOW}"),
    session(f"{DETECTION}.create_response", "yes", TYPE),
    session(f"{DETECTION}.interrupt_response", 1, TYPE),
    session(f"{DETECTION}.eagerness", "wild", VALUE),
    session(f"{SAYS}.format.type", "audio/flac", "invalid_audio"),
    session(f"{SAYS}.voice", 7, TYPE),
    session(f"{SAYS}.voice", {}, MISSING, f"session.{SAYS}.voice.id"),
    session(f"{SAYS}.voice", "nobody", "voice_not_found"),
    session(f"{SAYS}.speed", 1.6, f"decimal_{HIGH}"),
    session(f"{SAYS}.speed", 0.1, f"decimal_{LOW}"),
    session(f"{SAYS}.speed", "fast", TYPE),
    session("tools", TOOL, TYPE),
    session("tools", [TOOL] * 129, "array_above_max_length"),
    session("tools", [TOOL, {"type": "mcp", "server_label": "x"}], VALUE, "session.tools[1].type"),
    session("tools", [{"type": "function"}], MISSING, "session.tools[0].name"),
    session("tools", [{**TOOL, "name": "f" * 65}], LONG, "session.tools[0].name"),
    session("tools", [{**TOOL, "parameters": []}], TYPE, "session.tools[0].parameters"),
    session("tool_choice", "sometimes", VALUE),
    session("tool_choice", {"type": "function"}, MISSING, "session.tool_choice.name"),
    session("tool_choice", {"type": "function", "name": "g"}, VALUE, "session.tool_choice.name"),
    session("parallel_tool_calls", "yes", TYPE),
    session("max_output_tokens", 0, f"integer_{LOW}"),
    session("max_output_tokens", "many", VALUE),
    session("max_output_tokens", 1.5, TYPE),
    session("include", ["everything"], VALUE, "session.include[0]"),
    session("truncation", "never", VALUE),
    session("truncation", {"type": "retention_ratio"}, MISSING, "session.truncation.retention_ratio"),
    session("truncation", {"type": "retention_ratio", "retention_ratio": 2}, f"decimal_{HIGH}",
            "session.truncation.retention_ratio"),
    session("tracing", 7, TYPE),
    session("tracing.group_id", 7, TYPE),
    session("prompt", {}, MISSING, "session.prompt.id"),
    session("prompt", {"id": "p", "variables": 7}, TYPE, "session.prompt.variables"),
    # input_audio_buffer.append
    ("input_audio_buffer.append", {}, MISSING, "audio"),
    ("input_audio_buffer.append", {"audio": None}, TYPE, "audio"),
    ("input_audio_buffer.append", {"audio": "no base64"}, VALUE, "audio"),
    ("input_audio_buffer.append", {"audio": "AAAA"}, "invalid_audio", "audio"),
    # conversation.item.create
    ("conversation.item.create", {}, MISSING, "item"),
    ("conversation.item.create", {"item": "Hi"}, TYPE, "item"),
    ("conversation.item.create", {"item": {**CALL}, "previous_item_id": 7}, TYPE, "previous_item_id"),
    ("conversation.item.create", {"item": {**CALL}, "previous_item_id": "x" * 65}, LONG, "previous_item_id"),
    item(MISSING, "item.type", role="user"),
    item(VALUE, "item.type", type="mcp_list_tools"),
    item(VALUE, "item.type", type="item_reference", id="x"),
    item(LONG, "item.id", type="message", id="i" * 65, content=[TEXT]),
    item(VALUE, "item.role", type="message", role="tool", content=[TEXT]),
    message("Hi", TYPE, ""),
    message([], MISSING, ""),
    message(["Hi"], TYPE, "[0]"),
    message([TEXT, {"type": "input_text", "text": 7}], TYPE, "[1].text"),
    message([{"type": "input_text", "text": "x" * 20_001}], LONG, "[0].text"),
    message([{"type": "input_text"}], MISSING, "[0].text"),
    message([{"type": "input_audio", "transcript": 7}], TYPE, "[0].transcript"),
    message([TEXT, {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}], "unsupported_content_type",
            "[1].type"),
    message([{"type": "smell"}], VALUE, "[0].type"),
    item(MISSING, "item.name", **{**CALL, "name": None}),
    item(MISSING, "item.call_id", **{**CALL, "call_id": None}),
    item(TYPE, "item.arguments", **{**CALL, "arguments": {}}),
    item(MISSING, "item.call_id", type="function_call_output", output="1"),
    item(TYPE, "item.output", type="function_call_output", call_id="c", output={"a": 1}),
    # conversation.item.truncate, retrieve, delete
    ("conversation.item.truncate", {"content_index": 0, "audio_end_ms": 0}, MISSING, "item_id"),
    ("conversation.item.truncate", {"item_id": "x", "content_index": 0}, MISSING, "audio_end_ms"),
    ("conversation.item.truncate", {"item_id": "x", "content_index": 1, "audio_end_ms": 0}, VALUE, "content_index"),
    ("conversation.item.truncate", {"item_id": "x", "content_index": 0, "audio_end_ms": -1}, f"integer_{LOW}",
     "audio_end_ms"),
    ("conversation.item.truncate", {"item_id": "x", "content_index": 0, "audio_end_ms": 1.5}, TYPE, "audio_end_ms"),
    ("conversation.item.truncate", {"item_id": "x", "content_index": 0, "audio_end_ms": 0},
     "item_truncate_invalid_item_id", "item_id"),
    ("conversation.item.retrieve", {}, MISSING, "item_id"),
    ("conversation.item.retrieve", {"item_id": 7}, TYPE, "item_id"),
    ("conversation.item.delete", {}, MISSING, "item_id"),
    ("conversation.item.delete", {"item_id": ["x"]}, TYPE, "item_id"),
    # response.create and cancel
    ("response.create", {"response": "please"}, TYPE, "response"),
    response("conversation", "all", VALUE),
    response("input", TEXT, TYPE),
    response("input", [{"type": "message", "content": []}], MISSING, "response.input[0].content"),
    response("input", [{"type": "item_reference"}], MISSING, "response.input[0].id"),
    response("input", [CALL] * 201, "array_above_max_length"),
    response("metadata", "none", TYPE),
    response("metadata", {"topic": 7}, TYPE, "response.metadata[...]"),
    response("metadata", {"k" * 65: "v"}, LONG),
    response("metadata", {"k": "v" * 513}, LONG, "response.metadata[...]"),
    response("metadata", {str(number): "v" for number in range(17)}, "object_above_max_properties"),
    response("instructions", 7, TYPE),
    response("output_modalities", ["smell"], VALUE, "response.output_modalities[0]"),
    response("max_output_tokens", 0, f"integer_{LOW}"),
    response("max_output_tokens", [], TYPE),
    response("tools", [{"type": "mcp"}], VALUE, "response.tools[0].type"),
    response("tool_choice", "sometimes", VALUE),
    response("audio", 7, TYPE),
    response("audio.output", 7, TYPE),
    response("audio.output.voice", "nobody", "voice_not_found"),
    response("audio.output.format.type", "audio/mp3", "invalid_audio"),
    ("response.cancel", {"response_id": 7}, TYPE, "response_id"),
    ("response.cancel", {"response_id": "resp_x"}, "response_cancel_not_active", "response_id"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    CASES,
    ids=[f"{kind} {param} {code}" for kind, _, code, param in CASES],
)
def test_what_does_not_fit_is_said_to_who_sent_it_and_changes_nothing(kind, fields, code, param):
    line = Line()
    before = line.hear(line.dialect.configured())[0]["session"]
    with pytest.raises(ClientError) as raised:
        line.dialect.receive(json.dumps({"type": kind, "event_id": "e7", **fields}))
    error = line.hear(line.dialect.error(raised.value))[0]["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert error["event_id"] == (None if param == "event_id" else "e7")
    assert 0 < len(error["message"]) < 300
    assert line.hear(line.dialect.configured())[0]["session"] == before
    assert line.send("input_audio_buffer.append", audio="AAAA" * 2) == [AppendAudio([bytes(6)], 3, "pcm16")]


def test_no_event_of_the_union_is_left_out():
    union = {
        event.model_fields["type"].annotation.__args__[0]
        for event in RealtimeClientEvent.__args__[0].__args__
    }
    told_apart = {kind for kind, *_ in CASES}
    assert union - told_apart == {"output_audio_buffer.clear"}, "WebRTC alone has that one"


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "invalid_json", None),
        ('{"type": "input_audio_buffer.clear"} {}', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"type":' + '{"a":' * 50_000, "invalid_json", None),
        ("7", "invalid_event", None),
        ("null", "invalid_event", None),
        ("[]", "invalid_event", None),
        ('"session.update"', "invalid_event", None),
        ("{}", MISSING, "type"),
        ('{"type": null}', MISSING, "type"),
        ('{"type": 7}', VALUE, "type"),
        ('{"type": "transcription_session.update", "session": {}}', VALUE, "type"),
        ('{"type": "output_audio_buffer.clear"}', VALUE, "type"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_event_is_said_so(raw, code, param):
    line = Line()
    with pytest.raises(ClientError) as raised:
        line.dialect.receive(raw)
    error = line.hear(line.dialect.error(raised.value))[0]["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


def test_what_is_echoed_of_a_session_is_valid_to_the_sdk():
    """Fields that have no effect here as well: `Line.update` holds the answer against the SDK's union."""
    told = Line().update(
        audio={
            "input": {
                "noise_reduction": {"type": "far_field", "strength": 0.5},
                "transcription": {
                    "model": "gpt-transcribe",
                    "keywords": ["tea"],
                    "languages": ["en"],
                    "delay": "low",
                },
            }
        },
        prompt={"id": "pmpt_1", "version": "2", "variables": {"name": "Kim"}},
        tracing={"workflow_name": "w"},
        include=["item.input_audio_transcription.logprobs"],
        parallel_tool_calls=True,
    )
    assert told["prompt"]["version"] == "2" and told["audio"]["input"]["transcription"]["delay"] == "low"
