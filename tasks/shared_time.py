"""The one wall clock of a fleet: that of the media server, as this process reckons it from its own monotonic clock.

The wall clocks of two machines are never compared with each other: moments that travel between machines are moments of
this clock. Until a process has asked the server, its own wall clock stands for it.
"""

import logging
import time

from config import metrics

log = logging.getLogger(__name__)

#: A wall clock that is off by so much is told of: logs, certificates and what is written into files go by it.
TELL_S = 1.0

#: A reckoning is replaced by a less exact one only when it is older: quartz drifts by some ms in this time.
RECKON_ANEW_S = 60.0

#: Quartz drifts by less in that time. What two answers and this do not explain is another server's clock, or one that
#: was set: a server that took over from the one that died, say.
DRIFT_S = 0.02


class SharedTime:
    """Follows the server's clock; what is known of it is as exact as half the quickest answer."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()
        self._round_trip_s = float("inf")
        self._reckoned_s = 0.0
        self._told = False

    def now_s(self) -> float:
        """Unix time."""
        return time.monotonic() + self._offset_s

    def learn(self, server_s: float, asked_s: float, answered_s: float) -> None:
        """The server said what time it is; when it was asked and when it answered are of the monotonic clock."""
        round_trip_s = answered_s - asked_s
        offset_s = server_s - (asked_s + answered_s) / 2
        known = answered_s - self._reckoned_s < RECKON_ANEW_S
        explained = (round_trip_s + self._round_trip_s) / 2 + DRIFT_S
        if round_trip_s > self._round_trip_s and known and abs(offset_s - self._offset_s) <= explained:
            return
        self._offset_s = offset_s
        self._round_trip_s, self._reckoned_s = round_trip_s, answered_s
        self._look_at_own()

    @property
    def ahead_s(self) -> float:
        """By how much this machine's wall clock is ahead of it."""
        return time.time() - self.now_s()

    def _look_at_own(self) -> None:
        """Tells of a clock that is off, once until it is right again."""
        ahead_s = self.ahead_s
        metrics.clock_ahead.set(ahead_s)
        off = abs(ahead_s) > max(TELL_S, self._round_trip_s)
        if off and not self._told:
            log.warning(
                "the clock of this machine is %.1f s %s that of the media Redis server; set both by NTP",
                abs(ahead_s), "ahead of" if ahead_s > 0 else "behind",
            )  # fmt: skip
        self._told = off


#: This process's.
shared_time = SharedTime()
