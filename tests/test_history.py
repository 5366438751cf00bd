"""What was said, in the order in which people said it."""

from config.messages import ChatMessage, Speech, SpokenWord, Words
from config.settings import load
from tests.samples import Change
from web import actions
from web.config import Wishes
from web.history import History
from web.pacing import Playback
from web.reply import Reply

S = 24_000


def heard_reply() -> Reply:
    """Two words; the first was heard."""
    reply = Reply(1, Playback(lead_ms=160), asked_s=0.0)
    reply.add_words(Words(0, ["Well, ", "no."], 0.0), 0.0)
    reply.add_speech(Speech(0, S, [], [SpokenWord(0, 0, S), SpokenWord(1, S, 2 * S)], 0, 0), 0.0)
    reply.playback.sent = S
    reply.playback.report(S)
    return reply


def test_what_is_typed_while_a_reply_plays_follows_it_and_is_what_is_answered() -> None:
    history = History([], load())
    for action in (actions.TakeText("Hi"), actions.StartReply(1)):
        history.remember(action, Wishes(), None, 2)
    history.add(ChatMessage("user", "What time is it?"))
    history.remember(actions.CancelReply(1, "client_cancelled"), Wishes(), heard_reply(), 2)
    said = [(message.role, message.content) for message in history.newest]
    assert said == [("user", "Hi"), ("assistant", "Well,—"), ("user", "What time is it?")]


def test_a_reply_in_its_place_can_still_be_mended() -> None:
    history = History([], load())
    history.remember(actions.StartReply(1), Wishes(), None, 2)
    history.add(ChatMessage("user", "What time is it?"))
    history.remember(actions.CancelReply(1, "client_cancelled"), Wishes(), heard_reply(), 2)
    assert history.mend(1, 0)
    assert [message.content for message in history.newest] == ["", "What time is it?"]


def test_what_a_prompt_has_no_room_for_is_counted_once() -> None:
    dropped = Change("antiphon_history_dropped_total")
    settings = load("null")
    choice = settings.llm.model_copy(update={"context_tokens": 1024})
    history = History([], settings.model_copy(update={"llm": choice}))
    for _ in range(8):
        history.add(ChatMessage("user", "word " * 200))
        history.add(ChatMessage("assistant", "word " * 200))
    history.add(ChatMessage("user", "Hello?"))
    history.remember(actions.StartReply(1), Wishes(), None, 2)
    first = dropped()
    history.remember(actions.StartReply(2), Wishes(), None, 3)
    assert first > 0 and dropped() == first, "they are gone from the next prompt, too"
