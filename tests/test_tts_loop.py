"""The TTS loop on a real server: what it makes of the text it reads."""

import time
from collections.abc import Callable, Sequence

import pytest
import redis

from config import redis_keys as keys
from config.messages import (
    Body,
    Claimed,
    Consulted,
    Consulting,
    Failed,
    Order,
    Result,
    TextDone,
    ToolCall,
    Words,
    decode_result,
)
from config.versions import VERSION
from gpu_workers.engine import Say, VoiceOptions
from gpu_workers.tts.null import NullTts, Settings
from tasks.leases import Emitter, Lease
from tasks.tts_loop import HURRY_S, Mouth, TtsLoop

REPLY = 1


class Desk:
    """One loop with one seat; the test is the thread that turns it."""

    def __init__(self, media: redis.Redis, sid: str) -> None:
        self.media = media
        self.sid = sid
        self.emitter = Emitter(media, keep_items=4000, ttl_s=600)
        engine = NullTts(Settings(first_audio_after_s=0.0, speed_x_realtime=100.0), 1)
        self.loop = TtsLoop(engine, media, self.emitter, slots=1, ahead_s=100.0)
        self.mouth = Mouth(Lease("tts", sid, "me", 1, REPLY), 0, order=Order(REPLY, [], "null", "pcm16"))
        self.loop.enter(self.mouth)
        self.loop._admit()
        self._pen = Lease("llm", sid, "writer", 1, REPLY)

    def write(self, *bodies: Body) -> None:
        for body in bodies:
            self._pen.last_seq += 1
            result = Result(VERSION, "llm", 1, REPLY, self._pen.last_seq, 0, body)
            self.emitter.emit([(self._pen, result)])

    def turn_until_over(self) -> None:
        for _ in range(1000):
            self.loop.turn()
            if self.mouth.over.is_set():
                self.loop.outbox.flush()
                return
        pytest.fail("the seat is never over")

    def said(self) -> list[Body]:
        stream = self.media.xrange(keys.replay("tts", self.sid, REPLY))
        return [decode_result(fields[b"d"]).body for _, fields in stream]


@pytest.fixture
def desk(media: redis.Redis, new_sid: Callable[[], str]) -> Desk:
    return Desk(media, new_sid())


def test_words_that_come_twice_are_spoken_once(desk: Desk) -> None:
    desk.write(Words(0, ["one ", "two "], 0.0), Words(1, ["two ", "three."], 0.0), TextDone(3, "stop"))
    desk.turn_until_over()
    spoken = [word.index for body in desk.said() for word in getattr(body, "words", ())]
    assert spoken == [0, 1, 2]
    assert desk.mouth.done


def test_a_hole_in_the_text_fails_the_reply_instead_of_skipping_words(desk: Desk) -> None:
    desk.write(Words(0, ["one ", "two "], 0.0), Words(5, ["six "], 0.0), TextDone(6, "stop"))
    desk.turn_until_over()
    assert isinstance(desk.said()[-1], Failed)


class Listener(NullTts):
    """Notes what it is fed."""

    def __init__(self) -> None:
        super().__init__(Settings(first_audio_after_s=0.0, speed_x_realtime=100.0), 1)
        self.fed: list[Say] = []

    def feed(self, slot: int, say: Say) -> None:
        self.fed.append(say)
        super().feed(slot, say)


def test_a_voice_is_told_where_the_text_rests(media: redis.Redis, new_sid: Callable[[], str]) -> None:
    call = ToolCall("c1", "weather", "{}")
    desk, engine = Desk(media, new_sid()), Listener()
    desk.loop._engine = engine
    engine.open(0, VoiceOptions("null"))
    desk.write(Consulting([call], 11.0), Words(0, ["One ", "moment. "], 0.0, True), Consulted(["Sunny."]))
    desk.write(
        Words(2, ["Sunny, "], 0.0), Consulting([call], 11.0), Consulted(["Warm."]), Words(3, ["warm."], 0.0)
    )
    desk.write(TextDone(4, "stop"))
    desk.turn_until_over()
    assert engine.fed == [
        Say(["One ", "moment. "], pause=True), Say(["Sunny, "]), Say(pause=True), Say(["warm."]), Say(last=True),
    ]  # fmt: skip


class Chat(Desk):
    """The same with a reply beside it that has much to say."""

    def __init__(self, media: redis.Redis, sid: str, other: str) -> None:
        super().__init__(media, sid)
        self.engine = Told(slots=2, batch=2)
        self.loop = TtsLoop(self.engine, media, self.emitter, slots=2, ahead_s=1000.0)
        self.mouth, talker = (
            Mouth(Lease("tts", of, "me", 1, REPLY), slot, order=Order(REPLY, [], "null", "pcm16"))
            for slot, of in enumerate((sid, other))
        )
        for mouth in (self.mouth, talker):
            self.loop.enter(mouth)
        self.loop._admit()
        self.loop._take(talker, Words(0, ["word "] * 1000, 0.0))

    def turn_until_stepped(self) -> None:
        before = len(self.engine.wanted)
        for _ in range(1000):
            self.loop.turn()
            if len(self.engine.wanted) > before:
                return
        pytest.fail("no step is ever taken")


def test_what_was_written_is_read_before_the_next_step_however_much_others_have_to_say(media, new_sid):
    chat = Chat(media, new_sid(), new_sid())
    for number in range(8):
        chat.write(Words(number, ["word "], 0.0))
        chat.turn_until_stepped()
        assert chat.mouth.words == number + 1
        chat.turn_until_stepped()


