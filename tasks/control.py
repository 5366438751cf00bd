"""What a worker is told: `ctl:{worker}`, read by a thread that keeps the shared time, too."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

import msgspec

from config.messages import Command, Drain, decode_command
from config.redis_keys import control
from tasks.streams import (
    Client,
    Reader,
    RedisError,
    follow_clock,
    is_before,
    keep_control,
    last_told,
)

log = logging.getLogger(__name__)

#: Between two reads of commands: those of many sessions are taken together, and none is in more of a hurry.
CONTROL_BEAT_S = 0.02

#: Longest wait for a command; well below the deadline of every wait for Redis.
BLOCK_MS = 1000

#: A worker asks the media server so often what time it is.
ASK_TIME_EVERY_S = 10.0


class ControlListener(threading.Thread):
    """Reads `ctl:{worker}` and passes each command to the loops; keeps the shared time, too."""

    def __init__(self, worker: str, media: Client, pass_on: Callable[[Command], None]) -> None:
        super().__init__(name="control", daemon=True)
        self._worker = worker
        self._key = control(worker)
        self._media = media
        self._reader = Reader(media)
        self._tell = pass_on
        self._heard_s = time.monotonic()
        self._drains = False

    def deaf_s(self) -> float:
        """How long the media server was not heard."""
        return time.monotonic() - self._heard_s

    def run(self) -> None:
        """For the life of the process. What was told before it was an earlier one's: a container that is started again
        has the name it had, and would drain for ever."""
        cursor = ""
        asked_time_s = float("-inf")
        while True:
            try:
                if time.monotonic() > asked_time_s + ASK_TIME_EVERY_S:
                    follow_clock(self._media)
                    keep_control(self._media, self._worker)
                    cursor = self._from(cursor)
                    self._heard_s = asked_time_s = time.monotonic()
                for _, entries in self._reader.read({self._key: cursor}, block_ms=BLOCK_MS):
                    cursor = entries[-1][0]
                    self._pass_on([data for _, data in entries])
                self._heard_s = time.monotonic()
                time.sleep(CONTROL_BEAT_S)
            except RedisError:
                asked_time_s = float("-inf")  # that is answered at once, when the server is back
                time.sleep(0.2)
            except Exception:
                log.exception("commands could not be read")

    def _from(self, cursor: str) -> str:
        """Where to read on. Ids are the server's clock: from another one that took its place with a clock that is
        behind, nothing would be heard for as long."""
        newest = last_told(self._media, self._worker)
        return newest if not cursor or is_before(newest, cursor) else cursor

    def _pass_on(self, commands: list[bytes]) -> None:
        for data in commands:
            try:
                command = decode_command(data)
                if isinstance(command, Drain):
                    self._drain()
                    continue
            except msgspec.DecodeError:
                log.warning("a command could not be read")
                continue
            self._tell(command)

    def _drain(self) -> None:
        """Once: a second SIGTERM would end the worker in the middle of its replies."""
        if self._drains:
            return
        self._drains = True
        log.warning("told to drain: replies are finished, sessions handed over, then this worker ends")
        os.kill(os.getpid(), signal.SIGTERM)
