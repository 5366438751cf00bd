"""The GA dialect: whole conversations, every message valid to the official SDK, and every mistake one clear error."""

import base64
import json
from typing import Any, get_args

import msgspec
import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from config.errors import ClientError, StageFailed
from config.messages import SpokenWord, Tool, ToolCall, Transcript
from config.settings import SAMPLE_RATE
from web.config import Truncation
from web.dialects import ga_events as ev
from web.dialects.base import (
    AddItem,
    AppendAudio,
    AudioOut,
    ClearInput,
    CommitInput,
    Configure,
    CreateReply,
    HeardUpTo,
    ReplyOutcome,
    RetrieveItem,
    StopReply,
)
from web.dialects.ga import GaDialect
from web.dialects.ga_audio import KEPT_REPLIES
from web.dialects.ga_session import MAX_SESSION_BYTES
from web.items import Item
from web.reply_options import ReplyOptions
from web.turn import SILENCE

SERVER = TypeAdapter(RealtimeServerEvent)
CLIENT = TypeAdapter(RealtimeClientEvent)

S = SAMPLE_RATE


class Line:
    """One client's side of a dialect: notes each event that is sent, once the SDK has accepted it."""

    def __init__(self, *extensions: str) -> None:
        self.dialect = GaDialect(
            "0123456789abcdef", 160, self._speaker, voice="marin", extensions=frozenset(extensions)
        )
        self.events: list[dict[str, Any]] = []

    @staticmethod
    def _speaker(voice: str) -> str:
        if voice == "nobody":
            raise ClientError(
                "there is no voice 'nobody'", code="voice_not_found", param="session.audio.output.voice"
            )
        return f"engine-{voice}"

    def send(self, kind: str, **fields: Any) -> list[Any]:
        return self.dialect.receive(json.dumps({"type": kind, **fields}))

    def update(self, **session: Any) -> dict[str, Any]:
        assert self.send("session.update", session={"type": "realtime", **session}) == [Configure()]
        return self.hear(self.dialect.configured())[0]["session"]

    def hear(self, messages: list[str]) -> list[dict[str, Any]]:
        events = [json.loads(message) for message in messages]
        for event in events:
            if not event["type"].startswith("antiphon."):
                SERVER.validate_python(event, strict=False)
        self.events += events
        return events

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def last(self, kind: str) -> dict[str, Any]:
        return next(event for event in reversed(self.events) if event["type"] == kind)

    # --- pieces of conversations

    def greet(self) -> None:
        self.hear(self.dialect.greeting(resumed=False, token="s.t"))

    def speak(self, text: str, at_s: int = 1) -> None:
        dialect = self.dialect
        self.hear(dialect.speech_began(at_s * S))
        self.hear(dialect.partial_text(Transcript(text, at_s * S, at_s * S + S)))
        self.hear(dialect.speech_stopped(at_s * S + S))
        self.hear(dialect.committed())
        self.hear(dialect.partial_text(Transcript(text, at_s * S, at_s * S + S, final=True)))
        self.hear(dialect.user_text(text))

    def begin(self, number: int, options: ReplyOptions | None = None) -> None:
        options = options or ReplyOptions(self.dialect.wishes)
        self.hear(self.dialect.reply_started(number, options, again=False))

    def answer(self, number: int, *words: str) -> None:
        self.begin(number)
        for index, word in enumerate(words):
            self.hear(self.dialect.reply_words(number, [word]))
            if not self.dialect.wishes.text_only:
                spoken = [(SpokenWord(index, 0, 960), word)]
                self.hear(self.dialect.reply_audio(AudioOut(number, [bytes(960)] * 4, 1920, spoken)))

    def end(self, number: int, status: str = "completed", reason: str = "", text: str = "Fine.") -> None:
        cut = status == "cancelled" and not self.dialect.wishes.text_only
        self.hear(
            self.dialect.reply_ended(
                ReplyOutcome(number, status, reason, text, text, 1200, cut, 20, 3, 90.0, 60.0)
            )
        )


SPOKEN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
]
BEGUN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
VOICED = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
VOICE_DONE = ["response.output_audio.done", "response.output_audio_transcript.done"]
ITEM_DONE = ["response.content_part.done", "response.output_item.done", "conversation.item.done"]
DONE = [*VOICE_DONE, *ITEM_DONE, "response.done"]


def happy(line: Line) -> None:
    line.greet()
    line.update(instructions="Be kind.")
    line.speak("How are you?")
    line.answer(1, "Fine, ", "thanks.")
    line.end(1)


def barge_in(line: Line) -> None:
    line.answer(1, "One ", "two ", "three.")
    line.end(1, "cancelled", "turn_detected", text="One")
    line.hear(line.dialect.speech_began(5 * S))


