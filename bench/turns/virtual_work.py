"""Virtual threads: jobs are run inline, and their measured time decides when their results are there. No models."""

import heapq
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from gpu_workers.endpoint.listener import Decode
from gpu_workers.stt.embedded import Found

#: A decode that nobody wants any more ends at the next token; a token of the tiny model takes 4 to 7 ms.
STOP_S = 0.006


@dataclass
class _Running:
    """A job that has been run but, in virtual time, goes on until `due_s`."""

    due_s: float
    found: list[Found]


class Results(queue.SimpleQueue[Found]):
    """What the engine reads; what a job puts in becomes visible when the job's time is over."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk

    def put(self, item: Found, block: bool = True, timeout: float | None = None) -> None:
        """Called by jobs."""
        self._desk.found.append(item)

    def show(self, found: list[Found]) -> None:
        """Now it is there."""
        for item in found:
            super().put(item)


@dataclass(eq=False)
class VirtualPool:
    """Jobs of one kind and the `size` virtual threads that take them, the most urgent first."""

    size: int
    desk: "Desk"
    _waiting: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _running: list[_Running] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    def start(self) -> None:
        """Nothing to start."""

    def submit(self, rank: float, job: Callable[[], None]) -> None:
        """Begins now if a thread is free, else when one is."""
        heapq.heappush(self._waiting, (rank, next(self._numbers), job))
        self.begin(self.desk.now_s)

    def begin(self, now_s: float) -> None:
        """Free threads take what waits."""
        while self._waiting and len(self._running) < self.size:
            job = heapq.heappop(self._waiting)[2]
            took_s, found = self.desk.run(job, now_s)
            self._running.append(_Running(now_s + took_s, found))

    def give_up(self, now_s: float) -> None:
        """Decodes that were abandoned meanwhile stop soon and have no result."""
        for job in self._running:
            if any(isinstance(wanted, Decode) and wanted.abandoned for _, _, wanted, _ in job.found):
                job.due_s = min(job.due_s, now_s + STOP_S)
                job.found = [(slot, listener, wanted, None) for slot, listener, wanted, _ in job.found]

    @property
    def next_s(self) -> float:
        """When the next job ends; infinity if none runs."""
        return min((job.due_s for job in self._running), default=float("inf"))

    def finish(self) -> list[Found]:
        """The job that ends next is over."""
        done = min(self._running, key=lambda job: job.due_s)
        self._running.remove(done)
        return done.found


class Desk:
    """All pools over one virtual clock, in seconds."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.results = Results(self)
        self.found: list[Found] = []
        self._pools: list[VirtualPool] = []
        self._spent_s = 0.0

    def pool(self, size: int) -> VirtualPool:
        """A new one of so many threads."""
        self._pools.append(VirtualPool(size, self))
        return self._pools[-1]

    def clock(self) -> float:
        """Virtual time as a running job sees it."""
        return self.now_s + self._spent_s

    def spend(self, seconds: float) -> None:
        """The running job took so long for something."""
        self._spent_s += seconds

    def run(self, job: Callable[[], None], now_s: float) -> tuple[float, list[Found]]:
        """Runs a job that begins at `now_s`; how long it took and what it found."""
        before_s, self.now_s = self.now_s, now_s
        self.found, self._spent_s = [], 0.0
        job()
        took_s, self._spent_s, self.now_s = self._spent_s, 0.0, before_s
        return took_s, self.found

    def until(self, now_s: float) -> None:
        """Time passes; threads that become free take what waits."""
        for pool in self._pools:
            pool.give_up(self.now_s)
        while (pool := min(self._pools, key=lambda one: one.next_s)).next_s <= now_s:
            self.now_s = pool.next_s
            self.results.show(pool.finish())
            pool.begin(self.now_s)
        self.now_s = now_s
