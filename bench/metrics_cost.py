"""What the metrics cost: `python -m bench metrics`. Calls counted in a run of null engines, times the cost of a call.

With and without them, two runs differ by less than by chance; so calls are counted, and each kind is timed alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench import plumbing, processes
from bench.figures import at_most, show
from bench.machine import ROOT
from bench.metric_calls import Costs
from bench.report import Bar, Section, Table
from bench.server import BenchFailed, Server, running
from bench.steps.live import servers
from config.tuning import ObserveSettings
from tasks.laps import PARTS, SHOW_S

Say = Callable[[str], None]

#: Share of all CPU time that the metrics may take.
BAR = 0.02

#: Prometheus' usual interval.
SCRAPE_S = 15.0

PROGRAMS = ("web", "stt", "llm", "tts")

OURS = ("antiphon_", "worker_")

#: The users are gone before the server has parted from all of them; a session is counted when it has.
GOODBYES_S = 15.0

LOOK_S = 0.1


@dataclass(frozen=True)
class Calls:
    """How often something was counted: at most, for a counter may grow by more than one at a time."""

    observe: float = 0.0
    inc: float = 0.0

    def __sub__(self, before: "Calls") -> "Calls":
        return Calls(self.observe - before.observe, self.inc - before.inc)


def calls(page: str) -> Calls:
    """What a page of metrics tells of that."""
    observe = inc = 0.0
    for family in text_string_to_metric_families(page):
        if family.name.startswith(OURS):
            for sample in family.samples:
                observe += sample.value if sample.name.endswith("_count") else 0.0
                inc += sample.value if sample.name.endswith("_total") else 0.0
    return Calls(observe, inc)


def total(page: str, name: str) -> float:
    """Of all samples of that name."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    )


@dataclass(frozen=True)
class Run:
    """One number of sessions, from the first connection to the last goodbye."""

    sessions: int
    session_seconds: float
    seconds: float
    calls: Mapping[str, Calls]
    cpu_s: float
    """Of all processes of the server, Redis too."""

    def cost_s(self, web: Costs, worker: Costs) -> dict[str, float]:
        """CPU seconds by what they went into."""
        observing = pages = 0.0
        for program, made in self.calls.items():
            cost = web if program == "web" else worker
            observing += made.observe * cost.observe + made.inc * cost.inc
            pages += cost.page * self.seconds / SCRAPE_S
        laps = (
            2 * len(PARTS) * worker.inc * self.seconds / SHOW_S * len([p for p in self.calls if p != "web"])
        )
        rules = ObserveSettings.model_validate({})
        return {
            "observing": 1e-6 * (observing + laps),
            "looks": 1e-6 * web.look * self.seconds / rules.look_s,
            "pings": 1e-6 * web.ping * self.session_seconds / rules.ping_s,
            "pages": 1e-6 * pages,
        }


def measure(sessions: Sequence[int], seconds: float, say: Say) -> Section:
    """A server for all numbers of sessions. Raises BenchFailed."""
    web, worker = costs()
    runs = []
    with running("null") as server:
        for count in sessions:
            say(f"metrics: {count} sessions, {seconds:.0f} s")
            runs.append(_run(server, count, seconds))
    return _section(runs, web, worker)


def costs() -> tuple[Costs, Costs]:
    """Of a process of gunicorn's, and of a worker."""
    with TemporaryDirectory(dir="/dev/shm") as folder, servers() as (state, media):
        urls = {"ANTIPHON_REDIS_URL": state, "ANTIPHON_MEDIA_URL": media, "ANTIPHON_PROFILE": "null"}
        return _costs({**urls, "PROMETHEUS_MULTIPROC_DIR": folder}), _costs(urls)


def _costs(environment: Mapping[str, str]) -> Costs:
    command = [sys.executable, "-m", "bench.metric_calls"]
    ran = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, timeout=300
    )
    if ran.returncode:
        raise BenchFailed(f"calls could not be timed: {ran.stderr.decode()[-300:]}")
    return msgspec.json.decode(ran.stdout, type=Costs)


def _run(server: Server, sessions: int, seconds: float) -> Run:
    pages, before, began_s = _pages(server), processes.of_run(server.run), time.monotonic()
    plumbing._run(server, plumbing.STEPS[0], sessions, seconds)
    ended(lambda: server.page("web"))
    lasted_s = time.monotonic() - began_s
    after, later = processes.of_run(server.run), _pages(server)
    lasting = "worker_session_duration_sum"
    return Run(
        sessions,
        total(later["web"], lasting) - total(pages["web"], lasting),
        lasted_s,
        {name: calls(later[name]) - calls(pages[name]) for name in PROGRAMS},
        sum(after[name].cpu_s - before[name].cpu_s for name in after if name in before),
    )


def ended(page: Callable[[], str], wait: Callable[[float], None] = time.sleep) -> None:
    """Waits until no session is open any more, by web's page of metrics. Raises BenchFailed."""
    for _ in range(round(GOODBYES_S / LOOK_S)):
        if not total(page(), "worker_active_sessions"):
            return
        wait(LOOK_S)
    raise BenchFailed(f"sessions were still open {GOODBYES_S:.0f} s after their users had gone")


def _pages(server: Server) -> dict[str, str]:
    return {name: server.page(name) for name in PROGRAMS}


# --- what is told


def _section(runs: Sequence[Run], web: Costs, worker: Costs) -> Section:
    shares = {run.sessions: sum(run.cost_s(web, worker).values()) / run.cpu_s for run in runs}
    bars = [
        Bar(
            f"metrics, {count} sessions",
            f"≤ {100 * BAR:g} % of CPU",
            f"{100 * share:.2f} %",
            at_most(share, BAR),
        )
        for count, share in shares.items()
    ]
    notes = [
        "Calls are counted by what /metrics says before and after: exact for histograms, at most for counters. Each "
        "kind of call is timed alone, in a process with files shared by gunicorn's processes (web) and in one without "
        "(workers). CPU time is that of all processes of the server, from the first connection to the last goodbye.",
        f"Looks: queues, slots and Redis servers. Pages: each process asked every {SCRAPE_S:g} s.",
        "Pings: what measuring them takes. Their frames are few among those of the web's socket.",
    ]
    data = {
        "web_us": msgspec.to_builtins(web),
        "worker_us": msgspec.to_builtins(worker),
        "share": {str(count): share for count, share in shares.items()},
    }
    return Section(
        "metrics", "What metrics cost", bars, [_parts(runs, web, worker), _kinds(web, worker)], notes, data
    )


def _parts(runs: Sequence[Run], web: Costs, worker: Costs) -> Table:
    rows = []
    for run in runs:
        parts = run.cost_s(web, worker)
        each = 1e6 / run.session_seconds
        made = sum(one.observe + one.inc for one in run.calls.values()) / run.session_seconds
        rows.append(
            (str(run.sessions), show(made), *(show(value * each) for value in parts.values()),
             show(sum(parts.values()) * each), show(run.cpu_s * each))
        )  # fmt: skip
    head = ("sessions", "calls", "observing", "looks", "pings", "pages", "all metrics", "all CPU")
    return Table(head, rows, "Per session-second: calls, and µs of CPU")


def _kinds(web: Costs, worker: Costs) -> Table:
    rows = [
        (name, show(cost.observe), show(cost.inc), show(cost.set), show(cost.page), show(cost.look))
        for name, cost in (("web", web), ("worker", worker))
    ]
    return Table(("µs", "histogram", "counter", "gauge", "/metrics", "look"), rows, "One call")