def manual(line: Line) -> None:
    line.update(audio={"input": {"turn_detection": None}})
    assert line.send("input_audio_buffer.clear") == [ClearInput()]
    line.hear(line.dialect.cleared())
    line.send("input_audio_buffer.append", audio=base64.b64encode(bytes(960)).decode())
    assert line.send("input_audio_buffer.commit", event_id="c1") == [CommitInput("c1")]
    line.hear(line.dialect.committed())
    assert line.send("response.create", event_id="r1") == [CreateReply("r1")]
    line.hear(line.dialect.user_text("Go on."))
    line.answer(1, "Yes.")
    line.end(1)


def text_only(line: Line) -> None:
    line.update(output_modalities=["text"])
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    (added,) = line.send("conversation.item.create", item=item)
    line.hear(line.dialect.item_added(added, None))
    line.answer(1, "Hi ", "there.")
    line.end(1)


def failure(line: Line) -> None:
    line.answer(1, "Well, ")
    line.hear(line.dialect.error(StageFailed("the reply failed at the voice; please try again")))
    line.end(1, "failed", "failed", text="")


def nothing_understood(line: Line) -> None:
    line.speak("")


def transcript_late(line: Line) -> None:
    line.hear(line.dialect.speech_began(S))
    line.hear(line.dialect.committed())
    line.hear(line.dialect.not_understood())


def goes_on_after_the_end(line: Line) -> None:
    """Two commits before the first transcript: each finds its own item."""
    for at_s in (1, 3):
        line.hear(line.dialect.speech_began(at_s * S))
        line.hear(line.dialect.committed())
    line.hear(line.dialect.user_text("I want"))
    line.hear(line.dialect.user_text("to go."))


