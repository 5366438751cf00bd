"""Threads that run jobs, the most urgent first. Knows nothing of what the jobs do."""

import heapq
import logging
import threading
from collections.abc import Callable
from itertools import count

log = logging.getLogger(__name__)


class Workers:
    """`size` daemon threads over one heap; the owner bounds what it submits."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._ready = threading.Condition()
        self._name = name
        self._started = False

    def start(self) -> None:
        """Starts the threads; a second call changes nothing."""
        if self._started:
            return
        self._started = True
        for number in range(self.size):
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

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
                while not self._heap:
                    self._ready.wait()
                job = heapq.heappop(self._heap)[2]
            try:
                job()
            except Exception:
                log.exception("a job of %s failed", self._name)
