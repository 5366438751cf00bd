"""When something was said: by a turn and what happens in it, by a reply and how it was played."""

import msgspec
import pytest

from config.messages import ChatMessage, Transcript
from config.settings import load
from web import actions
from web.clock import SessionClock
from web.config import Wishes
from web.happenings import Tick
from web.history import History, Scene
from web.items import Item, Items
from web.moments import Times, answer, utterance
from web.pacing import Playback
from web.past_replies import PastReplies, PastReply
from web.reply import Reply
from web.reply_options import ReplyOptions
from web.turn_state import Turn

S = 24_000


@pytest.mark.parametrize(
    ("before", "happening", "expected"),
    [
        pytest.param(Turn(), Transcript("hi", S, 2 * S, final=True), (S, 2 * S), id="a transcript knows it"),
        pytest.param(Turn(voice_from=S, settled_to=3 * S), Tick(4 * S), (S, 3 * S), id="understood before the end"),
        pytest.param(Turn(voice_from=3 * S, settled_to=2 * S), Tick(4 * S), (2 * S, 2 * S), id="never backwards"),
    ],
)  # fmt: skip
def test_an_utterance_has_the_time_of_its_words(before, happening, expected):
    assert utterance(before, happening) == expected


def reply(sent: int = 0, *, before: int = 0) -> Reply:
    """Of whose sound so much was sent at 10 s of the monotonic clock."""
    made = Reply(1, Playback(lead_ms=160, sent=before), 0.0, ReplyOptions(Wishes()))
    if sent:
        made.playback.send(sent, 10.0)
    return made


def test_a_reply_sounds_from_its_first_packet_to_its_end():
    assert answer(reply(2 * S), 30 * S, 12.0) == (28 * S, 30 * S)


def test_a_reply_that_was_held_back_ended_there():
    made = reply(2 * S)
    made.playback.mute(11.0)
    assert answer(made, 30 * S, 14.0) == (26 * S, 28 * S), "what had been sent was played"
    made.playback.report(S)
    assert answer(made, 30 * S, 14.0) == (26 * S, 27 * S), "unless its player stopped at once"


def test_of_a_reply_that_an_earlier_connection_began_the_length_is_known():
    assert answer(reply(S, before=3 * S), 30 * S, 11.0) == (26 * S, 30 * S)


def test_a_reply_without_sound_took_no_time():
    assert answer(reply(), 30 * S, 12.0) == (30 * S, 30 * S)


# --- while no sound is sent


def test_sound_that_flows_keeps_its_samples():
    clock = SessionClock(0.0)
    times = Times(clock, 0.0)
    for packet in range(1, 101):
        clock.receive(S // 10, packet / 10 + 0.3)  # 0.3 s late, all of them
        assert times.told((0, clock.received), packet / 10 + 0.3) == (0, clock.received)


def test_a_pause_in_which_nothing_was_sent_took_its_time():
    clock = SessionClock(0.0)
    times = Times(clock, 0.0)
    told = []
    for began_s in (0.0, 10.0, 20.0):  # a button is held for two seconds, then it is quiet for eight
        start = clock.received
        for packet in range(20):
            clock.receive(S // 10, began_s + (packet + 1) / 10)
        told.append(times.told((start, clock.received), began_s + 2.0))
    assert told == [(0, 2 * S), (10 * S, 12 * S), (20 * S, 22 * S)]


def test_a_reply_in_such_a_pause_comes_before_what_is_said_after_it():
    clock = SessionClock(0.0)
    times = Times(clock, 0.0)
    clock.receive(2 * S, 2.0)
    heard = times.told((2 * S, clock.now(6.0)), 6.0)
    start = clock.receive(S, 9.0)
    said = times.told((start, clock.received), 9.0)
    assert 2 * S <= heard[0] < heard[1] <= 6 * S < said[0]
    assert said == (8 * S, 9 * S)


def test_a_stall_whose_sound_comes_later_is_no_pause():
    clock = SessionClock(0.0)
    times = Times(clock, 0.0)
    clock.receive(S, 1.0)
    assert times.now(5.0)[0] == clock.now(5.0)
    clock.receive(4 * S, 5.0)
    assert times.told((S, 5 * S), 5.0) == (S, 5 * S)


def test_sound_that_comes_faster_than_it_was_spoken_does_not_make_time_go_back():
    clock = SessionClock(0.0)
    times = Times(clock, 0.0)
    clock.receive(60 * S, 1.0)
    assert times.told((0, 60 * S), 1.0) == (0, 60 * S)
    assert times.now(2.0) >= (60 * S, 60 * S)


# --- in the history


def scene(of: Reply | None = None) -> Scene:
    return Scene(Wishes(), None, of, next_number=2, user_item="u1", said=(S, 2 * S))


class Stopped(SessionClock):
    """It is `at`."""

    def __init__(self, at: int) -> None:
        super().__init__(0.0, at)

    def now(self, now_s: float) -> int:
        return self.received


def test_what_is_said_typed_and_answered_keeps_its_time():
    history = History([], load(), Stopped(9 * S))
    history.remember(actions.TakeText("Hi"), scene())
    history.add(Item("user", "typed", id="t"))
    made = reply()
    made.words, made.options = ["Well."], ReplyOptions(Wishes(text_only=True))
    history.remember(actions.EndReply(1), scene(made))
    assert [item.span for item in history.newest] == [(S, 2 * S), (9 * S, 9 * S), (9 * S, 9 * S)]


def test_time_does_not_go_back_when_the_clock_stood_while_nobody_was_connected():
    history = History([Item("user", "typed", span=(50 * S, 60 * S))], load(), Stopped(0))
    history.add(Item("user", "later", id="t"))
    assert history.newest[-1].span == (60 * S, 60 * S)


def test_a_reply_of_which_less_was_heard_was_shorter():
    items = Items([Item("assistant", "one two", id="a", span=(S, 3 * S))])
    past = PastReplies()
    past.add(1, PastReply(["one ", "two"], {0: (0, S), 1: (S, 2 * S)}, 2 * S, "a"))
    assert past.mend(items, 1, S)
    assert items[0].span == (S, 2 * S)


def test_a_version_that_knows_no_times_reads_the_history_and_is_read():
    saved = msgspec.msgpack.encode([Item("user", "hi", id="u", span=(S, 2 * S))])
    assert msgspec.msgpack.decode(saved, type=list[ChatMessage]) == [ChatMessage("user", "hi")]
    assert msgspec.msgpack.decode(saved, type=list[Item])[0].span == (S, 2 * S)
    old = msgspec.msgpack.encode([{"role": "user", "content": "hi", "id": "u", "spoken": True}])
    assert msgspec.msgpack.decode(old, type=list[Item])[0].span is None
