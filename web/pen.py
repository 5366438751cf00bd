"""Appends to files of one session in a thread, and deletes them. A slow disk holds up no session, a full one ends it.

What comes is collected and written at most every half second, one batch at a time. A disk that fails is reported once,
and nothing more is written.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent

from web import record_folder
from web.disk import in_thread

log = logging.getLogger(__name__)

#: Between two writes; so much is lost at most when the process is killed.
FLUSH_S = 0.5

#: Bytes in hand while the disk is busy: minutes of words, 20 s of sound. Beyond, it is given up.
MAX_IN_HAND = 1 << 20

#: Starts a function in a thread, and never waits; what it returns has `ready()` and `wait(timeout)`.
Background = Callable[..., Any]


class Pen:
    """find: names the files that this pen, or one before it, has written."""

    def __init__(
        self, find: Callable[[], Iterable[Path]], *,
        background: Background = in_thread, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._find = find
        self._background = background
        self._clock = clock
        self._waiting: dict[Path, list[bytes]] = {}
        self._in_hand = 0
        self._written_s: float | None = None
        self._jobs: list[Any] = []
        self._erased = 0
        """How often. What a job writes that began before the newest time is not to be there after it."""
        self._failure: OSError | None = None
        self._given_up = False
        self._timed = False
        """Somebody comes back for what is in hand: nothing may follow it for long."""

    def write(self, path: Path, data: bytes) -> None:
        """Adds to a file, soon."""
        if self._given_up:
            return
        if self._written_s is None:
            self._written_s = self._clock()
        self._waiting.setdefault(path, []).append(data)
        self._in_hand += len(data)
        if self._clock() - self._written_s >= FLUSH_S:
            self._flush()
        elif not self._timed:
            self._timed = True
            gevent.spawn_later(FLUSH_S, self._come_back)

    def _come_back(self) -> None:
        self._timed = False
        self._flush()
        if self._waiting and not self._given_up:  # the disk is busy
            self._timed = True
            gevent.spawn_later(FLUSH_S, self._come_back)

    def erase(self) -> None:
        """Nothing of it is to be there, nor to come: at once, and in the thread."""
        self._waiting, self._in_hand, self._written_s = {}, 0, None
        self._erased += 1
        self._jobs.append(self._background(self._erase))

    def close(self, deadline: float) -> None:
        """All of it is written, unless the disk takes longer than to that moment."""
        for _ in range(2):  # what is being written, then the rest
            for job in self._jobs:
                job.wait(timeout=max(0.0, deadline - self._clock()))
            self._flush()

    def _flush(self) -> None:
        self._jobs = [job for job in self._jobs if not job.ready()]
        if self._failure is not None:
            self._give_up(os.strerror(self._failure.errno or 0))
        elif self._jobs and self._in_hand > MAX_IN_HAND:
            self._give_up("the disk is too slow")
        elif not self._jobs and self._waiting:
            batch = [(path, b"".join(pieces)) for path, pieces in self._waiting.items()]
            self._waiting, self._in_hand, self._written_s = {}, 0, self._clock()
            self._jobs.append(self._background(self._write, batch, self._erased))

    def _give_up(self, reason: str) -> None:
        if not self._given_up:
            log.error("a session is no longer recorded, or could not be erased: %s", reason)
        self._given_up = True
        self._waiting, self._in_hand = {}, 0

    # --- in the thread

    def _write(self, batch: list[tuple[Path, bytes]], erased: int) -> None:
        try:
            for path, data in batch:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(path, "ab", opener=_private) as file:
                    file.write(data)
                if self._erased != erased:  # it may have been made anew after the deletion
                    record_folder.erase(path)
        except OSError as error:
            self._failure = error

    def _erase(self) -> None:
        try:
            for path in self._find():
                record_folder.erase(path)
        except OSError as error:
            self._failure = error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
