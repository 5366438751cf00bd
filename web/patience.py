"""How long an HTTP answer waits for Redis: a server that hangs holds up nobody who asks how things are."""

from collections.abc import Callable
from typing import TypeVar

import gevent

from tasks.streams import RedisError

T = TypeVar("T")

#: Redis answers within some ms. Who polls for health gives up after a few seconds, and so do people in front of a page.
PATIENCE_S = 0.8


class TooSlow(RedisError):
    """It may be there, but it does not answer."""


def promptly(work: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """What `work` gives, in time. Raises TooSlow; connections that were waited on are closed then."""
    timer = gevent.Timeout(patience_s)
    try:
        with timer:
            return work()
    except gevent.Timeout as over:
        if over is not timer:
            raise
        raise TooSlow(f"no answer within {patience_s:g} s") from None
