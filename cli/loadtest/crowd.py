"""Talkers of one process: `python -m cli.loadtest.crowd FILE` does what the plan in the file says.

Writes one JSON line a second to stdout, a `Gathered` with what is new, and a last one at the end. Nothing is awaited
per packet: packets leave by timers, and what comes is read where it arrives.
"""

import asyncio
import gc
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from cli.call import OPENING_S
from cli.loadtest import figures
from cli.loadtest.gathered import Busy, Gathered
from cli.loadtest.line import Line, LineFailed
from cli.loadtest.plan import Plan
from cli.loadtest.talker import OVERDUE_S, Talker
from cli.loadtest.wires import SUBPROTOCOLS, Heard, Kind, address, prepared, wire

#: How often what is new is told.
TELL_S = 1.0

#: How often it is looked whether the event loop is late.
LOOK_S = 0.1

#: Who talks hangs up within a packet of the end of a plan; who still waits for a session then, does so after this time.
END_S = 1.0

#: After a failure, before the next conversation: who is refused does not hammer.
RETRY_S = 1.0


class Conversation:
    """A talker on a line, from the call to the goodbye."""

    def __init__(self, plan: Plan, talker: Talker, found: Gathered, starts_s: float) -> None:
        self._plan = plan
        self._talker = talker
        self._found = found
        self._loop = asyncio.get_running_loop()
        self._due_s = starts_s
        self._timers: list[asyncio.TimerHandle] = []
        self._beat: asyncio.TimerHandle | None = None
        self._line = Line(
            address(plan.url, plan.dialect), SUBPROTOCOLS[plan.dialect], self._hear, plan.api_key
        )
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self.queued = False
        """Whether it was told to wait for a place."""
        self.done: asyncio.Future[None] = self._loop.create_future()

    async def hold(self) -> None:
        """To its end. Raises LineFailed."""
        dialled_s = time.monotonic()
        try:
            async with asyncio.timeout(OPENING_S):
                await self._line.open()
                self._send(self._talker.wire.hello())
                await self._either(self._ready)
        except TimeoutError:
            raise LineFailed("no session in time", f"not ready after {OPENING_S:.0f} s") from None
        ready_s = time.monotonic()
        if self._plan.measured(ready_s):
            self._found.openings.append(
                (round(ready_s - self._plan.zero_s, 3), round(1000 * (ready_s - dialled_s), 1))
            )
        self._talker.ready_s = ready_s
        self._line.pong = self._pong
        packet_s = self._plan.speech.packet_s
        while self._due_s < ready_s:
            self._due_s += packet_s
        self._beat = self._loop.call_at(self._due_s, self._speak)
        self._ping()
        await self._either(self.done)

    async def _either(self, moment: "asyncio.Future[None]") -> None:
        """Waits for the moment. Raises LineFailed if the line ends before."""
        line = self._line
        both: set[asyncio.Future[Any]] = {moment, line.ended}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not moment.done() and (why := line.ended.result()) is not None:
            raise why
        if moment.done():
            moment.result()

    def hang_up(self) -> None:
        """Whatever state it is in."""
        for timer in (self._beat, *self._timers):
            if timer is not None:
                timer.cancel()
        self._found.received_bytes += self._line.received_bytes
        self._line.hang_up()

    def _send(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self._line.send(message)

    def _speak(self) -> None:
        """A packet leaves; the next is due one packet after this one was, however late this was."""
        now_s = time.monotonic()
        self._line.send(self._talker.speak(now_s))
        if self._plan.begin_s <= now_s:
            figures.count(self._found.sent_late, now_s - self._due_s)
        if self._talker.over or now_s >= self._plan.end_s:
            self._talker.break_off(now_s)
            if not self.done.done():
                self.done.set_result(None)
            return
        self._due_s += self._plan.speech.packet_s
        self._beat = self._loop.call_at(self._due_s, self._speak)

    def _ping(self) -> None:
        self._line.ping(time.monotonic())
        self._timers[:] = [self._loop.call_later(self._plan.ping_every_s, self._ping)]

    def _pong(self, seconds: float) -> None:
        now_s = time.monotonic()
        if self._plan.measured(now_s):
            self._found.pings.append((round(now_s - self._plan.zero_s, 2), round(1000 * seconds, 2)))

    def _hear(self, message: bytes, now_s: float) -> None:
        heard = self._talker.wire.read(message)
        match heard.kind:
            case Kind.OTHER:
                pass
            case Kind.OPENED:
                self._send(self._talker.wire.configure())
            case Kind.READY:
                if not self._ready.done():
                    self._ready.set_result(None)
            case Kind.QUEUED if not self._ready.done():
                self._found.queued += not self.queued
                self.queued = True
            case Kind.QUEUED | Kind.ERROR:
                self._complained(heard, now_s)
            case Kind.WARNING:
                self._found.warn(heard.code)
            case _:
                self._talker.hear(heard, now_s)

    def _complained(self, heard: Heard, now_s: float) -> None:
        if not self._ready.done():
            self._ready.set_exception(LineFailed(f"error {heard.code}", heard.words))
        elif self._plan.measured(now_s):
            self._found.fail(now_s - self._plan.zero_s, f"error {heard.code}", heard.words)


class Crowd:
    """All talkers of a plan."""

    def __init__(self, plan: Plan, tell: Callable[[Gathered], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._found = Gathered()
        self._up = 0
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    async def hold(self) -> None:
        """To the end of the plan."""
        helpers = [asyncio.create_task(self._report()), asyncio.create_task(self._watch_loop())]
        numbers = range(self._plan.first, self._plan.first + self._plan.sessions)
        try:
            await asyncio.gather(*(self._talk(number) for number in numbers))
        finally:
            for helper in helpers:
                helper.cancel()
            self._tell_news()

    async def _talk(self, number: int) -> None:
        """One talker's conversations, one after the other."""
        plan = self._plan
        await asyncio.sleep(plan.opens_s(number) - time.monotonic())
        dice = Random(number)
        held = 0
        while held != plan.conversations and time.monotonic() < plan.end_s:
            held += 1
            if not await self._converse(number, dice):
                await asyncio.sleep(RETRY_S)

    async def _converse(self, number: int, dice: Random) -> bool:
        """Whether it was held. The packets of all talkers are spread evenly over the length of one."""
        plan, packet_s = self._plan, self._plan.speech.packet_s
        began_s = time.monotonic()
        beat_s = (began_s // packet_s + number / plan.of) * packet_s
        talker = Talker(plan, wire(plan.dialect, plan.speech), dice, self._found)
        conversation = Conversation(plan, talker, self._found, beat_s)
        self._up += 1
        try:
            async with asyncio.timeout_at(None if math.isinf(plan.end_s) else plan.end_s + END_S):
                await conversation.hold()
        except TimeoutError:
            talker.break_off(time.monotonic())
        except LineFailed as failed:
            self._found.fail(time.monotonic() - plan.zero_s, failed.cause, failed.detail)
            return False
        except asyncio.CancelledError:  # Ctrl-C
            talker.break_off(time.monotonic())
            raise
        finally:
            self._up -= 1
            conversation.hang_up()
        return self._ended(talker, began_s, time.monotonic(), queued=conversation.queued)

    def _ended(self, talker: Talker, began_s: float, now_s: float, *, queued: bool) -> bool:
        """Whether it was held: somebody answered. Who had no session when the run was over, and had waited for long,
        did so in vain; one that came later, when others hung up, changes nothing about that."""
        if talker.answered:
            self._found.conversations += 1
            return True
        self._found.unheard += 1
        over_s = min(now_s, self._plan.end_s)
        if talker.ready_s is None or talker.ready_s >= over_s:
            self._found.waited_to_the_end += queued
            if over_s - began_s > OVERDUE_S:
                waited = f"not ready after {over_s - began_s:.0f} s"
                self._found.fail(over_s - self._plan.zero_s, "no session in time", waited)
        return False

    # --- what the process knows of itself

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            if self._plan.measured(time.monotonic()):
                figures.count(self._found.loop_lag, loop.time() - due_s)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            self._tell_news()

    def _tell_news(self) -> None:
        cpu_s, wall_s = time.process_time(), time.monotonic()
        share = (cpu_s - self._cpu_s) / max(1e-6, wall_s - self._wall_s)
        self._cpu_s, self._wall_s = cpu_s, wall_s
        at_s = round(wall_s - self._plan.zero_s, 2)
        self._found.busy.append(Busy(self._plan.process, at_s, round(share, 4), self._up))
        self._tell(self._found)
        empty = Gathered()
        for name in Gathered.__struct_fields__:  # talkers hold on to this very object
            setattr(self._found, name, getattr(empty, name))


def main(path: str) -> None:
    """Does what the plan says."""
    plan = msgspec.msgpack.decode(Path(path).read_bytes(), type=Plan)
    prepared(plan.dialect, plan.speech)

    def tell(found: Gathered) -> None:
        try:
            sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever started us is gone: nobody shall talk on
            os._exit(1)

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()  # what was made so far stays; collections need not look at it
    asyncio.run(Crowd(plan, tell).hold())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1])
