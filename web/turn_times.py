"""When what happened in the turn under way, by the monotonic clock: for deadlines and for latencies."""


class TurnTimes:
    """The moments of one session's newest turn."""

    def __init__(self, transcript_deadline_s: float) -> None:
        self.ended_s = 0.0
        """When it was decided that the user's turn is over, or a reply was asked for."""
        self._deadline_s = transcript_deadline_s
        self._awaiting_s: float | None = None

    def transcript_late(self, now_s: float, *, awaited: bool, unheard: bool) -> bool:
        """Whether a transcript has been awaited for too long; unheard: nobody listens, and the clock stands."""
        if not awaited:
            self._awaiting_s = None
        elif self._awaiting_s is None or unheard:
            self._awaiting_s = now_s
        elif now_s - self._awaiting_s > self._deadline_s:
            return True
        return False
