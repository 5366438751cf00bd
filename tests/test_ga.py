"""The GA dialect: whole conversations, every message valid to the official SDK."""

from typing import Any, get_args

import msgspec
import pytest
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from config.messages import Transcript
from tests.ga_conversations import CONVERSATIONS, barge_in, goes_on_after_the_end, happy
from tests.ga_line import Line, S
from web.dialects import ga_events as ev
from web.dialects.base import StopReply
from web.reply_options import ReplyOptions

CLIENT = TypeAdapter(RealtimeClientEvent)


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
        "character": None,
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
