"""When something was said, in session samples: of the user as heard, of the assistant as sounded. Pure."""

from config.messages import Transcript
from config.settings import SAMPLE_RATE
from web.clock import SessionClock
from web.happenings import Happening
from web.items import Span
from web.reply import Reply
from web.turn_state import Turn

#: Less is the way of the sound, not a pause.
PAUSE = SAMPLE_RATE


class Times:
    """Session samples as people remember them: while nothing is sent samples stand still, and time does not.

    A client that sends sound only as long as a button is held has many such pauses.
    """

    def __init__(self, clock: SessionClock, now_s: float, not_before: int = 0) -> None:
        """not_before: while nobody was connected the clock stood."""
        self._clock = clock
        self._began_s = now_s
        self._began = max(not_before, clock.now(now_s))
        self._behind = self._began - clock.now(now_s)

    def told(self, span: Span, now_s: float) -> Span:
        """When that was which was said at these samples, not long ago."""
        past = self._began + int((now_s - self._began_s) * SAMPLE_RATE)
        behind = past - self._clock.now(now_s)
        if behind > self._behind + PAUSE:
            self._behind = behind
        start, end = span
        return start + self._behind, end + self._behind

    def now(self, now_s: float) -> Span:
        """Of what takes no time."""
        at = self._clock.now(now_s)
        return self.told((at, at), now_s)


def utterance(before: Turn, happening: Happening) -> Span:
    """Of the words that a turn takes: of the transcript that brings them, or of those understood before it ended."""
    if isinstance(happening, Transcript):
        return min(happening.start, happening.to), happening.to
    return min(before.voice_from, before.settled_to), before.settled_to


def answer(reply: Reply, now: int, now_s: float) -> Span:
    """Of a reply that is over now: from its first sound on until it was held back and what had been sent was played."""
    played = reply.playback
    heard = played.heard(now_s)
    if played.began_s is None:
        return max(0, now - heard), now
    # of what an earlier connection sent nobody knows when it began, but how long it lasts
    start = max(0, now - int((now_s - played.began_s) * SAMPLE_RATE) - played.sent_before)
    held = int(played.muted_for_s(now_s) * SAMPLE_RATE)
    return start, max(start, min(now, max(now - held, start + heard)))
