"""The minutes of a session: what stands in them, and how they look as subtitles and as text."""

import json

import pytest

from config.messages import ToolCall
from web import minutes
from web.history import SAVED_MESSAGES
from web.items import Item
from web.minutes import as_json, as_srt, as_text

S = 24_000

TALK = [
    Item("user", "What is the\nweather?", id="u1", spoken=True, span=(S, 3 * S)),
    Item("assistant", "", (ToolCall("c1", "weather", '{"town":"Rome"}'),), id="f1", span=(3 * S, 3 * S)),
    Item("tool", "rain", tool_call_id="c1", id="r1", span=(4 * S, 4 * S)),
    Item("assistant", "It rains, and—", id="a1", spoken=True, cut=True, span=(5 * S, 6 * S + 12)),
    Item("user", "thanks", id="u2", span=(7 * S, 7 * S)),
]


def told(*items: Item) -> minutes.Minutes:
    return minutes.minutes("sess_1", items, closed=False)


def test_all_that_was_said_called_and_answered_is_told_with_its_times() -> None:
    found = json.loads(as_json(told(*TALK)))
    assert (found["object"], found["session_id"], found["closed"], found["note"]) == (
        "session.transcript", "sess_1", False, None,
    )  # fmt: skip
    asked, called, result, answer, typed = found["items"]
    assert asked == {
        "type": "message", "id": "u1", "role": "user", "text": "What is the\nweather?", "spoken": True,
        "interrupted": False, "start": 1.0, "end": 3.0,
    }  # fmt: skip
    assert (called["type"], called["call_id"], called["name"]) == ("function_call", "c1", "weather")
    assert (result["type"], result["call_id"], result["output"]) == ("function_call_output", "c1", "rain")
    assert (answer["text"], answer["interrupted"], answer["end"]) == ("It rains, and", True, 6.0)
    assert (typed["spoken"], typed["start"], typed["end"]) == (False, 7.0, 7.0)


def test_subtitles_are_numbered_and_name_who_speaks() -> None:
    assert as_srt(told(*TALK)).decode() == (
        "1\n00:00:01,000 --> 00:00:03,000\nUser: What is the weather?\n"
        "\n"
        "2\n00:00:05,000 --> 00:00:06,000\nAssistant: It rains, and—\n"
        "\n"
        "3\n00:00:07,000 --> 00:00:08,000\nUser: thanks\n"
    )


def test_text_is_a_line_for_each_who_spoke() -> None:
    lines = as_text(told(*TALK)).decode().splitlines()
    assert lines == ["User: What is the weather?", "Assistant: It rains, and—", "User: thanks"]


def test_a_user_who_said_nothing_is_not_quoted() -> None:
    assert told(Item("user", "...", id="u1", spoken=True, span=(0, S))).items == []


def test_a_reply_of_which_nothing_was_heard_is_not_in_it() -> None:
    assert told(Item("assistant", "", id="a1", spoken=True, cut=True, span=(0, 0))).items == []


def test_what_no_time_is_known_of_comes_right_after_what_stands_before_it() -> None:
    known = Item("user", "one", span=(S, 2 * S))
    found = as_srt(told(known, Item("assistant", "two"), Item("user", "three"))).decode()
    assert "00:00:02,000 --> 00:00:03,000\nAssistant: two" in found
    assert "00:00:03,000 --> 00:00:04,000\nUser: three" in found
    assert json.loads(as_json(told(Item("assistant", "two"))))["items"][0]["start"] is None


def test_subtitles_are_in_order_also_where_one_spoke_over_the_other() -> None:
    over = [Item("assistant", "long", span=(4 * S, 9 * S)), Item("user", "stop", span=(3 * S, 4 * S))]
    found = as_srt(told(*over)).decode()
    assert found.index("User: stop") < found.index("Assistant: long")


def test_subtitles_that_begin_together_begin_one_after_the_other() -> None:
    said = [Item("user", text, span=(S, S)) for text in ("one", "two", "three")]
    found = as_srt(told(*said)).decode()
    starts = [line.partition(" --> ")[0] for line in found.splitlines() if "-->" in line]
    assert starts == ["00:00:01,000", "00:00:01,001", "00:00:01,002"]


@pytest.mark.parametrize("text", ["a --> b", "a\n\nb", "1\n00:00:00,000 --> 00:00:01,000"])
def test_nothing_that_is_said_ends_a_subtitle(text: str) -> None:
    (cue,) = as_srt(told(Item("user", text, span=(0, S)))).decode().rstrip("\n").split("\n\n")
    assert cue.count("\n") == 2 and cue.count("-->") == 1


def test_after_an_hour_the_clock_goes_on() -> None:
    at = 3_723 * S + S // 2
    assert "01:02:03,500 --> 01:02:04,500" in as_srt(told(Item("user", "hi", span=(at, at)))).decode()


def test_nothing_said_is_no_subtitle() -> None:
    assert as_srt(told()) == as_text(told()) == b""


def test_it_says_when_older_items_are_missing() -> None:
    assert told(*[Item("user", "hi")] * (SAVED_MESSAGES - 1)).note is None
    assert "newest 200" in (told(*[Item("user", "hi")] * SAVED_MESSAGES).note or "")
    assert "characters" in (told(*[Item("user", "h" * 60_000)] * 4).note or "")
