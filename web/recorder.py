"""Writes what happens in a session to a file, where the operator wants it and the client consented. No audio.

Lines are collected and written by a thread, at most every half second and one batch at a time: a slow disk holds up no
session. A disk that fails is reported once and ends the recording.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gevent

from web import record
from web.actions import Action
from web.happenings import Happening
from web.rules import Rules
from web.turn import Turn

log = logging.getLogger(__name__)

#: Between two writes; so much is lost at most when the process is killed.
FLUSH_S = 0.5

#: Lines in hand while the disk is busy: minutes of conversation. Beyond, it is given up.
MAX_IN_HAND = 1 << 20

#: A session that ends waits so long for the disk.
CLOSE_S = 1.0

#: Starts a function in a thread; what it returns has `ready()` and `wait(timeout)`.
Background = Callable[..., Any]


def in_thread(work: Callable[..., None], *given: Any) -> Any:
    """On gevent's own threads: to a file it cannot write without blocking."""
    return gevent.get_hub().threadpool.spawn(work, *given)


class Recorder:
    """One session's recording: `<folder>/<session>.jsonl`. Says nothing until it is allowed to."""

    def __init__(
        self, folder: Path | None, session: str, *,
        background: Background = in_thread, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._path = folder / f"{session}.jsonl" if folder else None
        self._background = background
        self._clock = clock
        self._allowed = False
        self._lines: list[bytes] = []
        self._in_hand = 0
        self._steps = -1
        """Since the header; -1: there is none yet."""
        self._rules: Rules | None = None
        self._before: dict[str, Any] = {}
        self._at = 0
        self._written_s = 0.0
        self._job: Any = None
        self._failure: OSError | None = None

    def allow(self, allowed: bool) -> None:
        """The client consents, or does no longer: what was recorded until then is kept."""
        if not allowed:
            self.close()
        self._allowed = allowed and self._path is not None

    def note(
        self,
        before: Turn,
        happening: Happening,
        rules: Rules,
        decided: Sequence[Action],
        now: int | None = None,
    ) -> None:
        """`happening` met a turn in the state `before`. now: its session sample, where it carries none itself."""
        if not self._allowed:
            return
        state = record.fields_of(before)
        if self._steps < 0:
            self._begin(rules, state)
        elif rules is not self._rules and rules != self._rules:
            self._add(record.Change(rules=record.fields_of(rules)))
        self._rules = rules
        self._steps += 1
        self._at = _sample_of(happening, now, self._at)
        changed = {name: value for name, value in state.items() if self._before.get(name, self) != value}
        self._before = state
        self._add(
            record.Step(
                order=self._steps,
                at=self._at,
                before=changed,
                happened=record.named(happening),
                decided=[record.named(action) for action in decided],
            )
        )
        if self._clock() - self._written_s >= FLUSH_S:
            self._flush()

    def _begin(self, rules: Rules, state: dict[str, Any]) -> None:
        header = record.Header(version=record.VERSION, rules=record.fields_of(rules), turn=state)
        self._steps, self._before, self._written_s = 0, state, self._clock()
        self._add(header)

    def close(self) -> None:
        """The recording is whole. Waits a moment for the disk, no longer."""
        if not self._allowed or self._steps < 0:
            return
        self._add(record.End(steps=self._steps))
        self._steps = -1
        deadline = self._clock() + CLOSE_S
        for _ in range(2):  # what is being written, then the rest
            if self._job is not None:
                self._job.wait(timeout=max(0.0, deadline - self._clock()))
            self._flush()
        self._allowed = False

    # --- the file

    def _add(self, line: record.Line) -> None:
        self._lines.append(record.encode(line) + b"\n")
        self._in_hand += len(self._lines[-1])

    def _flush(self) -> None:
        busy = self._job is not None and not self._job.ready()
        if self._failure is not None or (busy and self._in_hand > MAX_IN_HAND):
            self._give_up()
        elif not busy and self._lines:
            batch, self._lines, self._in_hand = b"".join(self._lines), [], 0
            self._written_s = self._clock()
            self._job = self._background(self._write, batch)

    def _give_up(self) -> None:
        reason = os.strerror(self._failure.errno or 0) if self._failure else "the disk is too slow"
        log.error("a session is no longer recorded: %s", reason)
        self._lines, self._in_hand, self._allowed, self._path = [], 0, False, None

    def _write(self, batch: bytes) -> None:
        """In the thread. A line that an earlier process left unfinished is ended first."""
        path = self._path
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(path, "a+b", opener=_private) as file:
                file.write(batch)
        except OSError as error:
            self._failure = error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sample_of(happening: Happening, now: int | None, last: int) -> int:
    own = getattr(happening, "at", getattr(happening, "to", None))
    return next(sample for sample in (now, own, last) if sample is not None)
