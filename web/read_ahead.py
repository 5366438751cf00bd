"""When the LLM is asked to read a prompt before its reply is."""

import time
from collections.abc import Callable

from config.messages import Order

#: A prompt that was read so recently is still known: asking again would cost more than it may save.
KNOWN_S = 15.0


class ReadAhead:
    """Asks for each draft of a prompt once, and again when a reader may have forgotten it."""

    def __init__(self, prefill: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._prefill = prefill
        self._clock = clock
        self._asked: Order | None = None
        self._asked_s = 0.0

    def ask(self, draft: Order | None) -> None:
        """The newest draft may soon be a reply's prompt; None: there is none, and an LLM may know why."""
        now_s = self._clock()
        if draft is not None and draft is self._asked and now_s < self._asked_s + KNOWN_S:
            return
        self._asked, self._asked_s = draft, now_s
        self._prefill()
