"""What the web makes of a reply's calls of the server's own functions: its patience, and what is remembered."""

import msgspec
import pytest

from config import redis_keys as keys
from config.messages import (
    ChatMessage,
    Consulted,
    Consulting,
    Order,
    Speech,
    SpokenWord,
    ToolCall,
    Words,
    decode_order,
)
from config.settings import load
from config.tuning import PacingSettings
from tests.test_ga import Line
from web import actions, prompt
from web.config import Truncation, Wishes
from web.history import History, Scene
from web.items import REMEMBERED, Exchange, Item
from web.minutes import minutes
from web.pacing import Playback
from web.replier import Replier
from web.reply import UNFINISHED, Reply
from web.reply_options import ReplyOptions
from web.stage_watch import StageWatch

S = 24_000

CALL = ToolCall("c1", "weather", '{"town": "Rome"}')

AGAIN = ToolCall("c2", "weather", '{"town": "Oslo"}')

EXCHANGE = Exchange((CALL,), ("Sunny.",))


def told_reply() -> Reply:
    """Bridged by a phrase, told the weather; of its four words, a second each, two are the phrase's."""
    reply = Reply(1, Playback(lead_ms=160), 0.0, ReplyOptions(Wishes()), "a1")
    reply.consult(Consulting([CALL], 11.0), 0.0)
    reply.add_words(Words(0, ["One ", "moment. "], 0.0, True), 0.0)
    reply.consult(Consulted(["Sunny."]), 1.0)
    reply.add_words(Words(2, ["It's ", "sunny."], 0.0), 1.0)
    spoken = [SpokenWord(number, number * S, (number + 1) * S) for number in range(4)]
    reply.add_speech(Speech(0, 4 * S, [], spoken, 4, 4 * S), 0.0)
    return reply


def hear(reply: Reply, seconds: float) -> None:
    reply.playback.sent = int(seconds * S)
    reply.playback.report(int(seconds * S))


def kept(action: actions.Action, seconds: float) -> list[Item]:
    reply = told_reply()
    hear(reply, seconds)
    history = History([Item("user", "How is it?", id="u")], load())
    history.remember(action, Scene(Wishes(), None, reply, 2, "u1"))
    return history.newest[1:]


def test_what_only_bridged_a_wait_is_not_remembered_and_what_was_asked_is() -> None:
    (said,) = kept(actions.EndReply(1), 4)
    assert (said.content, said.consulted, said.cut) == ("It's sunny.", (EXCHANGE,), False)


@pytest.mark.parametrize(("seconds", "content"), [(1.5, ""), (2.5, "It's—")])
def test_of_an_interrupted_reply_the_models_own_words_are_kept(seconds: float, content: str) -> None:
    items = kept(actions.CancelReply(1, "turn_detected"), seconds)
    assert [item.content for item in items] == [content]


def cut_off(*news: Consulting | Consulted) -> History:
    """A reply that has said nothing yet when the user interrupts it."""
    reply = Reply(1, Playback(lead_ms=160), 0.0, ReplyOptions(Wishes()), "a1")
    for number, body in enumerate(news):
        reply.consult(body, float(number))
    history = History([Item("user", "How is it?", id="u")], load())
    history.remember(actions.CancelReply(1, "turn_detected"), Scene(Wishes(), None, reply, 2, "u1"))
    return history


@pytest.mark.parametrize(
    ("news", "results"),
    [
        ([Consulting([CALL], 11.0), Consulted(["Sunny."])], ["Sunny."]),
        ([Consulting([CALL], 11.0)], [UNFINISHED]),
        (
            [Consulting([CALL], 11.0), Consulted(["Sunny."]), Consulting([AGAIN], 11.0)],
            ["Sunny.", UNFINISHED],
        ),
    ],
    ids=["one that is over", "one that runs", "one that is over and one that runs"],
)
def test_of_a_reply_cut_off_before_its_first_word_the_model_is_told_what_ran(
    news: list[Consulting | Consulted], results: list[str]
) -> None:
    history = cut_off(*news)
    history.add(Item("user", "Well?", id="w"))
    order = history.remember(actions.StartReply(2), Scene(Wishes(), None, None, 3, ""))[keys.ORDER]
    assert isinstance(order, bytes)
    told = decode_order(order).messages
    assert [message.content for message in told if message.role == "tool"] == results
    assert told[-1] == ChatMessage("user", "Well?")


def test_clients_never_hear_of_what_ran() -> None:
    history = cut_off(Consulting([CALL], 11.0))
    assert history.last_id == "u" and history.add(Item("user", "Well?", id="w")) == "u"
    assert [entry.id for entry in minutes("s", history.newest, closed=False).items] == ["u", "w"]


def test_a_reply_that_asked_for_nothing_and_said_nothing_leaves_nothing() -> None:
    assert [item.id for item in cut_off().newest] == ["u"]


def test_the_client_mends_what_was_heard_without_the_phrase() -> None:
    reply = told_reply()
    hear(reply, 4)
    history = History([], load())
    history.remember(actions.EndReply(1), Scene(Wishes(), None, reply, 2, "u1"))
    assert history.mend(1, int(2.5 * S))
    assert history.newest[0].content == "It's—"