CONVERSATIONS = {
    "a turn and its reply": (
        happy,
        ["session.created", "session.updated", *SPOKEN, *BEGUN, *VOICED, *VOICED, *DONE],
    ),
    "barge-in": (
        barge_in,
        [*BEGUN, *VOICED * 3, SPOKEN[0], *VOICE_DONE, *ITEM_DONE, "conversation.item.truncated", "response.done"],
    ),
    "a manual turn": (
        manual,
        ["session.updated", "input_audio_buffer.cleared", *SPOKEN[2:], *BEGUN, *VOICED, *DONE],
    ),
    "text only": (
        text_only,
        [
            "session.updated", "conversation.item.added", "conversation.item.done", *BEGUN,
            *["response.output_text.delta"] * 2, "response.output_text.done", *ITEM_DONE, "response.done",
        ],
    ),
    "a reply that fails": (failure, [*BEGUN, *VOICED, "error", *DONE]),
    "an utterance without words": (nothing_understood, [*SPOKEN[:5], SPOKEN[6]]),
    "a transcript that never comes": (
        transcript_late, [SPOKEN[0], *SPOKEN[2:5], "conversation.item.input_audio_transcription.failed"],
    ),
    "two utterances in one turn": (
        goes_on_after_the_end, [*[SPOKEN[0], *SPOKEN[2:5]] * 2, *SPOKEN[5:] * 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("talk", "expected"), CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_a_conversation_is_valid_and_in_order(talk, expected):
    line = Line()
    talk(line)
    assert line.kinds() == expected
    ids = [event["event_id"] for event in line.events]
    assert len(set(ids)) == len(ids)


def test_session_created_comes_first_and_unasked():
    line = Line()
    (created,) = line.hear(line.dialect.greeting(resumed=False, token="s.t"))
    assert created["type"] == "session.created"
    assert created["session"]["antiphon"] == {
        "resume_token": "s.t", "resumed": False, "allow_recording": False, "record_audio": False,
    }  # fmt: skip
    assert not line.dialect.speaks_first


def test_items_are_linked_and_each_keeps_its_id():
    line = Line()
    happy(line)
    user, reply = (event for event in line.events if event["type"] == "conversation.item.added")
    assert user["previous_item_id"] is None
    assert user["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert reply["previous_item_id"] == user["item"]["id"]
    assert line.last("conversation.item.input_audio_transcription.completed")["item_id"] == user["item"]["id"]
    done = line.last("response.done")["response"]
    assert done["output"][0]["id"] == reply["item"]["id"]
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Fine, thanks."}]
    assert done["usage"]["total_tokens"] == 23


def test_an_interrupted_reply_says_so_everywhere():
    line = Line()
    barge_in(line)
    assert line.last("response.output_item.done")["item"]["status"] == "incomplete"
    assert line.last("conversation.item.truncated")["audio_end_ms"] == 50
    done = line.last("response.done")["response"]
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "turn_detected"},
    )


def test_two_utterances_get_their_own_transcripts():
    line = Line()
    goes_on_after_the_end(line)
    items = [event["item_id"] for event in line.events if event["type"] == "input_audio_buffer.committed"]
    texts = [
        (e["item_id"], e["transcript"]) for e in line.events if e["type"].endswith("transcription.completed")
    ]
    assert texts == list(zip(items, ["I want", "to go."], strict=True))


def test_an_utterance_without_words_takes_nobody_elses_transcript():
    line = Line()
    items = [line.hear(line.dialect.committed())[0]["item_id"] for _ in range(2)]
    line.hear(line.dialect.partial_text(Transcript("", S, 2 * S, final=True)))
    line.hear(line.dialect.user_text(""))
    line.hear(line.dialect.user_text("and you"))
    done = [event for event in line.events if event["type"].endswith("transcription.completed")]
    assert [(event["item_id"], event["transcript"]) for event in done] == [
        (items[0], ""),
        (items[1], "and you"),
    ]


def test_transcription_can_be_switched_off():
    line = Line()
    line.update(audio={"input": {"transcription": None}})
    line.speak("Hello")
    assert not [kind for kind in line.kinds() if "transcription" in kind]


@pytest.mark.parametrize(
    ("role", "kind"), [("user", "input_text"), ("system", "input_text"), ("assistant", "output_text")]
)
def test_a_typed_message_is_echoed(role, kind):
    line = Line()
    item = {"id": "mine", "type": "message", "role": role, "content": [{"type": kind, "text": "Hello"}]}
    requests = line.send("conversation.item.create", item=item)
    assert requests == [AddItem(Item(role, "Hello", id="mine"))]
    added, done = line.hear(line.dialect.item_added(requests[0], None))
    assert added["item"] == done["item"] == {**item, "object": "realtime.item", "status": "completed"}
    assert line.hear(line.dialect.committed())[0]["previous_item_id"] == "mine"


# --- truncation


def reply_of_two_seconds(line: Line, number: int = 1, *, ended: str = "") -> str:
    """A reply of which 2 s were sent; its item's id."""
    line.begin(number)
    line.hear(line.dialect.reply_audio(AudioOut(number, [bytes(960)], 2 * S, [])))
    if ended:
        line.end(number, ended, "turn_detected")
    if ended == "cancelled":
        line.hear(line.dialect.speech_began(5 * S))
    return line.last("response.output_item.added")["item"]["id"]


def truncating(line: Line, item_id: str, end_ms: int) -> list[Any]:
    return line.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end_ms)


@pytest.mark.parametrize("ended", ["", "completed", "cancelled"])
def test_any_reply_can_be_truncated(ended):
    line = Line()
    first = reply_of_two_seconds(line, 1, ended=ended or "completed")
    second = reply_of_two_seconds(line, 2, ended=ended)
    assert truncating(line, second, 500) == [HeardUpTo(S // 2, 2)]
    assert truncating(line, first, 1999) == [HeardUpTo(1999 * S // 1000, 1)]


def test_a_truncation_of_the_reply_under_way_is_answered_once_and_a_repeated_one_again():
    line = Line()
    item = reply_of_two_seconds(line)
    (request,) = truncating(line, item, 500)
    line.end(1, "cancelled", "client_cancelled")
    line.hear(line.dialect.truncated(request))
    said = [event for event in line.events if event["type"] == "conversation.item.truncated"]
    assert [(event["item_id"], event["audio_end_ms"]) for event in said] == [(item, 500)]
    assert truncating(line, item, 500) == [request]
    (again,) = line.hear(line.dialect.truncated(request))
    assert (again["item_id"], again["audio_end_ms"]) == (item, 500)


def test_an_interruption_that_the_server_saw_first_is_announced_and_the_clients_own_answered():
    line = Line()
    item = reply_of_two_seconds(line, ended="cancelled")
    (request,) = truncating(line, item, 700)
    line.hear(line.dialect.truncated(request))
    said = [event for event in line.events if event["type"] == "conversation.item.truncated"]
    assert [event["audio_end_ms"] for event in said] == [50, 700]


def test_beyond_the_end_of_a_whole_reply_there_is_nothing_to_truncate():
    line = Line()
    item = reply_of_two_seconds(line, ended="completed")
    assert truncating(line, item, 2000) == [HeardUpTo(2 * S, 1)]
    with pytest.raises(ClientError, match="2000 ms") as raised:
        truncating(line, item, 2001)
    assert (raised.value.type, raised.value.param) == ("invalid_request_error", "audio_end_ms")


@pytest.mark.parametrize("ended", ["", "cancelled"])
def test_a_clients_clock_may_run_ahead_of_a_reply_that_was_held_back(ended):
    line = Line()
    item = reply_of_two_seconds(line, ended=ended)
    assert truncating(line, item, 2600) == [HeardUpTo(2 * S, 1)]
    with pytest.raises(ClientError) as raised:
        truncating(line, item, 60_000)
    assert raised.value.param == "audio_end_ms"


def test_what_was_sent_twice_after_a_mute_is_heard_once():
    """2 s sent, back to 1.5 s, another second sent: a client without extensions has played 3 s at reply second 2.5."""
    line = Line()
    item = reply_of_two_seconds(line)
    line.hear(line.dialect.muted(1, S * 9 // 5))
    line.hear(line.dialect.resumed(1, S * 3 // 2))
    line.hear(line.dialect.reply_audio(AudioOut(1, [bytes(960)], S, [])))
    assert truncating(line, item, 1000) == [HeardUpTo(S, 1)]
    assert truncating(line, item, 2500) == [HeardUpTo(2 * S, 1)]
    assert truncating(line, item, 3000) == [HeardUpTo(S * 5 // 2, 1)]
    (answer,) = line.hear(line.dialect.truncated(HeardUpTo(2 * S, 1)))
    assert answer["audio_end_ms"] == 2500
    assert not [kind for kind in line.kinds() if kind.startswith("antiphon.")]


def test_who_asked_for_our_extensions_is_told_of_mutes_and_counts_in_the_replys_time():
    line = Line("antiphon")
    item = reply_of_two_seconds(line)
    (muted,) = line.hear(line.dialect.muted(1, S * 9 // 5))
    (resumed,) = line.hear(line.dialect.resumed(1, S * 3 // 2))
    response = line.last("response.created")["response"]["id"]
    where = {"item_id": item, "response_id": response}
    assert muted.items() >= {"type": "antiphon.output.muted", "audio_end_ms": 1800, **where}.items()
    assert resumed.items() >= {"type": "antiphon.output.resumed", "audio_end_ms": 1500, **where}.items()
    line.hear(line.dialect.reply_audio(AudioOut(1, [bytes(960)], S, [])))
    assert truncating(line, item, 2500) == [HeardUpTo(S * 5 // 2, 1)]


def test_only_the_audio_of_the_assistant_can_be_truncated():
    line = Line()
    line.speak("Hello")
    with pytest.raises(ClientError, match="no such item") as raised:
        truncating(line, line.last("input_audio_buffer.committed")["item_id"], 0)
    assert raised.value.param == "item_id"
    text_only(line)
    with pytest.raises(ClientError, match="no audio") as raised:
        truncating(line, line.last("response.output_item.added")["item"]["id"], 0)
    assert raised.value.param == "item_id"


def test_a_later_connection_knows_what_was_sent():
    line = Line()
    item = reply_of_two_seconds(line, ended="completed")
    later = Line()
    later.dialect.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(line.dialect.snapshot())))
    assert truncating(later, item, 2000) == [HeardUpTo(2 * S, 1)]
    with pytest.raises(ClientError):
        truncating(later, item, 2001)


def test_replies_of_long_ago_are_forgotten():
    line = Line()
    items = [reply_of_two_seconds(line, number, ended="completed") for number in range(1, KEPT_REPLIES + 2)]
    assert truncating(line, items[1], 0) == [HeardUpTo(0, 2)]
    with pytest.raises(ClientError):
        truncating(line, items[0], 0)


def test_the_client_learns_what_was_heard_and_what_had_no_room():
    line = Line()
    reply_of_two_seconds(line)
    outcome = ReplyOutcome(
        1, "cancelled", "client_cancelled", "One", "One two.", 1200, True, 20, 3, 90.0, 60.0, 7
    )
    line.hear(line.dialect.reply_ended(outcome))
    ours = line.last("response.done")["response"]["antiphon"]
    assert (ours["heard"], ours["dropped_messages"]) == ("One", 7)


def test_cancel_is_passed_on():
    assert Line().send("response.cancel", event_id="x") == [StopReply("x")]


def test_every_client_event_has_a_handler():
    assert set(Line().dialect._handlers) == set(get_args(ev.ClientEvent))


def test_we_know_every_event_a_websocket_client_may_send():
    theirs = {CLIENT_EVENT.model_fields["type"].annotation for CLIENT_EVENT in _models(RealtimeClientEvent)}
    known = {kind.__struct_config__.tag for kind in get_args(ev.ClientEvent)}
    assert {get_args(kind)[0] for kind in theirs} - known == {"output_audio_buffer.clear"}  # WebRTC only


def _models(alias: Any) -> list[Any]:
    return [model for model in get_args(get_args(alias)[0]) if hasattr(model, "model_fields")]


# --- items


def test_any_item_can_be_asked_for_as_it_is_now():
    line = Line()
    (asked,) = line.send("conversation.item.retrieve", item_id="x", event_id="e1")
    assert asked == RetrieveItem("x", "e1")
    kinds = {
        "said": Item("user", "How are you?", id="x", spoken=True),
        "typed": Item("user", "Hello", id="x"),
        "answered": Item("assistant", "Fine—", id="x", spoken=True, cut=True),
        "called": Item("assistant", "", (CALL,), id="x"),
        "result": Item("tool", "Sunny.", tool_call_id="c1", id="x"),
    }
    shown = {
        kind: line.hear(line.dialect.item_retrieved(asked, item))[0]["item"] for kind, item in kinds.items()
    }
    assert shown["said"]["content"] == [{"type": "input_audio", "transcript": "How are you?"}]
    assert shown["typed"]["content"] == [{"type": "input_text", "text": "Hello"}]
    assert shown["answered"]["content"] == [{"type": "output_audio", "transcript": "Fine"}]
    assert shown["answered"]["status"] == "incomplete"
    assert (shown["called"]["name"], shown["called"]["arguments"]) == ("weather", '{"town": "Rome"}')
    assert (shown["result"]["call_id"], shown["result"]["output"]) == ("c1", "Sunny.")


def test_an_utterance_without_text_yet_and_a_reply_under_way_can_be_asked_for():
    line = Line()
    line.hear(line.dialect.committed())
    waiting = line.last("input_audio_buffer.committed")["item_id"]
    (shown,) = line.hear(line.dialect.item_retrieved(RetrieveItem(waiting), None))
    assert shown["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    line.answer(1, "Well, ")
    (shown,) = line.hear(line.dialect.item_retrieved(RetrieveItem(line.dialect.reply_item(1)), None))
    assert (shown["item"]["status"], shown["item"]["content"][0]["transcript"]) == ("in_progress", "Well,")
    with pytest.raises(ClientError) as raised:
        line.dialect.item_retrieved(RetrieveItem("nobody"), None)
    assert (raised.value.wire_code, raised.value.param) == ("item_not_found", "item_id")


def test_what_follows_a_deleted_item_follows_the_one_before_it():
    line = Line()
    line.speak("One.")
    first = line.last("input_audio_buffer.committed")["item_id"]
    line.speak("Two.", at_s=3)
    (asked,) = line.send(
        "conversation.item.delete", item_id=line.last("input_audio_buffer.committed")["item_id"]
    )
    (deleted,) = line.hear(line.dialect.item_deleted(asked, first))
    assert deleted["item_id"] == asked.item_id
    line.speak("Three.", at_s=6)
    assert line.last("input_audio_buffer.committed")["previous_item_id"] == first


def test_an_item_can_be_put_anywhere():
    line = Line()
    item = {
        "id": "mine",
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Hm."}],
    }
    (request,) = line.send("conversation.item.create", item=item, previous_item_id="root")
    assert request == AddItem(Item("system", "Hm.", id="mine"), "root")
    added, done = line.hear(line.dialect.item_added(request, None))
    assert added["previous_item_id"] is done["previous_item_id"] is None


# --- functions


CALL = ToolCall("c1", "weather", '{"town": "Rome"}')

CALLED = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
]


def test_functions_of_the_session_reach_the_model():
    line = Line()
    assert line.update(tools=[TOOL])["tools"] == [TOOL]
    assert line.dialect.wishes.tools == (Tool("weather", "Of a town.", {"type": "object"}),)
    assert line.dialect.wishes.tool_choice == "auto"
    line.update(tool_choice={"type": "function", "name": "weather"})
    assert line.dialect.wishes.tool_choice == "weather"
    line.update(tools=[], tool_choice="none")
    assert line.dialect.wishes.tools == ()


def test_a_reply_that_only_asks_for_functions_has_no_message():
    line = Line()
    line.begin(1)
    for index in range(2):
        line.hear(line.dialect.reply_called(1, index, CALL))
    line.end(1, text="")
    assert line.kinds() == ["response.created", *CALLED * 2, "response.done"]
    statuses = [event["item"]["status"] for event in line.events if "item" in event]
    assert statuses == ["in_progress", "in_progress", "completed", "completed"] * 2, "or the tool runs twice"
    arguments = [event["item"]["arguments"] for event in line.events if "item" in event]
    assert arguments == ["", "", CALL.arguments, CALL.arguments] * 2
    output = line.last("response.done")["response"]["output"]
    assert [(item["type"], item["call_id"]) for item in output] == [("function_call", "c1")] * 2
    assert [event["output_index"] for event in line.events if event["type"] == CALLED[0]] == [0, 1]


def test_a_reply_may_speak_and_ask_for_functions():
    line = Line()
    line.answer(1, "One ", "moment.")
    line.hear(line.dialect.reply_called(1, 0, CALL))
    line.end(1, text="One moment.")
    assert line.kinds() == [*BEGUN, *VOICED * 2, *CALLED, *DONE]
    assert [item["type"] for item in line.last("response.done")["response"]["output"]] == [
        "message",
        "function_call",
    ]
    message, call = (event for event in line.events if event["type"] == "conversation.item.added")
    assert call["previous_item_id"] == message["item"]["id"]


def test_the_result_of_a_function_is_an_item():
    line = Line()
    item = {"type": "function_call_output", "call_id": "c1", "output": "Sunny."}
    (request,) = line.send("conversation.item.create", item=item)
    assert (request.item.role, request.item.tool_call_id, request.item.content) == ("tool", "c1", "Sunny.")
    added, _ = line.hear(line.dialect.item_added(request, None))
    assert added["item"].items() >= item.items()


# --- responses of their own kind


def test_a_response_may_be_other_than_the_session():
    line = Line()
    line.update(instructions="Be kind.", tools=[TOOL])
    asked = {
        "instructions": "Be brief.", "output_modalities": ["text"], "max_output_tokens": 7, "tools": [],
        "metadata": {"topic": "tea"}, "audio": {"output": {"voice": "cedar"}},
    }  # fmt: skip
    (request,) = line.send("response.create", event_id="r1", response=asked)
    options = request.options
    assert (options.wishes.instructions, options.wishes.text_only, options.wishes.max_tokens) == (
        "Be brief.",
        True,
        7,
    )
    assert (options.wishes.tools, options.wishes.voice, options.aside) == ((), "engine-cedar", False)
    line.begin(1, options)
    line.hear(line.dialect.reply_words(1, ["Tea."]))
    line.end(1, text="Tea.")
    done = line.last("response.done")["response"]
    assert done["metadata"] == {"topic": "tea"} and done["output_modalities"] == ["text"]
    assert done["max_output_tokens"] == 7 and done["output"][0]["content"][0]["type"] == "output_text"
    assert line.dialect.wishes.instructions == "Be kind.", "the session is as it was"


def test_a_response_outside_the_conversation_leaves_no_items_there():
    line = Line()
    line.speak("Hello")
    newest = line.last("input_audio_buffer.committed")["item_id"]
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sort: b a"}]}]
    reference = {"type": "item_reference", "id": newest}
    (request,) = line.send("response.create", response={"conversation": "none", "input": [*said, reference]})
    assert request.options.aside
    assert [(item.content, item.id) for item in request.options.input] == [("Sort: b a", ""), ("", newest)]
    before = len(line.events)
    line.begin(1, request.options)
    line.hear(line.dialect.reply_words(1, ["a b"]))
    line.hear(line.dialect.reply_called(1, 0, CALL))
    line.end(1, text="a b")
    assert not [event["type"] for event in line.events[before:] if event["type"].startswith("conversation.")]
    assert line.last("response.done")["response"]["conversation_id"] is None
    line.speak("And?", at_s=5)
    assert line.last("input_audio_buffer.committed")["previous_item_id"] == newest


def test_an_answer_that_grew_too_long_is_incomplete():
    line = Line()
    line.answer(1, "One ", "two ")
    outcome = ReplyOutcome(
        1, "completed", "", "One two", "One two", 9, False, 20, 3, 90.0, 60.0, stopped="length"
    )
    line.hear(line.dialect.reply_ended(outcome))
    done = line.last("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert done["output"][0]["status"] == "incomplete"


# --- the session object


def test_null_turn_detection_is_a_manual_turn():
    line = Line()
    session = line.update(audio={"input": {"turn_detection": None}})
    assert session["audio"]["input"]["turn_detection"] is None
    assert line.dialect.wishes.detection == "manual"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_updates_are_merged_deeply():
    line = Line()
    line.update(instructions="Be kind.", audio={"output": {"speed": 1.2}}, tools=[])
    line.update(tracing=None)
    session = line.update(audio={"input": {"noise_reduction": {"type": "near_field"}}})
    assert session["instructions"] == "Be kind."
    assert session["audio"]["output"]["speed"] == 1.2
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    assert line.dialect.wishes.speed == 1.2
    assert line.update(instructions="")["instructions"] == line.dialect.wishes.instructions == ""


def test_turn_detection_is_echoed_with_its_effective_values():
    line = Line()
    session = line.update(
        audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700}}}
    )
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 700,
        "idle_timeout_ms": None, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert (line.dialect.wishes.detection, line.dialect.wishes.pause_ms) == ("silence", 700)
    line.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}})
    assert (line.dialect.wishes.detection, line.dialect.wishes.pause_ms) == ("semantic", None)
    session = line.update(audio={"input": {"turn_detection": {"interrupt_response": False}}})
    assert session["audio"]["input"]["turn_detection"]["eagerness"] == "high"
    assert not line.dialect.wishes.interrupt_response


def detecting(line: Line, **detection: Any) -> dict[str, Any]:
    """The turn detection in effect."""
    return line.update(audio={"input": {"turn_detection": detection}})["audio"]["input"]["turn_detection"]


def test_every_setting_of_server_vad_is_wished_for():
    line = Line()
    asked = {
        "type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 120, "silence_duration_ms": 900,
        "idle_timeout_ms": 6000, "create_response": False, "interrupt_response": False,
    }  # fmt: skip
    assert detecting(line, **asked) == asked
    wishes = line.dialect.wishes
    assert (wishes.threshold, wishes.prefix_ms, wishes.pause_ms) == (0.7, 120, 900)
    assert (wishes.idle_timeout_s, wishes.create_response, wishes.interrupt_response) == (6.0, False, False)
    assert detecting(line, idle_timeout_ms=None)["idle_timeout_ms"] is None
    assert line.dialect.wishes.idle_timeout_s is None


@pytest.mark.parametrize(
    ("eagerness", "patience"), [("low", 2.0), ("medium", 1.0), ("auto", 1.0), ("high", 0.5)]
)
def test_eagerness_is_the_opposite_of_patience(eagerness, patience):
    line = Line()
    assert detecting(line, type="semantic_vad", eagerness=eagerness) == {
        "type": "semantic_vad", "eagerness": eagerness, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert line.dialect.wishes.patience == patience
    assert line.dialect.wishes.threshold is line.dialect.wishes.prefix_ms is None


def test_null_in_a_new_turn_detection_is_the_default():
    session = detecting(Line(), type="server_vad", threshold=None, silence_duration_ms=None)
    assert (session["threshold"], session["silence_duration_ms"]) == (0.5, 500)


def test_an_utterance_begins_some_time_before_its_voice_but_not_before_the_last_one_ended():
    line = Line()
    started = lambda at: line.hear(line.dialect.speech_began(at))[0]["audio_start_ms"]  # noqa: E731
    assert started(S) == 1000  # semantic_vad has no padding
    detecting(line, type="server_vad", prefix_padding_ms=300)
    assert started(S // 10) == 0
    assert started(2 * S) == 1700
    line.hear(line.dialect.speech_stopped(3 * S))
    assert started(3 * S + S // 5) == 3000
    assert started(4 * S) == 3700
    assert started(2 * S) == 2000


def test_an_idle_timeout_is_an_item_of_the_users_without_words():
    line = Line()
    detecting(line, type="server_vad", idle_timeout_ms=6000)
    line.hear(line.dialect.idle_timeout(10 * S))
    line.hear(line.dialect.user_text(SILENCE))
    triggered, *rest = line.events[1:]
    assert triggered["type"] == "input_audio_buffer.timeout_triggered"
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (4000, 10_000)
    assert [event["type"] for event in rest] == [*SPOKEN[2:5], SPOKEN[6]]
    assert rest[0]["item_id"] == triggered["item_id"] == rest[-1]["item_id"]
    assert rest[-1]["transcript"] == ""


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("disabled", Truncation("disabled")),
        ("auto", Truncation()),
        (
            {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 500}},
            Truncation("auto", 0.8, 500),
        ),
        ({"type": "retention_ratio", "retention_ratio": 0}, Truncation("auto", 0.0, None)),
    ],
)
def test_truncation_is_wished_for_and_echoed(asked, meant):
    line = Line()
    assert line.update()["truncation"] == "auto"
    assert line.update(truncation=asked)["truncation"] == asked
    assert line.dialect.wishes.truncation == meant
    assert line.update(truncation=None)["truncation"] == asked
    line.update(truncation="auto")
    assert line.dialect.wishes.truncation == Truncation()


def test_instructions_that_leave_no_room_are_refused():
    line = Line()
    line.dialect = GaDialect("0123456789abcdef", 160, lambda voice: voice, context_tokens=512)
    before = line.update(instructions="Be kind.")
    with pytest.raises(ClientError, match="room for 128") as raised:
        line.send("session.update", session={"type": "realtime", "instructions": "x" * 600})
    assert (raised.value.param, raised.value.wire_code) == ("session.instructions", "context_length_exceeded")
    assert line.update() == before


def test_consent_to_recording_is_ours_and_echoed():
    line = Line()
    assert not line.dialect.wishes.allow_recording
    assert line.update(antiphon={"allow_recording": True})["antiphon"] == {
        "allow_recording": True,
        "record_audio": False,
    }
    assert line.update(instructions="Be kind.")["antiphon"] == {
        "allow_recording": True,
        "record_audio": False,
    }
    assert line.dialect.wishes.allow_recording
    assert line.update(antiphon={"record_audio": True})["antiphon"]["record_audio"]
    assert line.dialect.wishes.record_audio
    line.update(antiphon={"allow_recording": False, "resume_token": "x"})
    assert not line.dialect.wishes.allow_recording
    assert "resume_token" not in line.hear(line.dialect.configured())[0]["session"]["antiphon"]


def test_null_where_nothing_can_be_none_changes_nothing():
    line = Line()
    before = line.update(instructions="Be kind.")
    assert line.update(instructions=None, audio=None, tools=None, max_output_tokens=None) == before


@pytest.mark.parametrize(
    ("asked", "echoed", "meant"), [(100_000, 4096, 4096), (10, 10, 10), ("inf", "inf", 256)]
)
def test_max_output_tokens_is_bounded(asked, echoed, meant):
    line = Line()
    assert line.update(max_output_tokens=asked)["max_output_tokens"] == echoed
    assert line.dialect.wishes.max_tokens == meant


def test_the_voice_is_locked_once_it_was_heard():
    line = Line()
    line.update(audio={"output": {"voice": "cedar"}})
    assert line.dialect.wishes.voice == "engine-cedar"
    line.answer(1, "Yes.")
    line.update(audio={"output": {"voice": "cedar"}})
    with pytest.raises(ClientError, match="voice cannot change") as raised:
        line.update(audio={"output": {"voice": {"id": "marin"}}})
    assert raised.value.wire_code == "cannot_update_voice"
    assert line.dialect.wishes.voice == "engine-cedar"


def test_what_only_we_may_set_stays():
    session = Line().update(id="sess_mine", expires_at=1, object="x", unheard_of=1)
    assert "unheard_of" not in session
    assert (session["id"], session["object"]) == ("sess_0123456789abcdef", "realtime.session")
    assert session["expires_at"] > 1


# --- what people get wrong


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

TOOL = {"type": "function", "name": "weather", "description": "Of a town.", "parameters": {"type": "object"}}

#: What is sent; the field and the words of the error.
MISTAKES = {
    "broken JSON": ('{"type": ', None, "not JSON"),
    "not an object": ('"hello"', None, "JSON object"),
    "nested too deeply to read": ('{"type":' + '{"a":' * 50_000, None, "not JSON|nested"),
    "nested too deeply to keep": (updating(audio={"x": nested(900)}), "session", "nested"),
    "an unknown event": (sending("session.refresh"), "type", "no event type 'session.refresh'"),
    "an event with a very long type": (sending("x" * 5000), "type", "no event type"),
    "no type": ('{"event_id": "e7"}', None, "type"),
    "wrong base64": (sending("input_audio_buffer.append", audio="&&"), "audio", "base64"),
    "odd bytes": (sending("input_audio_buffer.append", audio="AAAA"), "audio", "even number"),
    "no audio field": (sending("input_audio_buffer.append"), None, "`audio`"),
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
    "a transcription session": (updating(type="transcription"), "session.type", "transcription"),
    "the other dialect": (
        sending("session.update", session={"voice": "v", "allow_recording": True}), "session", "dialect=unmute",
    ),
    "an item of no kind": (typing(type="mcp_call"), "item.type", "not supported"),
    "a result of no call": (typing(type="function_call_output", output="1"), "item.call_id", "missing"),
    "a tool that must be called and is none": (
        updating(tools=[TOOL], tool_choice={"type": "function", "name": "other"}), "session.tool_choice",
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
    "an image": (typing(type="message", content=[{"type": "input_image"}]), "item.content", "input_image"),
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


# --- a later connection


def test_a_later_connection_goes_on():
    line = Line()
    line.update(instructions="Be kind.", audio={"output": {"voice": "cedar"}})
    line.speak("Hello")
    line.answer(1, "Yes, ")
    line.hear(line.dialect.speech_began(5 * S))
    line.hear(line.dialect.committed())
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(line.dialect.snapshot()))

    later = Line()
    later.dialect.restore(saved)
    assert later.dialect.wishes == line.dialect.wishes
    (created,) = later.hear(later.dialect.greeting(resumed=True, token="s.t"))
    assert created["event_id"] not in [event["event_id"] for event in line.events]
    assert created["session"]["instructions"] == "Be kind."
    later.hear(later.dialect.reply_started(1, ReplyOptions(later.dialect.wishes), again=True))
    assert later.last("response.created")["response"]["id"] == line.last("response.created")["response"]["id"]
    later.hear(later.dialect.user_text("Wait"))
    waiting = line.last("input_audio_buffer.committed")["item_id"]
    assert later.last("conversation.item.input_audio_transcription.completed")["item_id"] == waiting
