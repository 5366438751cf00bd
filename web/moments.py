"""When something was said, in session samples: of the user as heard, of the assistant as sounded. Pure."""

from config.messages import Transcript
from config.settings import SAMPLE_RATE
from web.happenings import Happening
from web.items import Span
from web.reply import Reply
from web.turn import Turn


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