def test_models_are_told_what_was_asked_before_what_was_said() -> None:
    history = [
        Item("user", "How is it?"),
        Item("assistant", "It's sunny.", consulted=(EXCHANGE,)),
        Item("user", "And?"),
    ]
    assert prompt.messages("Be kind.", history)[1:] == [
        ChatMessage("user", "How is it?"),
        ChatMessage("assistant", "", (CALL,)),
        ChatMessage("tool", "Sunny.", tool_call_id="c1"),
        ChatMessage("assistant", "It's sunny."),
        ChatMessage("user", "And?"),
    ]


def test_calls_of_the_clients_and_ours_each_stand_before_their_answers() -> None:
    theirs = ToolCall("t1", "theirs", "{}")
    history = [
        Item("user", "Both?"),
        Item("assistant", "", (theirs,), consulted=(EXCHANGE,)),
        Item("tool", "ours too", tool_call_id="t1"),
        Item("assistant", "", (theirs,), consulted=(EXCHANGE,)),
    ]
    roles = [
        (m.role, [call.id for call in m.tool_calls], m.tool_call_id)
        for m in prompt.messages("x", history)[2:]
    ]
    ours, answer = (
        [("assistant", ["c1"], ""), ("tool", [], "c1")],
        [("assistant", ["t1"], ""), ("tool", [], "t1")],
    )
    assert roles == ours + answer + ours + answer


def test_long_results_are_remembered_in_short_and_count_for_the_room() -> None:
    long = Item("assistant", "Yes.", consulted=(Exchange.of([CALL], ["x" * 4000]),))
    assert len(prompt.messages("", [Item("user", "a"), long])[3].content) == REMEMBERED
    history = [Item("user", "a"), long] * 5
    plain = [Item("user", "a"), Item("assistant", "Yes.")] * 5
    assert prompt.surplus(plain, Truncation(), 600) == 0
    assert prompt.surplus(history, Truncation(), 600) > 0


def test_a_prompt_has_no_more_messages_than_an_order_may_carry() -> None:
    item = Item("assistant", "Yes.", consulted=(EXCHANGE,))
    history = [Item("user", "a"), item] * 300
    asked = prompt.ask(1, Wishes(truncation=Truncation("auto", 0.5, 1_000_000)), history, None)
    assert len(asked.order.messages) <= 1000
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(asked.order), type=Order) == asked.order


def test_a_session_goes_on_with_what_its_replies_asked() -> None:
    item = Item("assistant", "Yes.", id="a", consulted=(EXCHANGE,))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(item), type=Item) == item


@pytest.mark.parametrize(
    ("action", "let_out"),
    [(actions.StartReply(1), 1), (actions.PrepareReply(1, "Hi"), None), (actions.ConfirmReply(1), 1)],
    ids=["a reply that begins", "a reply made ahead", "one that is confirmed"],
)
def test_functions_may_have_effects_only_for(action: actions.Action, let_out: int | None) -> None:
    history = History([Item("user", "Hi", id="u")], load())
    assert history.remember(action, Scene(Wishes(), None, None, 2, "u1")).get(keys.LET_OUT) == let_out


def watched() -> tuple[Replier, StageWatch]:
    dialect = Line().dialect
    replier = Replier(dialect, lambda messages: True, PacingSettings())
    replier.start(1, 10.0, ReplyOptions(dialect.wishes))
    watch = StageWatch("llm", 1, 10.0, 10.0)
    watch.seen(10.0)
    return replier, watch


def test_a_model_is_not_late_while_functions_run_and_soon_after_they_are_over() -> None:
    replier, watch = watched()
    assert replier.overdue(15.5, [watch]) is watch, "without a word of why"
    replier.take(Consulting([CALL], 11.0), 11.0)
    assert replier.overdue(26.0, [watch]) is None
    assert replier.overdue(27.5, [watch]) is watch, "they were to be over by then"
    replier.take(Consulted(["Sunny."]), 20.0)
    assert replier.overdue(24.5, [watch]) is None and replier.overdue(25.5, [watch]) is watch


def test_clients_hear_nothing_of_it() -> None:
    told: list[str] = []
    dialect = Line().dialect
    replier = Replier(dialect, lambda messages: bool(told.extend(messages)) or True, PacingSettings())
    replier.start(1, 10.0, ReplyOptions(dialect.wishes))
    told.clear()
    for body in (Consulting([CALL], 11.0), Consulted(["Sunny."])):
        replier.take(body, 11.0)
    assert told == []


def test_models_are_told_what_was_asked_although_nothing_of_the_answer_was_heard() -> None:
    reply = told_reply()
    hear(reply, 1.5)
    history = History([Item("user", "How is it?", id="u")], load())
    history.remember(actions.CancelReply(1, "turn_detected"), Scene(Wishes(), None, reply, 2, "u1"))
    history.add(Item("user", "Well?"))
    order = history.remember(actions.StartReply(2), Scene(Wishes(), None, None, 3, ""))[keys.ORDER]
    assert isinstance(order, bytes)
    assert [message.content for message in decode_order(order).messages if message.role == "tool"] == [
        "Sunny."
    ]
