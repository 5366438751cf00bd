"""How a run goes, while it does: one line that is written over on a terminal, else a plain line now and then."""

import sys
import time
from typing import TextIO

from cli.loadtest.figures import spread
from cli.loadtest.gathered import Gathered

#: A log gets a line so often.
PLAIN_EVERY_S = 10.0

#: The p95 so far is of the newest turns: it shows what is, not what was.
NEWEST = 500


def line(sessions: int, of: int, found: Gathered) -> str:
    """What is known so far, in one line."""
    values = spread(turn.voice_to_voice_ms for turn in found.answered()[-NEWEST:])
    p95 = "–" if values.p95 is None else f"{values.p95:.0f} ms"
    return f"{sessions}/{of} sessions, {len(found.turns)} turns, {found.failed} failures, voice to voice p95 {p95}"


class Progress:
    """Writes to stderr: stdout is for what was found."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._told_s = time.monotonic()

    def show(self, text: str) -> None:
        """The newest state."""
        if self._live:
            self._stream.write(f"\r\x1b[2K{text}")
            self._stream.flush()
        elif time.monotonic() > self._told_s + PLAIN_EVERY_S:
            self._told_s = time.monotonic()
            self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._stream.write(f"\r\x1b[2K{text}\n" if self._live else f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Nothing more is shown."""
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
