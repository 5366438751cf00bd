"""Results on their way to Redis: numbered, sent in order, kept until they are there."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config.messages import Body, Result, encode
from config.versions import VERSION
from tasks.leases import Emitter, Stored
from tasks.seat import Seat
from tasks.streams import RedisError

log = logging.getLogger(__name__)

#: Results kept while Redis is away; beyond, the loop stops stepping.
OUTBOX_ITEMS = 10_000

#: So begins an error that says that the result before is not there: lost since it was stored, where it is the first.
HOLE = "HOLE"

#: The answer to what was posted is not asked for before, unless there is more to post: a step goes by meanwhile.
TRAVEL_S = 0.005


class Outbox:
    """Results on their way out, numbered here and sent in order; kept until Redis has them."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._waiting: list[tuple[Seat, Result]] = []
        self._begin_anew: set[Seat] = set()
        self._posted: _Posted | None = None

    def add(self, seat: Seat, body: Body, mark: int = 0) -> None:
        """Numbers a result and queues it."""
        lease = seat.lease
        lease.last_seq += 1
        result = Result(VERSION, lease.stage, lease.epoch, lease.reply, lease.last_seq, mark, body)
        self._waiting.append((seat, result))
        seat.said.append(result)

    @property
    def full(self) -> bool:
        """Nothing more should be produced before a flush succeeds."""
        return len(self._waiting) >= OUTBOX_ITEMS

    def holds(self, seat: Seat) -> bool:
        """Something that this seat said may not have arrived yet."""
        return any(of is seat for of, _ in self._waiting)

    def flush(self) -> None:
        """Sends what waits and sees that it arrived. Raises RedisError and keeps it if Redis is away."""
        self.post()
        self.settle()

    def post(self) -> None:
        """Sends what waits, and lets it travel: a later call sees whether it arrived. Raises as `flush` does."""
        posted = self._posted
        if posted and len(self._waiting) == posted.items and time.monotonic() < posted.at_s + TRAVEL_S:
            return  # nothing new, and asking now would be waiting
        self.settle()
        if not self._waiting:
            return
        batch = [(seat, result) for seat, result in self._waiting if not seat.lost]
        begins = [
            next(index for index, (of, _) in enumerate(batch) if of is seat)
            for seat in self._begin_anew
            if not seat.lost
        ]
        try:
            sent = self._emitter.send([(seat.lease, result) for seat, result in batch], begins)
        except (TypeError, ValueError, OverflowError):
            if not self._give_up_unsendable():
                raise
            self.post()
        else:
            self._posted = _Posted([seat for seat, _ in batch], len(self._waiting), sent, time.monotonic())

    def _give_up_unsendable(self) -> bool:
        """Seats with a result that cannot be put into bytes, such as half a sign from a model, are lost. Whether there
        were any."""
        seats = {seat for seat, result in self._waiting if not seat.lost and not _sendable(result)}
        for seat in seats:
            log.error("%s slot %d is given up: it said what cannot be sent", seat.lease.stage, seat.slot,
                      extra=seat.about)  # fmt: skip
            seat.lost = True
        return bool(seats)

    def settle(self) -> None:
        """Waits for the answer to what was posted; without one it stays, to be sent again. Raises RedisError.

        A server that came back empty, or with an older copy, is sent the newest results of each seat again.
        """
        if self._posted is None:
            return
        posted, self._posted = self._posted, None
        try:
            stored = posted.stored()
        except RedisError as error:
            if str(error).startswith(HOLE):
                self._begin_anew.update(posted.seats)
                self._queue_again()
            raise
        del self._waiting[: posted.items]
        self._begin_anew.clear()
        for seat, outcome in zip(posted.seats, stored, strict=True):
            if outcome is Stored.FENCED:
                seat.lost = True
            elif outcome is Stored.FORGOTTEN:
                self._begin_anew.add(seat)
        self._queue_again()

    def _queue_again(self) -> None:
        """The newest results of seats that begin anew; what was queued meanwhile is among them."""
        again = [(seat, result) for seat in self._begin_anew for result in seat.said]
        self._waiting = again + [item for item in self._waiting if item[0] not in self._begin_anew]


def _sendable(result: Result) -> bool:
    try:
        encode(result)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


@dataclass(frozen=True)
class _Posted:
    """Results under way: the seat of each, how many of those that wait they are, and what waits for the answer."""

    seats: Sequence[Seat]
    items: int
    stored: Callable[[], list[Stored]]
    at_s: float
