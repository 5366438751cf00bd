"""What was said, in the order in which people said it."""

from dataclasses import replace

import msgspec
import pytest

from config import redis_keys as keys
from config.errors import ClientError
from config.messages import ChatMessage, Speech, SpokenWord, ToolCall, Words, decode_order
from config.settings import load
from tests.samples import Change
from web import actions
from web.config import Wishes
from web.history import History, Scene
from web.items import MOST_CHARACTERS, MOST_ITEMS, Item
from web.pacing import Playback
from web.reply import Reply
from web.reply_options import ReplyOptions

S = 24_000


def heard_reply() -> Reply:
    """Two words; the first was heard."""
    reply = Reply(1, Playback(lead_ms=160), 0.0, ReplyOptions(Wishes()), "a1")
    reply.add_words(Words(0, ["Well, ", "no."], 0.0), 0.0)
    reply.add_speech(Speech(0, S, [], [SpokenWord(0, 0, S), SpokenWord(1, S, 2 * S)], 0, 0), 0.0)
    reply.playback.sent = S
    reply.playback.report(S)
    return reply


def scene(reply: Reply | None = None, asked: ReplyOptions | None = None) -> Scene:
    return Scene(Wishes(), asked, reply, next_number=2, user_item="u1")


def test_what_is_typed_while_a_reply_plays_follows_it_and_is_what_is_answered() -> None:
    history = History([], load())
    for action in (actions.TakeText("Hi"), actions.StartReply(1)):
        history.remember(action, scene())
    history.add(Item("user", "What time is it?"))
    history.remember(actions.CancelReply(1, "client_cancelled"), scene(heard_reply()))
    said = [(message.role, message.content) for message in history.newest]
    assert said == [("user", "Hi"), ("assistant", "Well,—"), ("user", "What time is it?")]


def test_a_reply_in_its_place_can_still_be_mended() -> None:
    history = History([], load())
    history.remember(actions.StartReply(1), scene())
    history.add(Item("user", "What time is it?"))
    history.remember(actions.CancelReply(1, "client_cancelled"), scene(heard_reply()))
    assert history.mend(1, 0)
    assert [message.content for message in history.newest] == ["", "What time is it?"]
    assert history.newest[0].cut, "nothing of it was heard, and it is no whole item for that"


def test_what_a_prompt_has_no_room_for_is_counted_once() -> None:
    dropped = Change("antiphon_history_dropped_total")
    settings = load("null")
    choice = settings.llm.model_copy(update={"context_tokens": 1024})
    history = History([], settings.model_copy(update={"llm": choice}))
    for _ in range(8):
        history.add(Item("user", "word " * 200))
        history.add(Item("assistant", "word " * 200))
    history.add(Item("user", "Hello?"))
    history.remember(actions.StartReply(1), scene())
    first = dropped()
    history.remember(actions.StartReply(2), scene())
    assert first > 0 and dropped() == first, "they are gone from the next prompt, too"


def test_items_go_where_the_client_says_and_are_known_by_their_ids() -> None:
    history = History([], load())
    assert history.add(Item("user", "first", id="a")) is None
    assert history.add(Item("user", "last", id="c")) == "a"
    assert history.add(Item("user", "between", id="b"), after="a") == "a"
    assert history.add(Item("system", "above", id="s"), after="root") is None
    assert [item.id for item in history.newest] == ["s", "a", "b", "c"]
    history.delete("c")
    assert history.last_id == "b" and history.find("c") is None


@pytest.mark.parametrize(
    ("act", "code", "param"),
    [
        (
            lambda history: history.add(Item("user", "x", id="b"), after="z"),
            "item_create_invalid_previous_item_id",
            "previous_item_id",
        ),
        (lambda history: history.add(Item("user", "x", id="a")), "item_create_duplicate_item_id", "item.id"),
        (lambda history: history.delete("z"), "item_delete_invalid_item_id", "item_id"),
        (
            lambda history: history.resolved(ReplyOptions(Wishes(), [Item("user", "", id="z")])),
            "invalid_value",
            "response.input",
        ),
    ],
)
def test_an_item_that_is_not_there_is_an_error_that_names_the_field(act, code, param) -> None:
    history = History([Item("user", "hi", id="a")], load())
    with pytest.raises(ClientError) as raised:
        act(history)
    assert (raised.value.wire_code, raised.value.param) == (code, param)
    assert [item.id for item in history.newest] == ["a"]


