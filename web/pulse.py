"""Whether the media server is heard: while it is not, a worker of which nothing is heard may be well."""

import time
from collections.abc import Callable

import gevent

from tasks.streams import RedisError


class Pulse:
    """Asks again and again, and knows how long there was no answer."""

    def __init__(self, ask: Callable[[], object], every_s: float) -> None:
        self._ask = ask
        self._every_s = every_s
        self._heard_s = time.monotonic()
        gevent.spawn(self._run)

    def silent_s(self) -> float:
        """Since the last answer."""
        return time.monotonic() - self._heard_s

    def _run(self) -> None:
        while True:
            try:
                self._ask()
                self._heard_s = time.monotonic()
            except RedisError:
                pass  # whoever needs the server says so
            gevent.sleep(self._every_s)
