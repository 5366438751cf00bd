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
    """Of a reply that is over now: from its first sound on until it was held back, or is."""
    held_s = reply.playback.muted_for_s(now_s)
    began_s = reply.playback.began_s
    sounded_s = 0.0 if began_s is None else max(0.0, now_s - began_s - held_s)
    stop = max(0, now - int(held_s * SAMPLE_RATE))
    # of what an earlier connection sent nobody knows when it began, but how long it lasts
    lasted = max(int(sounded_s * SAMPLE_RATE), reply.playback.heard(now_s))
    return max(0, stop - lasted), stop