def test_an_utterance_has_its_place_before_its_words_and_what_is_deleted_does_not_come_back() -> None:
    history = History([], load())
    over = replace(scene(), user_item="u1", closing_item="u1")
    history.remember(actions.CloseUtterance(1), over)
    history.add(Item("user", "typed", id="t"))
    assert history.find("u1") is not None and history.last_id == "t"
    history.remember(actions.TakeText("spoken"), over)
    assert [item.content for item in history.newest] == ["spoken", "typed"]
    second = replace(scene(), user_item="u2", closing_item="u2")
    history.remember(actions.CloseUtterance(2), second)
    history.delete("u2")
    history.remember(actions.TakeText("too late"), second)
    assert [item.id for item in history.newest] == ["u1", "t"]


def test_what_says_nothing_is_not_told_to_a_model() -> None:
    history = History([], load())
    over = replace(scene(), user_item="u1", closing_item="u1")
    for action in (actions.CloseUtterance(1), actions.TakeText(""), actions.StartReply(1)):
        fields = history.remember(action, over)
    order = decode_order(bytes(fields[keys.ORDER]))  # type: ignore[arg-type]
    assert [message.role for message in order.messages] == ["system", "user"]
    assert history.find("u1") is not None


def test_a_client_that_takes_the_id_of_an_utterance_to_come_harms_itself_alone() -> None:
    history = History([Item("user", "mine", id="u1")], load())
    over = replace(scene(), user_item="u1", closing_item="u1")
    history.remember(actions.CloseUtterance(1), over)
    history.remember(actions.TakeText("spoken"), over)
    assert [item.content for item in history.newest] == ["spoken"]


def test_a_reply_stays_where_it_began_whatever_is_put_before_it_or_taken_away() -> None:
    history = History([Item("user", "one", id="a"), Item("user", "two", id="b")], load())
    history.remember(actions.StartReply(1), scene())
    history.delete("a")
    history.add(Item("system", "be kind", id="s"), after="root")
    history.add(Item("user", "three", id="c"))
    history.remember(actions.EndReply(1), scene(heard_reply()))
    assert [item.id for item in history.newest] == ["s", "b", "a1", "c"]


def test_what_a_reply_asked_for_is_kept_behind_what_it_said() -> None:
    reply = heard_reply()
    reply.calls["f1"] = call = ToolCall("call_1", "weather", "{}")
    history = History([Item("user", "Rome?", id="u")], load())
    history.remember(actions.StartReply(1), scene())
    history.remember(actions.EndReply(1), scene(reply))
    said, asked = history.newest[1:]
    assert (said.id, said.spoken, said.cut) == ("a1", True, False)
    assert (asked.id, asked.tool_calls) == ("f1", (call,))


def test_nothing_of_a_reply_outside_the_conversation_is_kept() -> None:
    reply = heard_reply()
    reply.options = ReplyOptions(Wishes(), aside=True)
    history = History([Item("user", "hi", id="u")], load())
    history.remember(actions.EndReply(1), scene(reply))
    assert [item.id for item in history.newest] == ["u"]


def test_a_reply_may_answer_something_else_than_the_conversation() -> None:
    history = History([Item("user", "hello", id="u"), Item("user", "and more", id="v")], load())
    asked = history.resolved(
        ReplyOptions(Wishes(instructions="Sort it."), [Item("user", "", id="u"), Item("user", "now?")])
    )
    order = decode_order(history.remember(actions.StartReply(1), scene(asked=asked))[keys.ORDER])
    assert [message.content for message in order.messages] == ["Sort it.", "hello now?"]


def test_a_version_that_knows_no_items_reads_messages() -> None:
    saved = msgspec.msgpack.encode([Item("user", "hi", id="u", spoken=True)])
    assert msgspec.msgpack.decode(saved, type=list[ChatMessage]) == [ChatMessage("user", "hi")]
    old = msgspec.msgpack.encode([ChatMessage("user", "hi")])
    assert msgspec.msgpack.decode(old, type=list[Item]) == [Item("user", "hi")]


