"""How much of a reply was sent and how much of it was heard. Pure; wall time is handed in."""

from config.settings import SAMPLE_RATE


class Playback:
    """Models the client's player: it starts with the first packet and plays in real time, until it runs dry.

    Positions are reply samples.
    """

    def __init__(self, lead_ms: int, sent: int = 0) -> None:
        self._lead = lead_ms * SAMPLE_RATE // 1000
        self._base = sent
        self.sent = sent
        """Reply samples sent, those of an earlier connection included."""
        self.sent_before = sent
        """Those of an earlier connection."""
        self._playing_since_s: float | None = None
        self._muted_s: float | None = None
        self._reported: int | None = None
        self._held_back = False
        """Nothing was sent since a mute: that the player ran dry is nobody's fault."""
        self.late_s = 0.0
        """How long the player had nothing to play though it should."""
        self.started = False
        """Audio went out on this connection."""
        self.began_s: float | None = None
        """Monotonic time at which the first of it did."""

    @property
    def muted(self) -> bool:
        """Audio is held back."""
        return self._muted_s is not None

    def send(self, samples: int, now_s: float) -> None:
        """So many samples left. A player that ran dry starts again with them."""
        if self._playing_since_s is None or self._position(now_s) >= self.sent:
            if self._playing_since_s is not None and not self._held_back:
                self.late_s += (self._position(now_s) - self.sent) / SAMPLE_RATE
            self._base, self._playing_since_s = self.sent, now_s
        self.started, self._held_back = True, False
        self.began_s = now_s if self.began_s is None else self.began_s
        self.sent += samples

    def mute(self, now_s: float) -> None:
        """Nothing is sent from now on; what was sent plays out."""
        if self._muted_s is None:
            self._muted_s = now_s
        self._held_back = True

    def muted_for_s(self, now_s: float) -> float:
        """Seconds since audio was held back."""
        return 0.0 if self._muted_s is None else now_s - self._muted_s

    def unmute(self) -> None:
        """Sending goes on."""
        self._muted_s = None

    def stop(self, now_s: float) -> None:
        """The player was told to stop at once: the rest of what was sent is not heard."""
        self._base, self._playing_since_s = self.heard(now_s), None

    def rewind(self, to: int) -> None:
        """What follows was sent before, from `to` on."""
        self._base, self.sent, self._playing_since_s = to, to, None

    def report(self, samples: int) -> None:
        """The client says how far it has played; that counts, up to what was sent."""
        self._reported = min(samples, self.sent)

    def heard(self, now_s: float) -> int:
        """Reply samples that were heard."""
        if self._reported is not None:
            return self._reported
        return min(self.sent, self._position(now_s))

    def _position(self, now_s: float) -> int:
        if self._playing_since_s is None:
            return self._base
        return self._base + int((now_s - self._playing_since_s) * SAMPLE_RATE)

    def due_s(self, now_s: float, samples: int) -> float:
        """Seconds until the next `samples` may leave, so that the client has its lead with them and no more; 0: now."""
        if self._playing_since_s is None:
            return 0.0
        ahead = self.sent - self._position(now_s)
        return max(0.0, (ahead + min(samples, self._lead) - self._lead) / SAMPLE_RATE)

    def left_s(self, now_s: float) -> float:
        """Seconds until all that was sent has been heard."""
        if self._playing_since_s is None:
            return 0.0
        return max(0.0, (self.sent - self._position(now_s)) / SAMPLE_RATE)
