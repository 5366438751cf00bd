"""What the official clients force on a server, one test for each behaviour by its number in docs/sdks.md.

The clients themselves talk in test_sdk_conversations.py; here each need stands alone.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from config.errors import ClientError
from config.messages import ToolCall
from config.settings import SAMPLE_RATE
from tests.ga_conversations import CONVERSATIONS
from tests.ga_line import Line
from web import requests
from web.actions import CloseUtterance, SpeechStopped, TakeText, UserSilent
from web.dialects.base import (
    AudioOut,
    CommitInput,
    CreateReply,
    DeleteItem,
    HeardUpTo,
    RetrieveItem,
    StopReply,
)
from web.items import Item
from web.reply_options import ReplyOptions
from web.turn_state import SILENCE, Phase, Turn
from web.user_work import UserWork

S = SAMPLE_RATE

#: What the agents SDK for JavaScript sends first, for an agent with a tool.
FIRST_UPDATE = {
    "instructions": "Be kind.",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000}, "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"}, "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "ash", "speed": 1},
    },
    "tools": [{"type": "function", "name": "weather", "description": "", "parameters": {"type": "object"}}],
}  # fmt: skip


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def user_work(line):
    return UserWork(line.dialect, line.hear, input=None, times=None, voice_began=lambda: None)


def test_1_a_session_update_with_tracing_alone_leaves_the_first_in_force():
    line = Line()
    first = line.update(**FIRST_UPDATE)
    second = line.update(tracing="auto")
    assert second == {**first, "tracing": "auto"}
    assert (second["instructions"], second["audio"]["output"]["voice"]) == ("Be kind.", "ash")
    assert [tool["name"] for tool in second["tools"]] == ["weather"]
    assert line.update(tracing={"workflow_name": "w", "group_id": "g"})["tools"] == first["tools"]


@pytest.mark.parametrize("asked", [None, True, False])
def test_2_the_effective_interrupt_response_is_echoed(asked):
    line = Line()
    detection = {"type": "semantic_vad"} | ({} if asked is None else {"interrupt_response": asked})
    told = line.update(audio={"input": {"turn_detection": detection}})["audio"]["input"]["turn_detection"]
    assert told["interrupt_response"] is (asked is not False)
    assert told["create_response"] is True


def test_3_who_barges_in_is_announced_before_the_reply_is_done_and_the_server_truncates_too():
    line = Line()
    line.answer(1, "One ", "two ", "three.")
    line.end(1, "cancelled", "turn_detected", text="One")
    assert "response.output_audio.done" not in line.kinds(), "clients truncate nothing that is done"
    line.hear(line.dialect.speech_began(5 * S))
    after = line.kinds()[line.kinds().index("input_audio_buffer.speech_started") :]
    assert after.index("response.output_audio.done") < after.index("conversation.item.truncated")
    assert line.last("conversation.item.truncated")["audio_end_ms"] == 50
    (request,) = line.send(
        "conversation.item.truncate", item_id=line.dialect.reply_item(1), content_index=0, audio_end_ms=200
    )
    assert request == HeardUpTo(200 * S // 1000, 1)
    line.hear(line.dialect.truncated(request))
    assert line.last("conversation.item.truncated")["audio_end_ms"] == 200


def retrieved(line: Line, item_id: str, item: Item | None = None) -> dict[str, Any]:
    (event,) = line.hear(line.dialect.item_retrieved(RetrieveItem(item_id), item))
    return event["item"]


def test_4_an_utterance_has_its_id_in_the_history_though_its_text_came_with_its_end(user_work, line):
    line.hear(line.dialect.speech_began(S))
    closing, known_as = user_work.items_of((SpeechStopped(2 * S), CloseUtterance(2 * S), TakeText("Hello.")))
    assert closing == known_as
    line.hear(line.dialect.speech_stopped(2 * S))
    line.hear(line.dialect.committed())
    line.hear(line.dialect.user_text("Hello."))
    assert line.last("conversation.item.input_audio_transcription.completed")["item_id"] == known_as
    assert user_work.items_of((TakeText("late"),)) == ("", ""), "one that was given up takes nobody else's"


def test_4_a_silence_and_a_turn_that_the_client_ends_have_one_too(user_work, line):
    for actions, happens in (
        ((UserSilent(0, S), TakeText(SILENCE)), lambda: line.dialect.idle_timeout(S)),
        ((CloseUtterance(S),), line.dialect.committed),
    ):
        _, known_as = user_work.items_of(actions)
        line.hear(happens())
        assert line.last("input_audio_buffer.committed")["item_id"] == known_as
        line.hear(line.dialect.user_text(SILENCE))
    silence = retrieved(line, known_as, Item("user", SILENCE, id=known_as, spoken=True))
    assert silence["content"] == [{"type": "input_audio", "transcript": ""}]


def test_4_an_utterance_without_words_is_found_when_its_transcript_is_told(line):
    line.speak("")
    item_id = line.last("conversation.item.input_audio_transcription.completed")["item_id"]
    item = retrieved(line, item_id, Item("user", "", id=item_id, spoken=True))
    assert item["content"] == [{"type": "input_audio", "transcript": ""}]


def test_4_a_reply_of_which_nothing_was_heard_is_found_when_it_was_truncated(line):
    line.answer(1, "Well, ")
    line.end(1, "cancelled", "turn_detected", text="")
    line.hear(line.dialect.speech_began(2 * S))
    item_id = line.last("conversation.item.truncated")["item_id"]
    item = retrieved(line, item_id, Item("assistant", "", id=item_id, spoken=True, cut=True))
    assert (item["status"], item["content"]) == ("incomplete", [{"type": "output_audio", "transcript": ""}])


def test_4_a_response_outside_the_conversation_has_no_item_to_truncate(line):
    line.begin(1, ReplyOptions(line.dialect.wishes, aside=True))
    line.hear(line.dialect.reply_words(1, ["Well."]))
    line.hear(line.dialect.reply_audio(AudioOut(1, [bytes(960)], 480, [])))
    line.end(1, "cancelled", "client_cancelled", text="")
    assert "conversation.item.truncated" not in line.kinds()


def test_5_what_was_said_is_an_item_with_a_transcript_before_it_has_one(line):
    line.hear(line.dialect.speech_began(S))
    line.hear(line.dialect.committed())
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert line.last(kind)["item"]["content"] == [{"type": "input_audio", "transcript": None}]


def call(line: Line) -> None:
    line.begin(1)
    line.hear(line.dialect.reply_called(1, 0, ToolCall("call_1", "weather", '{"town": "Rome"}')))
    line.end(1)


def test_6_a_function_item_is_in_progress_when_added_and_completed_only_when_done(line):
    call(line)
    told = [(event["type"], event["item"]["status"]) for event in line.events if "item" in event]
    assert told == [
        ("response.output_item.added", "in_progress"),
        ("conversation.item.added", "in_progress"),
        ("response.output_item.done", "completed"),
        ("conversation.item.done", "completed"),
    ]


#: A client that reads these takes null for a value of the wrong type.
NEVER_NULL = {"id", "call_id", "name", "arguments", "role", "status", "text", "audio", "usage"}


def nulls(value: object, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for inner in value for found in nulls(inner, path)]
    return [path] if value is None else []


@pytest.mark.parametrize(
    "talk", [call, *(talk for talk, _ in CONVERSATIONS.values())], ids=lambda t: t.__name__
)
def test_7_what_an_item_a_part_or_a_usage_does_not_have_is_omitted(talk):
    line = Line()
    talk(line)
    for event in line.events:
        inside = [
            *nulls(event.get("item")),
            *nulls(event.get("part")),
            *nulls(event.get("response", {}).get("usage")),
        ]
        found = [path for path in inside if path.rpartition(".")[2] in NEVER_NULL or "token" in path]
        assert found == [], event


def test_8_an_error_that_answers_a_response_create_carries_its_event_id(line):
    refused = {"instructions": "x", "tool_choice": {"type": "function", "name": "nobody"}, "tools": []}
    with pytest.raises(ClientError) as raised:
        line.send("response.create", event_id="r1", response=refused)
    (error,) = line.hear(line.dialect.error(raised.value))
    assert error["error"]["event_id"] == "r1"
    request = CreateReply("r2")
    with pytest.raises(ClientError) as raised:
        requests.happening(request, Turn(phase=Phase.SPEAKING, reply=1), S)
    (error,) = line.hear(line.dialect.error(raised.value, request.event_id))
    assert error["error"]["event_id"] == "r2"


@pytest.mark.parametrize(
    ("request_", "turn", "code"),
    [
        (CreateReply(), Turn(phase=Phase.SPEAKING, reply=1), "conversation_already_has_active_response"),
        (StopReply(), Turn(), "response_cancel_not_active"),
        (CommitInput(), Turn(taken_to=S), "input_audio_buffer_commit_empty"),
        (CommitInput(), replace(Turn(), awaiting=True), "input_audio_buffer_commit_empty"),
    ],
    ids=[
        "two responses at once",
        "cancelling nothing",
        "an empty commit",
        "another of a turn whose end is known",
    ],
)
def test_9_what_cannot_be_done_now_is_an_error_with_the_code_that_clients_know(line, request_, turn, code):
    with pytest.raises(ClientError) as raised:
        requests.happening(request_, turn, S)
    (event,) = line.hear(line.dialect.error(raised.value))
    assert (event["error"]["type"], event["error"]["code"]) == ("invalid_request_error", code)


def test_10_after_an_error_the_conversation_goes_on(line):
    for mistake in (
        {"type": "nonsense"},
        {"type": "input_audio_buffer.append", "audio": "not base64"},
        {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["smell"]}},
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1},
    ):
        with pytest.raises(ClientError) as raised:
            line.dialect.receive(json.dumps(mistake))
        assert line.hear(line.dialect.error(raised.value))[0]["error"]["type"] == "invalid_request_error"
    with pytest.raises(ClientError) as raised:
        line.dialect.item_retrieved(RetrieveItem("nobody"), None)
    assert raised.value.wire_code == "item_retrieve_invalid_item_id"
    assert line.send("conversation.item.delete", item_id="x") == [DeleteItem("x")]
    line.speak("Still here?")
    assert line.last("conversation.item.input_audio_transcription.completed")["transcript"] == "Still here?"
