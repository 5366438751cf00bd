"""Threads that run jobs, the most urgent first. Knows nothing of what the jobs do."""

import atexit
import heapq
import logging
import threading
from collections.abc import Callable
from itertools import count
from typing import Protocol

log = logging.getLogger(__name__)

#: Longest wait for a job when the process exits.
EXIT_S = 3.0


class Pool(Protocol):
    """Whoever runs jobs: threads, or a bench that counts their time instead of waiting for it."""

    size: int

    def start(self) -> None:
        """Jobs run from now on."""
        ...

    def submit(self, rank: float, job: Callable[[], None]) -> None:
        """Runs `job` some time, before all of higher rank."""
        ...


class Workers:
    """`size` daemon threads over one heap; the owner bounds what it submits."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._ready = threading.Condition()
        self._name = name
        self._started = False
        self._stopping = False

    def start(self) -> None:
        """Starts the threads; a second call changes nothing."""
        if self._started:
            return
        self._started = True
        threads = [
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            for number in range(self.size)
        ]
        for thread in threads:
            thread.start()
        atexit.register(self._stop, threads)

    def _stop(self, threads: list[threading.Thread]) -> None:
        """At exit: what runs ends, what waits is dropped. Native code on a thread that is torn down aborts."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        for thread in threads:
            thread.join(timeout=EXIT_S)

    def submit(self, rank: float, job: Callable[[], None]) -> None:
        """Runs `job` on a thread, before all of higher rank that wait, after those of the same rank."""
        with self._ready:
            heapq.heappush(self._heap, (rank, next(self._numbers), job))
            self._ready.notify()

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return len(self._heap)

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._heap and not self._stopping:
                    self._ready.wait()
                if self._stopping:
                    return
                job = heapq.heappop(self._heap)[2]
            try:
                job()
            except Exception:
                log.exception("a job of %s failed", self._name)
