"""What all sessions have for workers, on its way to Redis: what comes within a few ms leaves in one round trip."""

import logging
import time
from collections.abc import Callable

import gevent

from config.messages import Command, InEntry
from config.outage import Outage
from tasks.redis_view import out_of_memory
from tasks.streams import RedisError

log = logging.getLogger(__name__)

#: Later entries of a burst wait this long for company; the first after a quiet spell leaves at once. It grows with the
#: number of sessions: a round trip costs as much for one entry as for ten.
GATHER_S, GATHER_PER_SESSION_S, LONG_GATHER_S = 0.003, 0.000_05, 0.006

#: Entries kept while Redis is away; the oldest of each session go first.
BACKLOG_ITEMS = 20_000

#: Entries of sessions, and words to workers.
Append = Callable[[list[tuple[str, InEntry]], list[tuple[str, Command]]], None]


class Intake:
    """Batches XADDs; survives Redis errors."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: list[tuple[str, InEntry]] = []
        self._told: list[tuple[str, Command]] = []
        self._sources: dict[str, Callable[[], list[InEntry]]] = {}
        self._running = False
        self._last_s = 0.0
        self._outage = Outage(log, "input")

    def add(self, sid: str, entry: InEntry) -> None:
        """Queues an entry; never waits."""
        self._waiting.append((sid, entry))
        self._start()

    def tell(self, worker: str, what: Command) -> None:
        """Tells a worker something that may be lost, and is if Redis is away; never waits."""
        self._told.append((worker, what))
        self._start()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            gather_s = self._gather_s
            quiet = time.monotonic() - self._last_s > gather_s
            gevent.spawn_later(0.0 if quiet else gather_s, self._run)

    @property
    def _gather_s(self) -> float:
        return min(LONG_GATHER_S, max(GATHER_S, GATHER_PER_SESSION_S * len(self._sources)))

    def add_source(self, sid: str, recent: Callable[[], list[InEntry]]) -> None:
        """Where the newest input of a session is found again, should the media server lose it."""
        self._sources[sid] = recent

    def remove_source(self, sid: str, recent: Callable[[], list[InEntry]]) -> None:
        """Ends it, unless another session object has taken over."""
        if self._sources.get(sid) == recent:
            del self._sources[sid]

    def _run(self) -> None:
        while self._waiting or self._told:
            batch, self._waiting = self._waiting, []
            told, self._told = self._told, []
            self._last_s = time.monotonic()
            try:
                self._append(batch, told)
                self._outage.over()
            except RedisError as error:
                self._outage.met(error)
                unsent = batch + self._waiting
                if not out_of_memory(error):  # a full server has what it had, and no room for it once more
                    unsent = self._everything(unsent)
                self._waiting = unsent[-BACKLOG_ITEMS:]
                gevent.sleep(0.2)
            except (
                Exception
            ):  # what cannot be sent now never can, and all other sessions wait for this greenlet
                log.exception("input of %d entries is lost", len(batch))
            if self._waiting or self._told:
                gevent.sleep(self._gather_s)
        self._running = False

    def _everything(self, unsent: list[tuple[str, InEntry]]) -> list[tuple[str, InEntry]]:
        """The server may come back empty: what sessions still know goes again, of each the same number where all of it
        would be too much. The STT skips what it has heard. Before that, what is left of sessions that are over."""
        each = BACKLOG_ITEMS // max(1, len(self._sources))
        left = [(sid, entry) for sid, entry in unsent if sid not in self._sources]
        again = [(sid, entry) for sid, recent in self._sources.items() for entry in recent()[-each:]]
        return left + again
