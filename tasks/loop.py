"""What the batching loops share: seats, the outbox, and a thread that outlives its errors.

A task claims a lease and takes a seat; the loop thread serves all seats in batched steps and says when each is over.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from config.errors import ConfigError, DeviceLost
from config.messages import Claimed, Command, Failed
from config.outage import Outage
from gpu_workers.engine import Slot
from gpu_workers.slots import SlotTable
from tasks.laps import Laps
from tasks.leases import Emitter
from tasks.loop_metrics import SeatMetrics
from tasks.outbox import Outbox
from tasks.seat import Seat
from tasks.streams import RedisError

log = logging.getLogger(__name__)

#: A pause after an error, so that a lasting one does not spin.
ERROR_PAUSE_S = 0.2

#: An engine that fails so often within so many seconds does not mend by itself: its process ends.
MOST_FAILURES, FAILURES_WITHIN_S = 5, 10.0


class Loop(threading.Thread):
    """Serves all seats of a stage from one thread. A stage's own loop says what one `turn` is."""

    stage: str

    def __init__(self, emitter: Emitter, slots: int) -> None:
        super().__init__(name=f"{self.stage}-loop", daemon=True)
        self.outbox = Outbox(emitter)
        self.seats: dict[tuple[str, int], Seat] = {}
        self._parting: list[Seat] = []
        """Seats whose part is done, but for what is still on its way to Redis."""
        self.last_beat = time.monotonic()
        self.draining = False
        self.laps = Laps(self.stage)
        self.when_broken: Callable[[str], None] = log.critical
        """Told why the engine cannot go on; it need not return."""
        self._failures_s: deque[float] = deque(maxlen=MOST_FAILURES)
        self._table = SlotTable(slots)
        self._table_lock = threading.Lock()
        self._arrivals: queue.SimpleQueue[Seat] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._stopping = False
        self.count = SeatMetrics(self.stage)
        self._count_seats()

    # --- called from other threads

    @property
    def slots(self) -> int:
        """Seats there are."""
        return self._table.size

    @property
    def free(self) -> int:
        """Seats nobody holds; none while draining."""
        return 0 if self.draining else self._table.free

    @property
    def taken(self) -> int:
        """Seats that are held, while draining too."""
        return self._table.size - self._table.free

    def take_slot(self) -> Slot | None:
        """Keeps a slot for a task that is about to claim."""
        with self._table_lock:
            return None if self.draining else self._table.take()

    def give_slot_back(self, slot: Slot) -> None:
        """Frees a slot whose seat is over or was never taken."""
        with self._table_lock:
            self._table.give_back(slot)

    def everyone(self) -> list[Seat]:
        """All seats, those included that the loop has not seen yet."""
        waiting = []
        while not self._arrivals.empty():
            waiting.append(self._arrivals.get())
        return [*self.held, *waiting]

    @property
    def held(self) -> list[Seat]:
        """Seats whose leases are to be kept."""
        return [*self.seats.values(), *self._parting]

    def enter(self, seat: Seat) -> None:
        """Hands a seat to the loop; its `over` is set when the loop is done with it."""
        self._arrivals.put(seat)

    def tell(self, command: Command) -> None:
        """Passes on a command of the web."""
        self._commands.put(command)

    def drain(self) -> None:
        """No new seats; those there are handed over or finished, as the stage sees fit."""
        self.draining = True

    def stop(self) -> None:
        """Ends the thread after its current turn; seats still there are over, undone."""
        self._stopping = True

    # --- the loop thread

    def run(self) -> None:
        """Turns until stopped. An error costs the seats of the turn at most; only a lost device ends the loop."""
        outage = Outage(log, f"{self.stage} loop")
        self.laps.start()
        while not self._stopping:
            self.last_beat = time.monotonic()
            self.laps.show()
            try:
                self._admit()
                self.turn()
                self._dismiss_lost()
                outage.over()
            except RedisError as error:
                outage.met(error)
                time.sleep(ERROR_PAUSE_S)
            except DeviceLost as error:
                self._break(str(error))
            except Exception as error:
                log.exception("%s engine failed; %d seats are handed back", self.stage, len(self.seats))
                self._dismiss_all()
                self._note_failure(error)
                time.sleep(ERROR_PAUSE_S)
        self._dismiss_all()
        with suppress(RedisError):  # what the last turn brought
            self.outbox.flush()
        self.see_off()
        for seat in self._parting:
            seat.done = False
            seat.over.set()

    def pause(self, seconds: float) -> None:
        """Sleeps, for that is no work."""
        self.laps.lap("hand_over")
        if seconds > 0:
            time.sleep(seconds)
        self.laps.lap("wait")

    def publish(self) -> None:
        """Sends what waits in the outbox. Raises RedisError and keeps it if Redis is away."""
        self.laps.lap("hand_over")
        self.outbox.post()
        self.see_off()
        self.laps.lap("publish")

    def _break(self, why: str) -> None:
        self.draining = self._stopping = True
        self.when_broken(f"{self.stage} gives {len(self.seats)} seats back and ends: {why}")

    def _note_failure(self, error: Exception) -> None:
        """Errors that come again and again are the device's, or as good as that."""
        self._failures_s.append(time.monotonic())
        lasted_s = self._failures_s[-1] - self._failures_s[0]
        if len(self._failures_s) == MOST_FAILURES and lasted_s < FAILURES_WITHIN_S:
            self._break(
                f"the engine failed {MOST_FAILURES} times in {lasted_s:.0f} s ({type(error).__name__})"
            )

    def turn(self) -> None:
        """One round: read, step, emit. Must return within the step deadline."""
        raise AssertionError("a stage says how")

    def begin(self, seat: Seat) -> None:
        """A seat was taken: open its slot."""
        raise AssertionError("a stage says how")

    def end(self, seat: Seat) -> None:
        """A seat is over: close its slot."""
        raise AssertionError("a stage says how")

    def obey(self, command: Command) -> None:
        """The web said something."""

    def _admit(self) -> None:
        while not self._arrivals.empty():
            seat = self._arrivals.get()
            if not self._displace(seat):
                continue
            self.seats[seat.sid, seat.lease.reply] = seat
            self._count_seats()
            self.count.begun.inc()
            self.outbox.add(seat, Claimed(seat.lease.owner), mark=seat.resume_at)
            try:
                self.begin(seat)
            except ConfigError as error:  # a voice or a language that the engine does not have
                self.outbox.add(seat, Failed(error.code, str(error)))
                self.leave(seat, done=True)
            except (DeviceLost, RedisError):
                raise
            except Exception as error:  # whatever is wrong with this one, it is not the others'
                self.shed({seat.slot: f"it could not be opened ({type(error).__name__}: {error})"})
        while not self._commands.empty():
            self.obey(self._commands.get())

    def _displace(self, seat: Seat) -> bool:
        """Whether the seat is taken. A lease may run out while a step takes too long, and be claimed again by this very
        worker: of two seats for one stage of one session the later claim holds, and the other is over."""
        before = self.seats.get((seat.sid, seat.lease.reply))
        if before is None:
            return True
        stale = min(before, seat, key=lambda one: one.lease.epoch)
        stale.lost = True
        self.count.lost.inc()
        if stale is seat:
            seat.over.set()
            return False
        self.leave(before, done=False)
        return True

    def leave(self, seat: Seat, *, done: bool) -> None:
        """The loop is finished with a seat. One that is done keeps its lease until all it said is stored: what died
        with this process before that would be nobody's to say again."""
        if self.seats.get((seat.sid, seat.lease.reply)) is not seat:
            return
        del self.seats[seat.sid, seat.lease.reply]
        self._count_seats()
        seat.done = done
        try:
            self.end(seat)
        except DeviceLost:
            raise
        except Exception as error:  # opening the slot again forgets whatever is left in it
            log.error("%s slot %d could not be closed: %s", self.stage, seat.slot, type(error).__name__,
                      extra=seat.about)  # fmt: skip
        finally:
            if done and not seat.lost and self.outbox.holds(seat):
                self._parting = [*self._parting, seat]
            else:
                seat.over.set()

    def see_off(self) -> None:
        """Seats whose last result arrived are over; so are those that were lost meanwhile."""
        if not self._parting:
            return
        staying = [seat for seat in self._parting if not seat.lost and self.outbox.holds(seat)]
        for seat in self._parting:
            if seat not in staying:
                seat.over.set()
        self._parting = staying

    def shed(self, faults: Mapping[Slot, str]) -> None:
        """Seats whose slots the engine cannot serve any more are handed back; the others go on."""
        for seat in [seat for seat in self.seats.values() if seat.slot in faults]:
            log.error(
                "%s slot %d is given up: %s", self.stage, seat.slot, faults[seat.slot], extra=seat.about
            )
            self.count.shed.inc()
            self.leave(seat, done=False)

    def _dismiss_lost(self) -> None:
        for seat in [seat for seat in self.seats.values() if seat.lost]:
            if not seat.called_off:
                self.count.lost.inc()
            self.leave(seat, done=False)

    def _dismiss_all(self) -> None:
        for seat in list(self.seats.values()):
            with suppress(DeviceLost):  # the next turn will notice, if there is one
                self.leave(seat, done=False)
        while not self._arrivals.empty():
            self._arrivals.get().over.set()

    def _count_seats(self) -> None:
        self.count.taken(len(self.seats))
