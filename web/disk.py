"""Threads of this process for files, for gevent cannot write one without blocking. A disk that hangs holds up nobody.

Not gevent's own ten: they resolve names, too, and whoever asks for one when all are taken has to wait.
"""

import os
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

#: At once. A disk that works needs few, and one that hangs gets no more.
THREADS = 16


class Disk:
    """So many threads, and the work that waits for one."""

    def __init__(self, threads: int = THREADS) -> None:
        self._free = threads
        self._pool = ThreadPool(2 * threads)  # it counts later than we do, and waits where it has none
        self._waiting: deque[tuple[AsyncResult, Callable[..., Any], tuple[Any, ...]]] = deque()

    def begin(self, work: Callable[..., Any], *given: Any) -> AsyncResult:
        """Work that is done soon. Never waits. What is returned has `ready()`, `wait(timeout)` and `get(timeout=)`,
        which raises what the work raised."""
        done = AsyncResult()
        self._waiting.append((done, work, given))
        self._go_on()
        return done

    def _go_on(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            done, work, given = self._waiting.popleft()
            self._pool.spawn(work, *given).rawlink(partial(self._over, done))

    def _over(self, done: AsyncResult, job: AsyncResult) -> None:
        self._free += 1
        done(job)
        self._go_on()


@cache
def _ours() -> Disk:
    return Disk()


def in_thread(work: Callable[..., Any], *given: Any) -> AsyncResult:
    """In one of this process's threads; see `Disk.begin`."""
    return _ours().begin(work, *given)


def fault(folder: Path, within_s: float) -> str:
    """Why nothing can be written into a folder, which is made if it is not there; empty: it can."""
    try:
        in_thread(_require_writable, folder).get(timeout=within_s)
    except OSError as error:
        return error.strerror or type(error).__name__
    except gevent.Timeout:
        return "the disk does not answer"
    return ""


def _require_writable(folder: Path) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = folder / f".{os.getpid()}.probe"
    try:
        probe.touch(mode=0o600)
    finally:
        probe.unlink(missing_ok=True)
