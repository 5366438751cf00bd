"""How much of a reply was sent and how much of it was heard. Pure; wall time is handed in."""

from config.settings import SAMPLE_RATE


class Playback:
    """Models the client's player: it starts with the first packet and plays in real time, except while muted."""

    def __init__(self, lead_ms: int, sent: int = 0) -> None:
        self._lead = lead_ms * SAMPLE_RATE // 1000
        self._sent_before = sent
        self.sent = sent
        """Reply samples sent, those of an earlier connection included."""
        self._started_s: float | None = None
        self._muted_s: float | None = None
        self._paused_s = 0.0
        self._reported: int | None = None

    @property
    def started(self) -> bool:
        """Audio went out on this connection."""
        return self._started_s is not None

    @property
    def muted(self) -> bool:
        """Audio is held back."""
        return self._muted_s is not None

    def send(self, samples: int, now_s: float) -> None:
        """So many samples left. A player that ran dry starts again with them."""
        if self._started_s is None:
            self._started_s = now_s
        else:
            dry_s = (self._position(now_s) - self.sent) / SAMPLE_RATE
            self._paused_s += max(0.0, dry_s)
        self.sent += samples

    def mute(self, now_s: float) -> None:
        """Nothing is sent from now on; what was sent plays out."""
        if self._muted_s is None:
            self._muted_s = now_s

    def unmute(self, now_s: float) -> None:
        """Sending goes on."""
        self._muted_s = None

    def report(self, samples: int) -> None:
        """The client says how far it has played; that counts, up to what was sent."""
        self._reported = min(samples, self.sent)

    def heard(self, now_s: float) -> int:
        """Reply samples that were heard."""
        if self._reported is not None:
            return self._reported
        return min(self.sent, self._position(now_s))

    def _position(self, now_s: float) -> int:
        if self._started_s is None:
            return self._sent_before
        return self._sent_before + int((now_s - self._started_s - self._paused_s) * SAMPLE_RATE)

    def due_s(self, now_s: float) -> float:
        """Seconds until the next packet may leave; 0: now."""
        if self._started_s is None:
            return 0.0
        ahead = self.sent - self._position(now_s)
        return max(0.0, (ahead - self._lead) / SAMPLE_RATE)

    def left_s(self, now_s: float) -> float:
        """Seconds until all that was sent has been heard."""
        if self._started_s is None:
            return 0.0
        return max(0.0, (self.sent - self._position(now_s)) / SAMPLE_RATE)
