"""The processes of talkers: starts them, listens to what they find, ends them; and whether they were up to it."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from cli.loadtest.figures import Spread, spread_of
from cli.loadtest.gathered import Gathered
from cli.loadtest.plan import Plan, Speech
from config.errors import AntiphonError

#: A process holds so many sessions: a tenth of a core, so that no talker waits for another.
SESSIONS_PER_PROCESS = 64

#: More processes only take turns.
MOST_PER_CORE = 4

#: From the start of a process until it has imported what it needs and can keep time.
START_S = 2.0

#: A session needs so long between its neighbours: handshakes are the most a server does for one.
RAMP_PER_SESSION_S = 0.05

#: After the end of a plan, to say goodbye and to tell.
GOODBYE_S = 15.0

#: Beyond these the generator measures itself. A packet's lateness is added to whatever is measured in milliseconds, the
#: strictest of which is the 50 ms of STT.
MOST_LATE_P95_MS = 10.0
MOST_LAG_P99_MS = 50.0
MOST_BUSY = 0.75


class GeneratorFailed(AntiphonError):
    """A process of talkers ended too early."""

    code = "generator_failed"


@dataclass(frozen=True)
class Order:
    """A whole run."""

    url: str
    dialect: str
    speech: Speech
    sessions: int
    ramp_s: float
    warm_up_s: float = 0.0
    """After the ramp, before anything counts. None of both: all counts from the first session on."""
    seconds: float | None = None
    """That are measured; None: until all conversations were held."""
    conversations: int | None = 1
    turns: int | None = 3
    processes: int | None = None
    counts_ramp: bool = True
    api_key: str | None = field(default=None, repr=False)

    @property
    def shares(self) -> list[int]:
        """Sessions of each process."""
        wanted = -(-self.sessions // SESSIONS_PER_PROCESS)
        count = min(self.sessions, self.processes or min(wanted, MOST_PER_CORE * (os.cpu_count() or 1)))
        return [self.sessions // count + (number < self.sessions % count) for number in range(count)]


class Generator:
    """One run. Use as a context: at its end no process is left."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = TemporaryDirectory(prefix="antiphon-loadtest-")
        self._news: queue.SimpleQueue[tuple[int, Gathered | None]] = queue.SimpleQueue()
        self.children: list[subprocess.Popen[bytes]] = []
        self.found = Gathered()
        self.interrupted = False
        self.up: dict[int, int] = {}
        """Sessions of each process, now."""
        self.zero_s = time.monotonic() + START_S
        after_ramp = self.zero_s + order.ramp_s + order.warm_up_s
        self.begin_s = self.zero_s if order.counts_ramp else after_ramp
        self.end_s = float("inf") if order.seconds is None else after_ramp + order.seconds

    def __enter__(self) -> "Generator":
        first = 0
        for process, sessions in enumerate(self._order.shares):
            self._start(process, first, sessions)
            first += sessions
        return self

    def _start(self, process: int, first: int, sessions: int) -> None:
        order = self._order
        plan = Plan(
            url=order.url, dialect=order.dialect, speech=order.speech, sessions=sessions, first=first,
            of=order.sessions, process=process, zero_s=self.zero_s, ramp_s=order.ramp_s, begin_s=self.begin_s,
            end_s=self.end_s, conversations=order.conversations, turns=order.turns,
            api_key=order.api_key,
        )  # fmt: skip
        path = Path(self._folder.name, f"{process}.plan")
        path.write_bytes(msgspec.msgpack.encode(plan))
        child = subprocess.Popen(
            [sys.executable, "-m", "cli.loadtest.crowd", str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.children.append(child)
        threading.Thread(target=self._listen, args=(process, child), daemon=True).start()

    def _listen(self, process: int, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                self._news.put((process, msgspec.json.decode(line, type=Gathered)))
        except msgspec.DecodeError:  # killed in the middle of a line
            child.kill()
        finally:
            self._news.put((process, None))

    def run(self, progress: Callable[["Generator"], None]) -> Gathered:
        """To the end; `progress` is called about once a second. Raises GeneratorFailed."""
        left = set(range(len(self.children)))
        try:
            self._collect(left, self.end_s + GOODBYE_S, progress)
        except KeyboardInterrupt:  # the processes were interrupted, too, and tell what they have
            self.interrupted = True
            self._collect(left, time.monotonic() + GOODBYE_S, lambda _: None)
        for child in self.children:
            if left or (child.wait() and not self.interrupted):
                raise GeneratorFailed(f"a process of talkers failed (exit status {child.poll()})")
        return self.found

    def _collect(self, left: set[int], deadline_s: float, progress: Callable[["Generator"], None]) -> None:
        """Until all have told all."""
        told_s = 0.0
        while left and time.monotonic() < deadline_s:
            left -= self._take()
            if time.monotonic() > told_s + 1.0:
                told_s = time.monotonic()
                progress(self)

    def _take(self) -> set[int]:
        """Hears news for a while; who has ended."""
        try:
            process, part = self._news.get(timeout=0.25)
        except queue.Empty:
            return set()
        if part is None:
            self.up[process] = 0
            return {process}
        self.found.take(part)
        if part.busy:
            self.up[process] = part.busy[-1].up
        return set()

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        self._folder.cleanup()


@dataclass(frozen=True)
class Health:
    """Whether the generator kept time: if not, what it measured is its own."""

    sent_late: Spread
    loop_lag: Spread
    busiest: float
    """The largest mean share of a core of one process."""
    cpu_ms_per_session_second: float | None

    @property
    def troubles(self) -> list[str]:
        """Why the run says nothing; empty if it does."""
        found = []
        if (self.sent_late.p95 or 0) > MOST_LATE_P95_MS:
            found.append(
                f"packets left {self.sent_late.p95:.1f} ms late at p95 (at most {MOST_LATE_P95_MS:g})"
            )
        if (self.loop_lag.p99 or 0) > MOST_LAG_P99_MS:
            found.append(
                f"its event loops lagged {self.loop_lag.p99:.1f} ms at p99 (at most {MOST_LAG_P99_MS:g})"
            )
        if self.busiest > MOST_BUSY:
            found.append(f"a process took {self.busiest:.0%} of a core (at most {MOST_BUSY:.0%})")
        return found


def health(found: Gathered) -> Health:
    """Of a run."""
    by_process: dict[int, list[float]] = {}
    session_s = cpu_s = 0.0
    last: dict[int, float] = {}
    for second in sorted(found.busy, key=lambda one: one.at_s):
        took_s = second.at_s - last.get(second.process, second.at_s - 1.0)
        last[second.process] = second.at_s
        if second.up:
            by_process.setdefault(second.process, []).append(second.share)
            session_s += second.up * took_s
            cpu_s += second.share * took_s
    means = [sum(shares) / len(shares) for shares in by_process.values()]
    return Health(
        spread_of(found.sent_late),
        spread_of(found.loop_lag),
        max(means, default=0.0),
        1000 * cpu_s / session_s if session_s else None,
    )
