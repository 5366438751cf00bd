"""What the loops do when an engine fails: whose seats are over, whether the loop goes on, who is told."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import redis

from config import metrics
from config.errors import DeviceLost
from config.messages import Audio, ChatMessage, Listen, Order, VoiceStarted
from gpu_workers.engine import Prompt
from gpu_workers.llm import null as llm_null
from gpu_workers.null_faults import Faults
from gpu_workers.stt import null as stt_null
from tasks import streams
from tasks.leases import Emitter, Lease
from tasks.llm_loop import PREFILLS_PER_SLOT, LlmLoop, Pen
from tasks.loop import MOST_FAILURES, Loop
from tasks.seat import Seat
from tasks.stt_loop import Ear, SttLoop
from tests.samples import Change

DEADLINE_S = 10.0

SLOTS = 4


class Desk:
    """A running loop, with somebody who is told when it breaks."""

    def __init__(self, loop: Loop, media: redis.Redis, new_sid: Callable[[], str]) -> None:
        self.loop = loop
        self.why: list[str] = []
        self.told = threading.Event()
        self._media = media
        self._new_sid = new_sid
        loop.when_broken = self._note
        loop.start()

    def _note(self, why: str) -> None:
        self.why.append(why)
        self.told.set()

    def listen(self, frames: int = 0) -> Ear:
        """Takes a seat for a session with so many frames of input."""
        sid = self._new_sid()
        packets = [np.zeros(1920, "<i2").tobytes()] * frames
        if packets:
            streams.Inputs(self._media, 30).append([(sid, Audio(0, packets, 0.0))])
        slot = self.loop.take_slot()
        assert slot is not None
        ear = Ear(Lease("stt", sid, "me-1", 1), slot, listen=Listen("pcm16"))
        self.loop.enter(ear)
        return ear

    def seated(self) -> float | None:
        return metrics.seats_taken.labels(self.loop.stage)._value.get()


def over(seat: Seat) -> bool:
    return seat.over.wait(DEADLINE_S)


@pytest.fixture
def desk(media: redis.Redis, new_sid: Callable[[], str]) -> Iterator[Callable[..., Desk]]:
    """Makes desks of listeners that fail as asked; ends them all."""
    desks: list[Desk] = []

    def make(**faults: Any) -> Desk:
        engine = stt_null.NullStt(stt_null.Settings(fails=Faults(**faults)), SLOTS)
        desks.append(Desk(SttLoop(engine, media, Emitter(media, 100, 60), SLOTS), media, new_sid))
        return desks[-1]

    yield make
    for made in desks:
        made.loop.stop()
        made.loop.join(DEADLINE_S)


def test_a_lost_device_ends_the_loop_and_every_seat_undone(desk):
    lost = desk(device_at_step=3)
    seats = [lost.listen(), lost.listen(frames=9)]
    assert all(map(over, seats)) and not any(seat.done for seat in seats)
    lost.loop.join(DEADLINE_S)
    assert not lost.loop.is_alive()
    assert lost.why == ["stt gives 2 seats back and ends: the null engine was asked to lose its device"]
    assert lost.loop.take_slot() is None and lost.loop.free == 0


def test_everyone_is_named_who_has_a_seat_or_waits_for_one(desk):
    slow = desk()
    seats = [slow.listen() for _ in range(3)]
    slow.loop.stop()
    slow.loop.join(DEADLINE_S)
    late = Ear(Lease("stt", "late", "me-1", 1), 3, listen=Listen("pcm16"))
    slow.loop.enter(late)
    assert late in slow.loop.everyone() and len(seats) == 3


def test_a_slot_that_goes_wrong_ends_its_own_seat_alone(desk):
    shed = Change("antiphon_slots_shed_total", stage="stt")
    frail = desk(slot_at_step=2)
    lost, other = frail.listen(frames=2), frail.listen()
    assert over(lost) and not lost.done and shed() == 1
    assert frail.loop.is_alive() and not other.over.is_set() and frail.why == []


def test_a_seat_whose_lease_was_lost_is_counted(desk):
    lost = Change("antiphon_seats_lost_total", stage="stt")
    seat = desk().listen()
    seat.lost = True
    assert over(seat) and not seat.done and lost() == 1


def test_a_seat_that_was_called_off_is_not_lost(desk):
    lost = Change("antiphon_seats_lost_total", stage="stt")
    seat = desk().listen()
    seat.call_off()
    assert over(seat) and not seat.done and lost() == 0


def test_a_slot_that_cannot_be_opened_ends_its_own_seat_alone(desk, caplog):
    frail = desk(raise_at_open=2)
    first = frail.listen()
    second = frail.listen()
    with caplog.at_level(logging.ERROR):
        assert over(second) and not second.done
    assert frail.loop.is_alive() and not first.over.is_set()


class Unclosable(stt_null.NullStt):
    """Fails once more when a slot that failed is closed."""

    def close(self, slot: int) -> None:
        raise KeyError(slot)


def test_a_slot_that_cannot_be_closed_either_ends_its_own_seat_alone(media, new_sid):
    engine = Unclosable(stt_null.Settings(fails=Faults(slot_at_step=1)), SLOTS)
    frail = Desk(SttLoop(engine, media, Emitter(media, 100, 60), SLOTS), media, new_sid)
    lost, other = frail.listen(frames=1), frail.listen()
    assert over(lost)
    assert frail.loop.is_alive() and not other.over.is_set()
    frail.loop.stop()
    assert over(other)


def test_a_step_that_raises_hands_its_seats_back_and_the_loop_goes_on(desk):
    frail = desk(raise_at_step=1)
    seats = [frail.listen(), frail.listen(frames=1)]
    assert all(map(over, seats)) and not any(seat.done for seat in seats)
    assert frail.loop.is_alive() and frail.why == []
    assert not frail.listen(frames=3).over.wait(0.3)


def test_steps_that_raise_again_and_again_are_a_lost_device(desk):
    broken = desk(raise_at_step=1, raise_steps=99)
    for _ in range(MOST_FAILURES):
        seat = broken.listen(frames=1)
        assert over(seat)
        broken.loop.give_slot_back(seat.slot)
    assert broken.told.wait(DEADLINE_S)
    assert "failed 5 times" in broken.why[0] and "RuntimeError" in broken.why[0]


def test_seats_are_counted_as_they_are_taken_and_left(desk):
    counted = desk(slot_at_step=1)
    assert counted.seated() == 0
    seat, other = counted.listen(frames=1), counted.listen()
    assert over(seat)
    assert counted.seated() == 1
    counted.loop.stop()
    assert over(other)
    counted.loop.join(DEADLINE_S)
    assert counted.seated() == 0


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the older one comes late"])
def test_a_seat_claimed_again_by_the_same_worker_ends_the_one_before_it_alone(media, new_sid, late):
    loop = SttLoop(stt_null.NullStt(stt_null.Settings(), SLOTS), media, Emitter(media, 100, 60), SLOTS)
    sid = new_sid()
    first, second = (
        Ear(Lease("stt", sid, "me-1", epoch), slot, listen=Listen("pcm16"))
        for epoch, slot in ((1, 0), (2, 1))
    )
    for ear in (second, first) if late else (first, second):
        loop.enter(ear)
    loop._admit()
    assert first.over.is_set() and first.lost and not first.done
    assert not second.over.is_set() and loop.everyone() == [second]
    loop.leave(first, done=True)
    assert loop.everyone() == [second], "who has left takes nobody along"
    loop.leave(second, done=True)
    assert not loop.seats and loop.held == [second], "what it said is not stored: the lease is kept"
    loop.publish()
    loop.outbox.settle()
    loop.see_off()
    assert second.over.is_set() and second.done and not loop.held


def test_a_seat_that_ends_before_its_results_are_stored_is_not_done(media, new_sid):
    media.config_set("maxmemory", 1)
    try:
        loop = SttLoop(stt_null.NullStt(stt_null.Settings(), SLOTS), media, Emitter(media, 100, 60), SLOTS)
        seat = Ear(Lease("stt", new_sid(), "me-1", 1), 0, listen=Listen("pcm16"))
        loop.enter(seat)
        loop._admit()
        loop.leave(seat, done=True)
        loop.stop()
        loop.run()
    finally:
        media.config_set("maxmemory", 0)
    assert seat.over.is_set() and not seat.done, "somebody else must say it again"


class LastWord(SttLoop):
    """Says one thing in its only turn."""

    def turn(self) -> None:
        for seat in list(self.seats.values()):
            self.outbox.add(seat, VoiceStarted(7))
        self.stop()


def test_what_the_last_turn_said_is_sent_before_the_loop_ends(media, new_sid):
    loop = LastWord(stt_null.NullStt(stt_null.Settings(), SLOTS), media, Emitter(media, 100, 60), SLOTS)
    ear = Ear(Lease("stt", new_sid(), "me-1", 1), 0, listen=Listen("pcm16"))
    loop.enter(ear)
    loop.start()
    loop.join(DEADLINE_S)
    last = streams.newest_result(media, "stt", ear.sid, 0)
    assert last is not None and last.body == VoiceStarted(7)


# --- llm


class NoPrefill(llm_null.NullLlm):
    """Its device is lost while a prompt is read ahead."""

    async def prefill(self, prompt: Prompt) -> None:
        raise DeviceLost("gone")


ORDER = Order(1, [ChatMessage("user", "hello")], voice="nova", format="pcm16")


def llm_desk(engine: llm_null.NullLlm, media: redis.Redis, new_sid: Callable[[], str]) -> Desk:
    return Desk(LlmLoop(engine, Emitter(media, 100, 60), SLOTS), media, new_sid)


class SlowPrefill(llm_null.NullLlm):
    """Reads until it is let."""

    def __init__(self) -> None:
        super().__init__(llm_null.Settings(), SLOTS)
        self.begun = 0
        self.go_on = asyncio.Event()

    async def prefill(self, prompt: Prompt) -> None:
        self.begun += 1
        await self.go_on.wait()


def test_no_more_prompts_are_read_ahead_than_replies_can_follow(media, new_sid):
    engine = SlowPrefill()
    loop = LlmLoop(engine, Emitter(media, 100, 60), SLOTS)

    async def settle() -> None:
        for _ in range(3):  # to begin, to go on, to be done with
            await asyncio.sleep(0)

    def ask() -> int:
        for _ in range(5 * PREFILLS_PER_SLOT * SLOTS):
            loop.prefill(ORDER, "session")
        loop._loop.run_until_complete(settle())
        return engine.begun

    assert ask() == PREFILLS_PER_SLOT * SLOTS
    engine.go_on.set()
    loop._loop.run_until_complete(settle())
    engine.go_on.clear()
    assert ask() == 2 * PREFILLS_PER_SLOT * SLOTS, "those that were read make room"
    engine.go_on.set()
    loop._loop.run_until_complete(settle())


def test_a_device_lost_in_a_reply_gives_every_reply_back(media, new_sid):
    faults = Faults(device_at_step=5)
    engine = llm_null.NullLlm(llm_null.Settings(first_word_s=0.0, word_interval_s=0.01, fails=faults), SLOTS)
    lost = llm_desk(engine, media, new_sid)
    pens = [Pen(Lease("llm", new_sid(), "me-1", 1, 1), slot, order=ORDER) for slot in range(2)]
    for pen in pens:
        lost.loop.enter(pen)
    assert all(map(over, pens)) and not any(pen.done for pen in pens)
    lost.loop.join(DEADLINE_S)
    assert lost.why == ["llm gives 2 seats back and ends: the null engine was asked to lose its device"]


def test_a_device_lost_while_a_prompt_is_read_ahead_is_noticed(media, new_sid):
    lost = llm_desk(NoPrefill(llm_null.Settings(), SLOTS), media, new_sid)
    assert isinstance(lost.loop, LlmLoop)
    lost.loop.prefill(ORDER, "session")
    assert lost.told.wait(DEADLINE_S) and "gone" in lost.why[0]
    lost.loop.join(DEADLINE_S)
