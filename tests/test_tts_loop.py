"""The TTS loop on a real server: what it makes of the text it reads."""

from collections.abc import Callable

import pytest
import redis

from config import redis_keys as keys
from config.messages import VERSION, Body, Failed, Order, Result, TextDone, Words, decode_result
from gpu_workers.tts.null import NullTts, Settings
from tasks.leases import Emitter, Lease
from tasks.tts_loop import Mouth, TtsLoop

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
