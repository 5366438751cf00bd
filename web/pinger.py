"""WebSocket pings: how far the clients are. A client that does not answer is not judged by that."""

import logging
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent

from config import metrics

log = logging.getLogger(__name__)

#: Pings leave up to so much earlier or later than their interval says, so that those of many clients spread.
JITTER = 0.1

#: Clients are looked at this often, in parts of the interval.
LOOK = 0.05

_NUMBER = struct.Struct("!I")


class Pings:
    """Those of one client; only the newest is waited for."""

    def __init__(self) -> None:
        self._number = 0
        self._sent_s: float | None = None

    def next(self, now_s: float) -> bytes:
        """What the next ping carries; it is sent now."""
        self._number = (self._number + 1) % (1 << 32)
        self._sent_s = now_s
        return _NUMBER.pack(self._number)

    def answered(self, payload: bytes, now_s: float) -> None:
        """A pong came; one to an older ping, or to none, says nothing."""
        if self._sent_s is not None and payload == _NUMBER.pack(self._number):
            metrics.ping.observe(now_s - self._sent_s)
            self._sent_s = None


class Pinger:
    """One greenlet for all clients of the process."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s: dict[Callable[[], None], float] = {}
        gevent.spawn(self._run)

    @contextmanager
    def watching(self, ping: Callable[[], None]) -> Iterator[None]:
        """Calls `ping` at about the interval, as long as the context lasts; first at a random moment of it."""
        self._due_s[ping] = time.monotonic() + random.uniform(0, self._every_s)
        try:
            yield
        finally:
            self._due_s.pop(ping, None)

    def _run(self) -> None:
        while True:
            gevent.sleep(LOOK * self._every_s)
            try:
                self.look(time.monotonic())
            except Exception:
                log.exception("a client could not be pinged; the others are")

    def look(self, now_s: float) -> None:
        """Pings those that are due."""
        for ping, due_s in list(self._due_s.items()):
            if due_s <= now_s and ping in self._due_s:
                self._due_s[ping] = now_s + self._every_s * random.uniform(1 - JITTER, 1 + JITTER)
                ping()
