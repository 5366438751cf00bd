"""What is counted of connections, and of stages that were asked for. All of it goes by Unmute's names."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from config import unmute_metrics as unmute

#: Close codes of ours: all is well; an error of ours; no free slot.
GOODBYE, BROKEN, FULL = 1000, 1011, 1013

_FIND = {"stt": unmute.stt_find_time, "tts": unmute.tts_find_time}
_MISSES = {"stt": unmute.stt_misses, "tts": unmute.tts_misses}
_HARD_MISSES = {"stt": unmute.stt_hard_misses, "tts": unmute.tts_hard_misses}


@contextmanager
def connection() -> Iterator[None]:
    """A client is connected."""
    began_s = time.monotonic()
    unmute.sessions.inc()
    unmute.active_sessions.inc()
    try:
        yield
    except Exception:
        unmute.hard_errors.inc()
        raise
    finally:
        unmute.active_sessions.dec()
        unmute.session_duration.observe(time.monotonic() - began_s)


def ended_by_us(close_code: int) -> None:
    """The server closes a connection."""
    if close_code == GOODBYE:
        return
    unmute.force_disconnects.inc()
    if close_code == BROKEN:
        unmute.hard_errors.inc()
    elif close_code == FULL:
        unmute.fatal_service_misses.inc()


def found(stage: str, after_s: float) -> None:
    """Somebody took what was asked for."""
    if stage in _FIND:
        _FIND[stage].observe(after_s)


def missed(stage: str) -> None:
    """Nobody did in time, and the client is told."""
    unmute.service_misses.inc()
    if stage in _MISSES:
        _MISSES[stage].inc()


def missed_for_good(stage: str) -> None:
    """Nobody did until nobody wanted it any more."""
    unmute.hard_service_misses.inc()
    if stage in _HARD_MISSES:
        _HARD_MISSES[stage].inc()
