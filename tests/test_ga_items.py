"""Items in the GA dialect: how they are made, shown, linked and deleted."""

import pytest

from config.errors import ClientError
from tests.ga_line import CALL, Line
from web.dialects.base import AddItem, RetrieveItem
from web.items import Item


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
    assert (raised.value.wire_code, raised.value.param) == ("item_retrieve_invalid_item_id", "item_id")


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
