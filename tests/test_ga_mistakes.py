"""What clients get wrong in the GA dialect: each mistake is one clear error, and the session lives on."""

import json
from typing import Any

import pytest

from config.errors import ClientError
from tests.ga_line import TOOL, Line
from web.dialects.base import AppendAudio
from web.dialects.ga_session import MAX_SESSION_BYTES


def updating(**session: Any) -> str:
    return json.dumps(
        {"type": "session.update", "event_id": "e7", "session": {"type": "realtime", **session}}
    )


def typing(**item: Any) -> str:
    return json.dumps({"type": "conversation.item.create", "event_id": "e7", "item": item})


def sending(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": "e7", **fields})


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def detection_of(kind: str, **fields: Any) -> str:
    return updating(audio={"input": {"turn_detection": {"type": kind, **fields}}})


DETECTION = "session.audio.input.turn_detection"
#: What is sent; the field and the words of the error.
MISTAKES = {
    "broken JSON": ('{"type": ', None, "not JSON"),
    "not an object": ('"hello"', None, "JSON object"),
    "nested too deeply to read": ('{"type":' + '{"a":' * 50_000, None, "not JSON|nested"),
    "nested too deeply to keep": (updating(audio={"x": nested(900)}), "session", "nested"),
    "an unknown event": (sending("session.refresh"), "type", "no event type 'session.refresh'"),
    "an event with a very long type": (sending("x" * 5000), "type", "no event type"),
    "no type": ('{"event_id": "e7"}', "type", "type"),
    "wrong base64": (sending("input_audio_buffer.append", audio="&&"), "audio", "base64"),
    "odd bytes": (sending("input_audio_buffer.append", audio="AAAA"), "audio", "even number"),
    "no audio field": (sending("input_audio_buffer.append"), "audio", "`audio`"),
    "a format not offered": (
        updating(audio={"input": {"format": {"type": "audio/mp3"}}}), "session.audio.input.format.type", "audio/pcmu",
    ),
    "a rate not offered": (
        updating(audio={"output": {"format": {"type": "audio/pcm", "rate": 8000}}}),
        "session.audio.output.format.rate",
        "24000",
    ),
    "instructions too long": (updating(instructions="x" * 20_001), "session.instructions", "20000"),
    "a session too large": (updating(audio={"extra": "x" * MAX_SESSION_BYTES}), "session", "bytes"),
    "a speed out of range": (updating(audio={"output": {"speed": 9}}), "session.audio.output.speed", "1.5"),
    "no tokens at all": (updating(max_output_tokens=0), "session.max_output_tokens", "1"),
    "a modality that is none": (updating(output_modalities=["smell"]), "session.output_modalities[0]", "smell"),
    "an unknown turn detection": (
        updating(audio={"input": {"turn_detection": {"type": "telepathy"}}}),
        "session.audio.input.turn_detection.type",
        "telepathy",
    ),
    "a threshold out of range": (detection_of("server_vad", threshold=1.1), f"{DETECTION}.threshold", "<= 1"),
    "a negative threshold": (detection_of("server_vad", threshold=-0.1), f"{DETECTION}.threshold", ">= 0"),
    "a padding out of range": (
        detection_of("server_vad", prefix_padding_ms=-1), f"{DETECTION}.prefix_padding_ms", ">= 0",
    ),
    "a silence out of range": (
        detection_of("server_vad", silence_duration_ms=10_001), f"{DETECTION}.silence_duration_ms", "<= 10000",
    ),
    "an idle timeout too short": (
        detection_of("server_vad", idle_timeout_ms=4999), f"{DETECTION}.idle_timeout_ms", ">= 5000",
    ),
    "an idle timeout too long": (
        detection_of("server_vad", idle_timeout_ms=30_001), f"{DETECTION}.idle_timeout_ms", "<= 30000",
    ),
    "an eagerness that is none": (
        detection_of("semantic_vad", eagerness="wild"), f"{DETECTION}.eagerness", "wild",
    ),
    "a switch that is none": (
        detection_of("semantic_vad", create_response="yes"), f"{DETECTION}.create_response", "bool",
    ),
    "a retention beyond all": (
        updating(truncation={"type": "retention_ratio", "retention_ratio": 1.5}),
        "session.truncation.retention_ratio",
        "<= 1",
    ),
    "a truncation that is none": (updating(truncation="never"), "session.truncation", "never"),
    "no room at all after the instructions": (
        updating(
            truncation={
                "type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 0},
            }
        ),
        "session.truncation.token_limits.post_instructions",
        ">= 1",
    ),
    "a consent that is none": (
        updating(antiphon={"allow_recording": "yes"}), "session.antiphon.allow_recording", "bool",
    ),
    "a tool that is none": (updating(tools=[{"type": "hammer", "name": "x"}]), "session.tools[0].type", "hammer"),
    "a voice that does not exist": (
        updating(audio={"output": {"voice": "nobody"}}), "session.audio.output.voice", "no voice 'nobody'",
    ),
    "a session of no kind": (updating(type="telepathy"), "session.type", "telepathy"),
    "the other dialect": (
        sending("session.update", session={"voice": "v", "allow_recording": True}), "session", "dialect=unmute",
    ),
    "an item of no kind": (typing(type="mcp_call"), "item.type", "not supported"),
    "a result of no call": (typing(type="function_call_output", output="1"), "item.call_id", "missing"),
    "a tool that must be called and is none": (
        updating(tools=[TOOL], tool_choice={"type": "function", "name": "other"}), "session.tool_choice.name",
        "no tool 'other'",
    ),
    "a response in a voice of nobody": (
        sending("response.create", response={"audio": {"output": {"voice": "nobody"}}}),
        "response.audio.output.voice",
        "no voice 'nobody'",
    ),
    "a response of no tokens": (
        sending("response.create", response={"max_output_tokens": 0}), "response.max_output_tokens", "1",
    ),
    "an empty message": (typing(type="message", content=[]), "item.content", "empty"),
    "an image": (typing(type="message", content=[{"type": "input_image"}]), "item.content[0].type", "images"),
    "typed text too long": (
        typing(type="message", content=[{"type": "input_text", "text": "x" * 20_001}]),
        "item.content[0].text",
        "20000",
    ),
    "a truncation of nothing": (
        sending("conversation.item.truncate", item_id="item_x", audio_end_ms=0), "item_id", "no such item",
    ),
    "a negative truncation": (
        sending("conversation.item.truncate", item_id="item_x", audio_end_ms=-1), "audio_end_ms", ">= 0",
    ),
    "a truncation of another part": (
        sending("conversation.item.truncate", item_id="item_x", content_index=1, audio_end_ms=0), "content_index", "1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "param", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_error_and_the_session_lives_on(raw, param, words):
    line = Line()
    before = line.update(instructions="Be kind.")
    with pytest.raises(ClientError, match=words) as raised:
        line.dialect.receive(raw)
    (event,) = line.hear(line.dialect.error(raised.value))
    error = event["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["event_id"] == ("e7" if '"e7"' in raw else None)
    assert len(error["message"]) < 300
    assert line.hear(line.dialect.configured())[0]["session"] == before
    assert line.send("input_audio_buffer.append", audio="AAAA" * 2) == [AppendAudio([bytes(6)], 3, "pcm16")]
