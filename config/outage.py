"""A server that is away for a while: said when it goes and when it is back, however often it is asked meanwhile."""

import logging
import time


class Outage:
    """Of one thread or greenlet, which tells it how each attempt went."""

    def __init__(self, log: logging.Logger, who: str) -> None:
        """log: whose lines these are. who: waits, as "input" does."""
        self._log = log
        self._who = who
        self._kinds: set[str] = set()
        self._since_s = 0.0

    def met(self, error: Exception) -> None:
        """It did not answer once more. Only another kind of error than before is news."""
        kind = type(error).__name__
        if not self._kinds:
            self._since_s = time.monotonic()
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._log.warning("%s: waits for Redis: %s", self._who, kind)

    def over(self) -> None:
        """It answered, or there was nothing to ask."""
        if self._kinds:
            self._kinds.clear()
            waited_s = time.monotonic() - self._since_s
            self._log.warning("%s: goes on, after %.1f s without Redis", self._who, waited_s)
