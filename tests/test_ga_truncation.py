"""Truncation in the GA dialect: what of a reply the client says was heard."""

from typing import Any

import msgspec
import pytest

from config.errors import ClientError
from tests.ga_conversations import text_only
from tests.ga_line import Line, S
from web.dialects.base import AudioOut, HeardUpTo, ReplyOutcome
from web.dialects.ga_audio import KEPT_REPLIES


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
