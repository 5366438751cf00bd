"""Responses of the GA dialect that are not plain speech: functions, and what a client asks for otherwise."""

from config.messages import Tool
from tests.ga_line import BEGUN, CALL, DONE, TOOL, VOICED, Line
from web.dialects.base import ReplyOutcome

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
    assert line.kinds() == ["response.created", "rate_limits.updated", *CALLED * 2, "response.done"]
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
