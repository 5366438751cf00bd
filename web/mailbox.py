"""What a session's greenlet has to deal with, in order; bounded."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent.hub import Waiter

from config.errors import AntiphonError
from config.messages import Result
from web.dialects.base import Request


@dataclass(frozen=True)
class Gap:
    """Results may have been lost: they are to be read back."""


@dataclass(frozen=True)
class GivenUp:
    """A stage cannot do its part of the reply."""

    stage: str


Mail = Request | Result | AntiphonError | Gap | GivenUp


#: Who finds no room looks again so often; a full mailbox is rare.
ROOM_LOOK_S = 0.01


class Mailbox:
    """Letters of any greenlet for the session's own.

    gevent's Queue does the same, with a Timeout for every wait and an exception at the end of every take: for two
    dozen takes a second of each session that was a tenth of the web's CPU.
    """

    def __init__(self, items: int) -> None:
        self._items = items
        self._letters: deque[Mail] = deque()
        self._missed = False
        self._waiter: Waiter[None] | None = None
        """Of the one who waits for letters."""

    def post(self, mail: Mail, *, wake: bool = True) -> None:
        """Without waiting: what finds no room leaves a Gap, for results can be read back from replay.

        wake: not where it can wait until the reader looks by itself.
        """
        if len(self._letters) < self._items:
            self._letters.append(mail)
        else:
            self._missed = True
        if wake:
            self.wake()

    def put(self, mail: Mail, timeout_s: float, held: Callable[[], bool] = lambda: False) -> bool:
        """Waits for room; False when there was none in time. No time counts while it is `held`: nobody is to blame."""
        deadline = time.monotonic() + timeout_s
        while len(self._letters) >= self._items:
            if held():
                deadline = time.monotonic() + timeout_s
            elif time.monotonic() >= deadline:
                return False
            gevent.sleep(ROOM_LOOK_S)
        self._letters.append(mail)
        self.wake()
        return True

    def take(self, patience_s: float) -> list[Mail]:
        """All letters there are, after waiting at most `patience_s` for the first."""
        if not self._letters and not self._missed:
            self._wait(patience_s)
        letters = list(self._letters)
        self._letters.clear()
        if self._missed:
            self._missed = False
            letters.append(Gap())
        return letters

    def _wait(self, patience_s: float) -> None:
        waiter: Waiter[None] = Waiter()
        self._waiter = waiter
        timer = gevent.get_hub().loop.timer(patience_s)
        timer.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            self._waiter = None
            timer.close()

    def wake(self) -> None:
        """Who waits for letters waits no longer, though there may be none."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            gevent.get_hub().loop.run_callback(waiter.switch, None)
