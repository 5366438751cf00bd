"""Consents to be recorded that were taken back: told to all web processes, each of which deletes what it finds of them.

The process that hears of one deletes at once, by itself. This is for what it cannot reach, or does not live to do: the
folder of another host, a disk that refused, a process that died meanwhile, one that wrote what it still had in hand.
"""

import logging
import time
from pathlib import Path

import gevent

from config import redis_keys as keys
from tasks import kept
from tasks.shared_time import shared_time
from tasks.streams import Client, RedisError
from web import record_folder
from web.disk import in_thread
from web.record_folder import Recorded

log = logging.getLogger(__name__)

#: Between two looks at what others say.
LOOK_S = 5.0

#: Whoever held the session before has written what it had by then, and clocks of hosts differ by less. What is changed
#: later was recorded by a consent that was given again.
SETTLED_S = 10.0

#: For web processes that were away; later the days that recordings are kept are their end.
KEEP_S = 24 * 3600

#: What a consent is for.
EVENTS, SOUND = "events", "sound"


class Withdrawals:
    """What one web process knows of them. folder: where recordings are; None: nobody records here."""

    def __init__(self, folder: Path | None, state: Client) -> None:
        self._folder = folder
        self._state = state
        self._upto_s = float("-inf")
        """Shared time of the newest that was looked at."""
        self._unsaid: dict[str, bool] = {}
        """While Redis was away: taken back, or given again."""
        self._left: dict[str, float] = {}
        """Not deleted yet, and when (unix time, by this host) it was taken back."""
        self._failed = ""

    def follow(self) -> None:
        """Looks from now on."""
        if self._folder is not None:
            gevent.spawn(self._run)

    def tell(self, session: str, what: str, *, withdrawn: bool = True) -> None:
        """A consent was taken back, or (not withdrawn) given again. While Redis is away it is said later."""
        name = f"{session}/{what}"
        self._unsaid.pop(name, None)
        if not withdrawn:
            self._left.pop(name, None)
        try:
            self._say(name, withdrawn)
        except RedisError as error:
            log.warning("that a consent was taken back waits for Redis: %s", type(error).__name__)
            self._unsaid[name] = withdrawn

    def _say(self, name: str, withdrawn: bool) -> None:
        if withdrawn:
            kept.note(self._state, keys.withdrawn(), name, shared_time.now_s(), KEEP_S)
        else:
            kept.strike(self._state, keys.withdrawn(), name)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except RedisError:
                log.debug("who took a consent back is asked again when Redis is there")
            except Exception:
                log.exception("recordings without consent could not be looked for")
            gevent.sleep(LOOK_S)

    def look(self) -> None:
        """Deletes what was withdrawn since the last time and has settled. Raises RedisError."""
        for name in list(self._unsaid):
            self._say(name, self._unsaid[name])
            self._unsaid.pop(name, None)
        now_s = shared_time.now_s()
        settled_s = now_s - SETTLED_S
        for name, at_s in kept.noted(self._state, keys.withdrawn(), self._upto_s, settled_s):
            self._left[name] = time.time() - (now_s - at_s)
        self._upto_s = settled_s
        if self._left and self._folder is not None:
            in_thread(self._erase, self._folder, dict(self._left)).get()

    # --- in a thread

    def _erase(self, folder: Path, left: dict[str, float]) -> None:
        sessions = {name.partition("/")[0] for name in left}
        try:
            for file in record_folder.recorded(folder, sessions):
                if file.changed_s <= left.get(_name(file), float("-inf")) + SETTLED_S:
                    record_folder.erase(file.path)
        except OSError as error:
            why = error.strerror or type(error).__name__
            if why != self._failed:
                log.error("a recording without consent could not be deleted yet: %s", why)
            self._failed = why
            return
        self._failed = ""
        for name in left:
            self._left.pop(name, None)


def _name(file: Recorded) -> str:
    return f"{file.session}/{SOUND if file.is_sound else EVENTS}"
