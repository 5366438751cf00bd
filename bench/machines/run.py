"""What users notice when the machines of a fleet are far apart, cut off, more, or of different minds about the time."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.figures import at_most, show
from bench.machines import fleet, layout
from bench.machines.scenarios import SCENARIOS, Noticed, Scenario, play
from bench.report import Bar, Section, Table
from bench.server import BenchFailed

Say = Callable[[str], None]

WORKERS = ("stt1", "stt2", "llm1", "tts1")

#: Wall clocks of one scenario, in seconds ahead.
CLOCKS = {"web": 300, "stt1": -300, "stt2": 300, "llm1": 300, "tts1": -300}

#: From a cut until somebody else works; from its end until work is taken there again.
TAKEN_OVER_S, BACK_S = 2.5, 6.0


@dataclass(frozen=True)
class Scope:
    """How much is measured."""

    sessions: int = 8
    seconds: float = 36.0
    scenarios: Sequence[Scenario] = SCENARIOS

    @classmethod
    def quick(cls) -> "Scope":
        """A smoke test."""
        chosen = [scenario for scenario in SCENARIOS if scenario.happens is None][:2]
        return cls(2, 10.0, chosen)


def measure(scope: Scope, say: Say) -> Section:
    """Every scenario on one fleet, and the wrong clocks on another. Raises BenchFailed."""
    if lacking := layout.lacks():
        raise BenchFailed(f"several machines need {lacking}")
    noticed: list[Noticed] = []
    with fleet.running(WORKERS) as there:
        for scenario in scope.scenarios:
            noticed.append(play(there, scenario, scope.sessions, scope.seconds))
            say(f"machines: {_in_short(noticed[-1])}")
    with fleet.running(WORKERS, clocks=CLOCKS) as there:
        scenario = Scenario("wall clocks five minutes off, to both sides")
        noticed.append(play(there, scenario, scope.sessions, scope.seconds))
        say(f"machines: {_in_short(noticed[-1])}")
    return _section(noticed, scope)


def _in_short(one: Noticed) -> str:
    return (
        f"{one.scenario.name}: {one.answered} of {one.turns} answered, p95 {show(one.latency.p95)} ms, "
        f"told {one.gathered.causes() or 'nothing'}, late {len(one.late_ms)}, taken over {_worst(one)}, "
        f"back {show(one.times.back, 1)} {one.trouble}"
    )


def _worst(one: Noticed) -> str:
    took = one.times.taken_over
    if not took:
        return "–"
    known = [value for value in took if value is not None]
    return "never" if len(known) < len(took) else show(max(known), 2)


def _section(noticed: Sequence[Noticed], scope: Scope) -> Section:
    return Section(
        "machines",
        "Several machines, null engines",
        [bar for one in noticed for bar in _bars(one)],
        [_table(noticed)],
        [
            f"{scope.sessions} talkers for {scope.seconds:.0f} s in each scenario, against {', '.join(WORKERS)}, web "
            "and the two Redis servers, each on a machine of its own: a network namespace on a wire that delays, loses "
            "and cuts. The round trip is that between any two of these machines; loss is of packets of each link. "
            "Talkers reach web without delay.",
            "Latency: last packet of voice to first audio, the null engines' own time in it. Late: replies that "
            "stopped in the middle, for audio came too late. Told: errors that talkers got.",
            "Taken over: from the cut until the last of the sessions or replies that were worked on there was worked "
            "on elsewhere. Back: from the end of the cut until the machine took work again.",
            *_weak(noticed),
        ],
        {"scenarios": [_data(one) for one in noticed]},
    )


def _weak(noticed: Sequence[Noticed]) -> list[str]:
    """Where talkers themselves were late, the figures say too much."""
    late = [
        f"{one.scenario.name}: {', '.join(one.health.troubles)}" for one in noticed if one.health.troubles
    ]
    return [f"The machine was too busy for its talkers to keep time. {'; '.join(late)}."] if late else []


def _bars(one: Noticed) -> list[Bar]:
    name = one.scenario.name
    share = f"{one.answered} of {one.turns}"
    bars = [Bar(f"{name}: answered", "all", share, 0 < one.turns == one.answered and not one.trouble)]
    if not one.scenario.tells:
        bars.append(Bar(f"{name}: errors told", "0", str(one.gathered.failed), not one.gathered.failed))
    if one.times.taken_over and not one.scenario.tells:
        known = [value for value in one.times.taken_over if value is not None]
        whole = len(known) == len(one.times.taken_over)
        reached = whole and at_most(max(known), TAKEN_OVER_S)
        bars.append(Bar(f"{name}: taken over", f"≤ {TAKEN_OVER_S:g} s", f"{_worst(one)} s", reached))
    if one.times.taken_over:
        reached = at_most(one.times.back, BACK_S)
        bars.append(Bar(f"{name}: back", f"≤ {BACK_S:g} s", f"{show(one.times.back, 1)} s", reached))
    return bars


def _table(noticed: Sequence[Noticed]) -> Table:
    usual = noticed[0].latency
    head = ("scenario", "turns", "answered", "told", "p50 ms", "p95", "p50 more than usual", "late (by at most, ms)",
            "taken over, s", "back, s", "packets lost")  # fmt: skip
    rows = []
    for one in noticed:
        more: float | None = None
        with suppress(TypeError):
            more = one.latency.median - usual.median  # type: ignore[operator]
        told = ", ".join(f"{count} {cause}" for cause, count in one.gathered.causes().items()) or "–"
        late = f"{len(one.late_ms)} ({max(one.late_ms):.0f})" if one.late_ms else "0"
        rows.append(
            (
                one.scenario.name + _shared(one), str(one.turns), str(one.answered), told,
                show(one.latency.median), show(one.latency.p95), show(more), late, _worst(one),
                show(one.times.back, 1), str(one.wire.lost),
            )
        )  # fmt: skip
    return Table(head, rows)


def _shared(one: Noticed) -> str:
    return f" ({', '.join(sorted(one.times.workers))} spoke after it)" if one.times.workers else ""


def _data(one: Noticed) -> dict[str, Any]:
    return {
        "scenario": one.scenario.name,
        "turns": one.turns,
        "answered": one.answered,
        "unanswered": one.unanswered,
        "told": one.gathered.causes(),
        "latency_ms": one.latency.data,
        "late_ms": one.late_ms,
        "taken_over_s": one.times.taken_over,
        "back_s": one.times.back,
        "workers": sorted(one.times.workers),
        "packets": one.wire.carried,
        "packets_lost": one.wire.lost,
        "talkers_troubles": list(one.health.troubles),
        "trouble": one.trouble,
    }
