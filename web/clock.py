"""Session time: samples received while audio flows, the monotonic clock while it does not. Pure."""

from config.settings import SAMPLE_RATE

#: Without audio for this long, time goes on by the clock.
STALL_S = 0.24


class SessionClock:
    """Counts session samples. A burst after a stall does not count twice: with audio, only audio counts."""

    def __init__(self, now_s: float, at: int = 0) -> None:
        self._anchor_s = now_s
        self.received = at
        """Session sample after the last one received: where the next audio goes."""

    def receive(self, samples: int, now_s: float) -> int:
        """Audio came; returns the session sample at which it begins."""
        begin = self.received
        self.received += samples
        self._anchor_s = now_s
        return begin

    def now(self, now_s: float) -> int:
        """Session time at a monotonic moment."""
        idle_s = now_s - self._anchor_s - STALL_S
        return self.received + max(0, int(idle_s * SAMPLE_RATE))

    def seconds_since(self, at: int, now_s: float) -> float:
        """Seconds since session time `at` came in, as audio comes as fast as it is spoken."""
        return max(0.0, now_s - self._anchor_s + (self.received - at) / SAMPLE_RATE)

    def seconds_until(self, at: int, now_s: float) -> float:
        """Seconds until session time `at` should come, if audio flows or once it stalls."""
        return max(0.0, (at - self.now(now_s)) / SAMPLE_RATE)
