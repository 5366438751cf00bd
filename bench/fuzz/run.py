"""Innocents hold conversations on a server on which others do what they can: nobody but these may be harmed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import show
from bench.fuzz import watch
from bench.fuzz.tricks import VISIT_S
from bench.fuzz.watch import Series, Watch
from bench.machine import ROOT
from bench.report import Bar, Section, Table
from bench.server import BenchFailed, Server, running
from cli.loadtest import sounds
from cli.loadtest.gathered import Gathered
from cli.loadtest.generator import RAMP_PER_SESSION_S, Generator, Order, health

Say = Callable[[str], None]

#: Packets of innocents, as in `bench.plumbing`.
PACKET_MS = 80

#: What is left of a session when its client has gone is forgotten after so long, for the figures after the run.
RESUME_S = 5

#: And so long is waited for it: a session's streams outlive it by what an orphan has.
REST_S = 25.0

#: The hostile must not be stopped by what is meant for strangers: keys and limits are tested elsewhere.
SETTINGS = {
    "ANTIPHON_OWNERSHIP__RESUME_S": str(RESUME_S),
    "ANTIPHON_VOICES__ENCODER": "null",
    "ANTIPHON_LOG_LEVEL": "INFO",
}

#: The hostile have the lowest priority; on a machine with much to do they end late.
LATE_S = 60.0

#: Of the second half of a run, in MB a minute for each program; a leak of a kilobyte a visit would be ten times that.
SLOPE_MB = 2.0

#: Shorter runs say nothing of a slope: allocators fill their pools.
SLOPE_FROM_S = 240.0


@dataclass(frozen=True)
class Scope:
    """How much of it."""

    seconds: float = 600.0
    hostile: int = 6
    innocent: int = 6
    seed: int = 1
    trick: str = ""
    """The only one; empty: all."""


@dataclass(frozen=True)
class Run:
    """What came of it."""

    scope: Scope
    innocents: Gathered
    done: Mapping[str, int]
    memory: Mapping[str, Series]
    rested_mb: Mapping[str, float]
    keys: Mapping[str, int]
    lost: Sequence[str]
    """Programs that had another process at the end."""
    troubles: Sequence[str]


def measure(scope: Scope, say: Say) -> Section:
    """On a server of its own. Raises BenchFailed."""
    with running("null", SETTINGS) as server:
        before = watch.pids(server)
        with Watch(server) as watching:
            innocents, done = _together(server, scope, say)
            memory = {name: Series([*one.at_s], [*one.mb]) for name, one in watching.memory.items()}
            say(f"fuzz: over; what is left is looked at in {REST_S:.0f} s")
            time.sleep(REST_S if scope.seconds > REST_S else RESUME_S)
            watching.look()
            rested = {name: one.mb[-1] for name, one in watching.memory.items()}
            keys = dict(watching.keys)
        after = watch.pids(server)
        lost = sorted({program for pid, program in before.items() if pid not in after})
        run = Run(scope, innocents, done, memory, rested, keys, lost, watch.troubles(server))
    for trouble in run.troubles[:3]:
        say(f"fuzz: {trouble}")
    return section(run)


def _together(server: Server, scope: Scope, say: Say) -> tuple[Gathered, dict[str, int]]:
    speech = sounds.speech("a hum", sounds.hums(), "ga", PACKET_MS)
    order = Order(
        url=server.url, dialect="ga", speech=speech, sessions=scope.innocent,
        ramp_s=RAMP_PER_SESSION_S * scope.innocent, seconds=scope.seconds, conversations=None, turns=None,
    )  # fmt: skip
    arguments = [server.url, str(scope.hostile), str(scope.seed), str(scope.seconds), scope.trick]
    with Generator(order) as users:
        child = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, "-m", "bench.fuzz.crowd", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        try:
            gathered = users.run(lambda _: None)
            said, _ = child.communicate(timeout=LATE_S)
        except subprocess.TimeoutExpired as error:
            raise BenchFailed("the hostile clients do not end") from error
        finally:
            child.kill()
            child.wait()
    say(f"fuzz: {said.decode().strip()}")
    return gathered, json.loads(said or b"{}")


# --- what is told


def section(run: Run) -> Section:
    """Bars, and tables of memory and of tricks."""
    scope, late = run.scope, [turn.late_ms for turn in run.innocents.turns if turn.late_ms > 0]
    turns, troubles = len(run.innocents.turns), health(run.innocents).troubles
    failed = [
        f"{count} × {cause}: {run.innocents.detail(cause)}" for cause, count in run.innocents.causes().items()
    ]
    bars = [
        Bar("processes that died", "0", ", ".join(run.lost) or "0", not run.lost),
        Bar("failures in logs", "0", str(len(run.troubles)), not run.troubles),
        Bar("turns of innocents that failed", "0", "; ".join(failed) or f"0 of {turns}", bool(turns) and not failed),
        _late(late, turns, troubles),
        *_slopes(run),
    ]  # fmt: skip
    rows = [
        (name, show(one.mb[0], 1), show(watch.largest(one.mb), 1), show(one.mb[-1], 1), show(run.rested_mb[name], 1),
         f"{one.since(0.5).slope_mb_per_min:.2f}")
        for name, one in sorted(run.memory.items())
    ]  # fmt: skip
    tables = [
        Table(
            ("MB", "begin", "most", "end", "after a rest", "slope of the second half, MB/min"), rows, "Memory"
        ),
        Table(
            ("visit", "times"),
            [(name, str(count)) for name, count in sorted(run.done.items())],
            "What was done",
        ),
    ]
    notes = [
        f"{scope.hostile} hostile clients, one visit of at most {VISIT_S:.0f} s after another, beside {scope.innocent} "
        f"innocent ones in conversation, for {scope.seconds:.0f} s (seed {scope.seed}), on the null profile; all on "
        "one machine.",
        "Memory: resident sets of web and workers with their children, `used_memory` of both Redis servers; the rest "
        f"is {REST_S:.0f} s without clients. Keys left then: {', '.join(f'{n} {c}' for n, c in run.keys.items())}.",
    ]
    if troubles:
        notes.append(
            f"The innocents' own clients did not keep time: {'; '.join(troubles)}. Late audio may be theirs."
        )
    data = {
        "slopes": {name: one.since(0.5).slope_mb_per_min for name, one in run.memory.items()},
        "done": dict(run.done),
    }
    return Section("fuzz", "Hostile clients", bars, tables, notes, data)


def _late(late: Sequence[float], turns: int, troubles: Sequence[str]) -> Bar:
    """Where their own clients do not keep time, nobody knows whose fault it is."""
    measured = f"{len(late)} of {turns}" + (f", by {watch.largest(late):.0f} ms at the most" if late else "")
    excused = bool(late) and bool(troubles)
    told = f"{measured}; not judged, for their own clients did not keep time" if excused else measured
    return Bar("replies to innocents with late audio", "0", told, not late or excused)


def _slopes(run: Run) -> list[Bar]:
    if run.scope.seconds < SLOPE_FROM_S:
        return []
    slopes = {name: one.since(0.5).slope_mb_per_min for name, one in run.memory.items()}
    name, worst = max(slopes.items(), key=lambda item: item[1])
    return [
        Bar(
            "memory's slope, of the worst program",
            f"≤ {SLOPE_MB:g} MB/min",
            f"{worst:.2f} ({name})",
            worst <= SLOPE_MB,
        )
    ]