def test_an_id_of_the_servers_own_is_taken_back_from_a_client_who_used_it() -> None:
    history = History([], load())
    history.add(Item("user", "I am your answer.", id="a1"))
    history.add(Item("user", "And I am your question.", id="u1"))
    for action in (actions.TakeText("Hi"), actions.StartReply(1), actions.EndReply(1)):
        history.remember(action, scene(heard_reply()))
    assert [(item.id, item.content) for item in history.newest] == [("u1", "Hi"), ("a1", "Well, no.")]


def test_a_conversation_keeps_no_more_items_than_a_prompt_could_hold() -> None:
    history = History([], load())
    for number in range(MOST_ITEMS + 50):
        history.add(Item("user", str(number), id=f"i{number}"))
    assert history.find("i49") is None
    assert history.find("i50") is not None
    assert history.last_id == f"i{MOST_ITEMS + 49}"


def test_a_conversation_keeps_no_more_than_so_many_characters() -> None:
    history = History([], load())
    for number in range(150):
        history.add(Item("user", "x" * 20_000, id=f"i{number}"))
    assert history.find("i49") is None
    assert history.find("i50") is not None
    for number in range(50, 150):
        history.delete(f"i{number}")
    history.add(Item("user", "x" * (MOST_CHARACTERS - 1), id="large"))
    history.add(Item("user", "y", id="small"))
    assert [item.id for item in history.newest] == ["small"], "what was taken out does not count"
    assert history.find("large") is not None


def test_the_answer_finds_its_place_when_the_oldest_is_forgotten_meanwhile() -> None:
    history = History([], load())
    history.add(Item("user", "x" * (MOST_CHARACTERS - 10), id="large"))
    for action in (actions.TakeText("Hi"), actions.StartReply(1)):
        history.remember(action, scene())
    history.add(Item("user", "What time is it?"))
    history.remember(actions.CancelReply(1, "client_cancelled"), scene(heard_reply()))
    assert [item.content for item in history.newest] == ["Hi", "Well,—", "What time is it?"]


def committed(number: int) -> Scene:
    return replace(scene(), closing_item=f"u{number}", user_item=f"u{number}")


def test_utterances_that_nobody_answers_are_forgotten_too() -> None:
    history = History([], load())
    for number in range(MOST_ITEMS + 50):
        history.remember(actions.CloseUtterance(number), committed(number))
        history.remember(actions.TakeText("Hello"), committed(number))
    assert history.find("u49") is None and history.find("u50") is not None


def test_what_replaces_an_item_of_its_id_leaves_a_reply_its_place() -> None:
    history = History([Item("user", "taken", id="u9"), Item("user", "Hi", id="u1")], load())
    history.remember(actions.StartReply(1), scene())
    history.add(Item("user", "typed", id="t"))
    history.remember(actions.CloseUtterance(1), committed(9))
    history.remember(actions.EndReply(1), scene(heard_reply()))
    assert [item.id for item in history.newest] == ["u1", "a1", "t", "u9"]


def test_a_reply_keeps_its_place_in_another_process() -> None:
    before = History([Item("user", "Hi", id="u1")], load())
    assert before.since_reply is None
    before.remember(actions.StartReply(1), scene())
    before.add(Item("user", "typed", id="t"))
    history = History(before.newest, load(), since_reply=before.since_reply)
    history.add(Item("user", "after it", id="x"), after="a1", under_way="a1")
    history.remember(actions.EndReply(1), scene(heard_reply()))
    assert [item.id for item in history.newest] == ["u1", "a1", "x", "t"]
    assert history.since_reply is None


def test_what_was_deleted_before_its_words_were_known_stays_so_over_a_later_connection() -> None:
    history = History([], load())
    over = replace(scene(), user_item="u1", closing_item="u1")
    history.remember(actions.CloseUtterance(1), over)
    history.delete("u1")
    later = History([], load(), deleted=history.deleted)
    later.remember(actions.TakeText("spoken"), replace(scene(), user_item="u1"))
    assert later.newest == []
