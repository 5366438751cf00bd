"""What a session's greenlet has to deal with, in order; bounded."""

from dataclasses import dataclass

from gevent.queue import Empty, Full, Queue

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


class Mailbox:
    """Letters of any greenlet for the session's own."""

    def __init__(self, items: int) -> None:
        self._queue: Queue[Mail] = Queue(maxsize=items)
        self._missed = False

    def post(self, mail: Mail) -> None:
        """Without waiting: what finds no room leaves a Gap, for results can be read back from replay."""
        try:
            self._queue.put_nowait(mail)
        except Full:
            self._missed = True

    def put(self, mail: Mail, timeout_s: float) -> bool:
        """Waits for room; False when there was none in time."""
        try:
            self._queue.put(mail, timeout=timeout_s)
        except Full:
            return False
        return True

    def take(self, patience_s: float) -> list[Mail]:
        """All letters there are, after waiting at most `patience_s` for the first."""
        letters: list[Mail] = []
        try:
            letters.append(self._queue.get(timeout=patience_s))
            while True:
                letters.append(self._queue.get_nowait())
        except Empty:
            pass
        if self._missed:
            self._missed = False
            letters.append(Gap())
        return letters