def test_text_that_cannot_be_read_fails_its_own_reply_alone(media, new_sid):
    chat = Chat(media, new_sid(), new_sid())
    media.xadd(keys.replay("llm", chat.sid, REPLY), {"d": b"not of ours"}, id="1-1")
    chat.turn_until_over()
    assert chat.mouth.done and [type(body) for body in chat.said()] == [Claimed, Failed]
    assert len(chat.loop.seats) == 1
    chat.turn_until_stepped()


def test_a_word_that_an_engine_chokes_on_fails_its_own_reply_alone(media, new_sid):
    chat = Chat(media, new_sid(), new_sid())
    chat.engine.close(chat.mouth.slot)  # it then knows nothing of the slot
    chat.write(Words(0, ["word "], 0.0))
    chat.turn_until_over()
    assert isinstance(chat.said()[-1], Failed) and len(chat.loop.seats) == 1


# --- who steps, and when


class Told(NullTts):
    """An engine that remembers who was wanted in each step, and has nothing for some."""

    def __init__(self, slots: int, batch: int) -> None:
        super().__init__(Settings(first_audio_after_s=0.0, speed_x_realtime=1e6, batch=batch), slots)
        self.wanted: list[list[int]] = []
        self.nothing_for: set[int] = set()

    def step(self, wanted: Sequence[int]):
        self.wanted.append(list(wanted))
        return super().step([slot for slot in wanted if slot not in self.nothing_for])


class Room:
    """One loop with many seats that all have text; nothing goes to a server."""

    def __init__(self, slots: int, batch: int) -> None:
        self.engine = Told(slots, batch)
        nowhere = redis.Redis(port=1)
        self.loop = TtsLoop(self.engine, nowhere, Emitter(nowhere, 10, 10), slots, ahead_s=2.0)
        self.mouths = [self.seat(slot) for slot in range(slots)]

    def seat(self, slot: int) -> Mouth:
        mouth = Mouth(Lease("tts", f"sid{slot}", "me", 1, REPLY), slot, order=Order(REPLY, [], "n", "pcm16"))
        self.loop.seats[mouth.sid, REPLY] = mouth
        self.loop.begin(mouth)
        self.loop._take(mouth, Words(0, ["word "] * 100, 0.0))
        return mouth

    def step(self) -> list[int]:
        """Slots of the next step; nobody, if none is due when the shortest beat is over."""
        self.loop._stepped_at = 0.0
        due, _ = self.loop._due()
        if not due:
            return []
        self.loop._step(due)
        return self.engine.wanted[-1]

    def give(self, mouth: Mouth, seconds: float) -> None:
        """As if so much of its sound were in hand, and it had begun."""
        mouth.playback.begun = True
        mouth.playback.ends_s += seconds + HURRY_S

    def all_calm(self) -> None:
        for mouth in self.mouths:
            self.give(mouth, 60.0)


def test_no_step_takes_more_than_a_batch_and_all_have_their_turn():
    room = Room(slots=5, batch=2)
    steps = [room.step() for _ in range(12)]
    assert {len(step) for step in steps} == {2}
    assert {slot for step in steps for slot in step} == set(range(5))


def test_the_least_sound_in_hand_steps_first():
    room = Room(slots=3, batch=1)
    room.give(room.mouths[0], 0.5)
    room.give(room.mouths[2], 0.3)
    assert room.step() == [1]


def test_a_reply_with_enough_in_hand_waits_until_more_of_it_was_heard():
    room = Room(slots=1, batch=1)
    made = 0
    while room.loop._due()[0]:
        room.step()
        room.loop._all_stepped_at = 0.0
        made += 1
    assert made == 25, "2 s of 80 ms frames"
    room.mouths[0].playback.hear(24_000, 0.0)
    assert room.step() == [0]


def test_without_hurry_steps_keep_the_calm_beat():
    room = Room(slots=2, batch=2)
    room.all_calm()
    assert room.step(), "nobody has stepped yet"
    assert room.step() == []
    _, wait_s = room.loop._due()
    assert 0.0 < wait_s <= 0.04


def test_one_in_a_hurry_takes_the_others_along():
    room = Room(slots=3, batch=3)
    room.all_calm()
    room.step()
    room.mouths[1].playback.ends_s = 0.0
    assert sorted(room.step()) == [0, 1, 2]


def test_one_whose_engine_has_nothing_yet_is_tried_alone():
    room = Room(slots=3, batch=3)
    room.all_calm()
    room.engine.nothing_for = {1}
    room.step()
    room.mouths[1].playback.ends_s = 0.0
    assert room.step() == [1]
    room.loop._all_stepped_at = 0.0
    assert sorted(room.step()) == [0, 1, 2], "the calm beat of the others goes on"


def test_a_reply_that_has_no_text_takes_no_place():
    room = Room(slots=3, batch=3)
    room.mouths[1].has_text = False
    assert sorted(room.step()) == [0, 2]


def test_engines_that_have_nothing_are_asked_again_after_a_beat_and_not_at_once():
    room = Room(slots=3, batch=3)
    room.engine.nothing_for = {0, 1, 2}
    assert room.step()
    room.loop._stepped_at = time.monotonic() + 60.0
    due, wait_s = room.loop._due()
    assert not due and wait_s > 0.0
    room.loop._batcher.fed(1)
    assert room.loop._due()[0], "words came for one of them"


def test_many_engines_that_have_nothing_are_not_asked_without_a_pause_either():
    room = Room(slots=3, batch=1)
    room.engine.nothing_for = {0, 1, 2}
    for _ in range(3):
        room.step()
    room.loop._stepped_at = time.monotonic() + 60.0
    assert not room.loop._due()[0]
