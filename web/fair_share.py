"""How much work one client may make: as long as it is little, it is read at once; beyond, more slowly. Pure: moments
and durations are handed in.

Greenlets take turns only where one waits, and a client that sends faster than it is served never makes its reader wait:
unchecked, one of them stops the conversations of all others.
"""

from config.settings import SAMPLE_RATE
from web.dialects import base

#: After so long at a stretch others have their turn: a packet of audio lasts ten times that.
TURN_S = 0.002

#: No pause is longer: a client that is read so seldom still gets its answers.
LONGEST_PAUSE_S = 2.0

#: What serving a request takes beyond reading it, of web and Redis, in seconds of a core.
REQUEST_S = 0.001

#: The same of an error that is told.
ERROR_S = 0.0002

#: The same of those that put workers to work: two tasks are sent, claimed and called off; a prompt is read ahead.
DEAR_S: dict[type, float] = {base.CreateReply: 0.01, base.CommitInput: 0.005, base.Configure: 0.005}

#: What a second of sound takes, of Redis and the STT: with the usual share it may come ten times as fast as it was
#: spoken, after the first 20 s.
SOUND_S = 0.005

#: What it takes to find somebody who listens to an item.
LISTENING_S = 0.005

#: Of the session's state that is saved with most requests: bytes that take a second of a core to write and to keep.
SAVED_BYTES_PER_S = 50_000_000


def price_s(request: base.Request, state_bytes: int) -> float:
    """Seconds of a core for a request of a session whose state has so many bytes."""
    if isinstance(request, base.AppendAudio):
        return _heard_s(request)
    price_s = DEAR_S.get(type(request), REQUEST_S) + state_bytes / SAVED_BYTES_PER_S
    return price_s + sum(LISTENING_S + _heard_s(sound) for sound in _sounds(request))


def _sounds(request: base.Request) -> list[base.AppendAudio]:
    """Those of items, each of which somebody must listen to."""
    match request:
        case base.AddItem(sound=sound) if sound is not None:
            return [sound]
        case base.CreateReply(sounds=sounds):
            return [sound for _, sound in sounds]
    return []


def _heard_s(sound: base.AppendAudio) -> float:
    return SOUND_S * sound.samples / SAMPLE_RATE


class FairShare:
    """Of one client: a debt that time pays back."""

    def __init__(self, share: float, burst_s: float, now_s: float) -> None:
        """share: of a core, for good. burst_s: seconds of a core that may be taken at once."""
        self._share = share
        self._burst_s = burst_s
        self._debt_s = 0.0
        self._stretch_s = 0.0
        self._at_s = now_s

    def charge(self, price_s: float) -> None:
        """What others do for this client."""
        self._debt_s += price_s

    def spend(self, cpu_s: float, now_s: float) -> float | None:
        """Its reader worked so long: for how many seconds it pauses. 0: others have their turn; None: it goes on."""
        paid_s = self._share * (now_s - self._at_s)
        self._debt_s = max(0.0, self._debt_s - paid_s) + cpu_s
        self._at_s = now_s
        self._stretch_s += cpu_s
        over_s = self._debt_s - self._burst_s
        if over_s <= 0 and self._stretch_s < TURN_S:
            return None
        self._stretch_s = 0.0
        return min(LONGEST_PAUSE_S, max(0.0, over_s) / self._share)
