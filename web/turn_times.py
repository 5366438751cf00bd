"""When what happened in the turn under way, by the monotonic clock: for deadlines and for latencies."""

from config import metrics


class TurnTimes:
    """The moments of one session's newest turn."""

    def __init__(self, transcript_deadline_s: float) -> None:
        self.ended_s = 0.0
        """When it was decided that the user's turn is over, or a reply was asked for."""
        self._voice_ended_s: float | None = None
        self._deadline_s = transcript_deadline_s
        self._awaiting_s: float | None = None
        self._awaited = 0

    def voice_over(self, now_s: float, ago_s: float) -> None:
        """The turn is over; the user's voice was it so long ago."""
        self.ended_s = now_s
        self._voice_ended_s = now_s - ago_s
        metrics.end_of_turn.observe(ago_s)

    def reply_asked(self, now_s: float) -> None:
        """A reply is wanted, and not because the user fell silent after words."""
        self.ended_s = now_s
        self._voice_ended_s = None

    def sound_begins(self, now_s: float) -> None:
        """The reply's first audio leaves."""
        if self._voice_ended_s is not None:
            metrics.voice_to_voice.observe(now_s - self._voice_ended_s)
            self._voice_ended_s = None

    def transcript_late(self, now_s: float, awaited: int, *, unheard: bool) -> bool:
        """Whether one of so many transcripts has been awaited for too long; unheard: nobody listens, and the clock
        stands. Of several each has its own time."""
        came, self._awaited = awaited < self._awaited, awaited
        if not awaited:
            self._awaiting_s = None
        elif self._awaiting_s is None or came or unheard:
            self._awaiting_s = now_s
        elif now_s - self._awaiting_s > self._deadline_s:
            return True
        return False
