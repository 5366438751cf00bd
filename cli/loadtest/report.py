"""One run as it is told: a table for people, values for JSON. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from cli.loadtest.gathered import EARLY, Gathered
from cli.loadtest.generator import Health, health
from cli.loadtest.server_metrics import ServerRow
from cli.loadtest.targets import Judged, Row, Targets, judge

NONE = "–"


@dataclass(frozen=True)
class Report:
    """A run, judged."""

    url: str
    dialect: str
    speech: str
    sessions: int
    processes: int
    took_s: float
    targets: Targets
    found: Gathered
    judged: Judged
    health: Health
    server: Sequence[ServerRow]
    interrupted: bool
    """By Ctrl-C: what was found until then."""
    machine_busy: float
    """Mean share of all cores of this machine that worked, whoever used them."""

    @property
    def valid(self) -> bool:
        """The generator kept time, so the figures are the server's."""
        return not self.health.troubles

    @property
    def unknown(self) -> list[str]:
        """Targets of which an interrupted run can say nothing: their figures had not been measured yet."""
        rows = self.judged.rows if self.interrupted else ()
        return [row.name for row in rows if row.held is False and not row.spread.count]

    @property
    def missed(self) -> list[str]:
        """Targets that are known not to be held."""
        return [name for name in self.judged.missed if name not in self.unknown]


def report(
    found: Gathered, targets: Targets, server: Sequence[ServerRow], machine_busy: float, **run: Any
) -> Report:
    """What was found, judged."""
    judged = judge(found, targets)
    return Report(
        found=found, targets=targets, judged=judged, health=health(found), server=server,
        machine_busy=machine_busy, **run,
    )  # fmt: skip


def show(value: float | None, unit: str = "ms") -> str:
    """A figure for a table."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if unit == "×" else f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"


HEAD = ("", "values", "mean", "median", "p90", "p95", "p99", "worst", "target", "")


def cells(row: Row, unknown: Sequence[str] = ()) -> tuple[str, ...]:
    """Of one line of the table. unknown: targets that nothing is said of."""
    of = row.spread
    values = (of.mean, of.median, of.p90, of.p95, of.p99, of.worst)
    mark = {None: "", True: "held", False: "MISSED"}[None if row.name in unknown else row.held]
    return (
        f"{row.name} {row.unit}", str(of.count), *(show(value, row.unit) for value in values), row.target, mark,
    )  # fmt: skip


def text(told: Report) -> str:
    """All of it, for a terminal."""
    blocks = [
        _intro(told),
        _table([HEAD, *(cells(row, told.unknown) for row in told.judged.rows)]),
        _counts(told),
    ]
    if told.server:
        blocks.append(_server(told.server))
    blocks += [_generator(told), _verdict(told)]
    return "\n\n".join(blocks)


def _intro(told: Report) -> str:
    return (
        f"{told.sessions} sessions, {told.dialect} dialect, {told.took_s:.0f} s, at {told.url}\n"
        f"talkers say {told.speech}"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        named = row[0].ljust(widths[0])
        figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([named, *figures]).rstrip())
    return "\n".join(lines)


def _counts(told: Report) -> str:
    found = told.found
    early = sum(turn.outcome == EARLY for turn in found.turns)
    lines = [
        f"turns: {len(found.turns)}, answered {len(found.answered())}, of these with late audio "
        f"{sum(turn.late_ms > 0 for turn in found.answered())}; taken before the user had finished {early}; "
        f"conversations held to their end: {found.conversations}; sessions told to wait: {found.queued}"
    ]
    if found.unheard:
        lines.append(
            f"conversations without an answer when the run ended: {found.unheard}, of these waited for a place to the "
            f"end: {found.waited_to_the_end}"
        )
    lines += [
        f"failed: {number} × {cause}" + (f" ({detail})" if (detail := found.detail(cause)) else "")
        for cause, number in found.causes().items()
    ]
    lines += [f"warned: {number} × {code}" for code, number in found.warnings.items()]
    return "\n".join(lines)


def _server(rows: Sequence[ServerRow]) -> str:
    head = ("the server's own figures", "values", "mean", "median in", "p95 in")
    body = [
        (
            f"{row.label} {row.unit}", str(row.count), show(row.mean, row.unit),
            between(row.median, row.unit), between(row.p95, row.unit),
        )
        for row in rows
    ]  # fmt: skip
    return _table([head, *body])


def between(bucket: tuple[float, float], unit: str) -> str:
    """The bucket that holds a quantile."""
    return f"{show(bucket[0], unit)} to {show(bucket[1], unit)}"


def _generator(told: Report) -> str:
    kept, cost = told.health, told.health.cpu_ms_per_session_second
    return (
        f"generator: {told.processes} processes, packets late p95 {show(kept.sent_late.p95)} ms "
        f"(worst {show(kept.sent_late.worst)}), event loops late p99 {show(kept.loop_lag.p99)} ms, busiest process "
        f"{kept.busiest:.0%} of a core, {show(cost)} ms CPU per session-second; machine {told.machine_busy:.0%} busy"
    )


#: A machine that is so busy gives nobody their time.
FULL = 0.97


def notes(told: Report) -> list[str]:
    """What a reader must know of the run."""
    if told.machine_busy < FULL:
        return []
    return [
        f"this machine was {told.machine_busy:.0%} busy: the generator, and a server that runs here, had to wait"
    ]


def _verdict(told: Report) -> str:
    """One line each, so that they can be searched for."""
    lines = [f"{mark:<6} {_p95(row)}" for row in told.judged.rows if (mark := cells(row, told.unknown)[-1])]
    lines += [
        f"{'held' if number <= most else 'MISSED':<6} {name} {number} (target: at most {most})"
        for name, number, most in told.judged.counts
        if most is not None
    ]
    if not told.valid:
        lines += [f"INVALID the generator was the bottleneck: {'; '.join(told.health.troubles)}"]
    lines += [f"note: {note}" for note in notes(told)]
    lines.append(conclusion(told))
    return "\n".join(lines)


def conclusion(told: Report) -> str:
    """Of the verdict, in one line."""
    if told.missed:
        return f"targets missed: {', '.join(told.missed)}"
    return f"interrupted before it was known: {', '.join(told.unknown)}" if told.unknown else "targets held"


def _p95(row: Row) -> str:
    return f"{row.name} p95 {show(row.spread.p95, row.unit)} {row.unit} (target: {row.target})"


# --- JSON


def data(told: Report) -> dict[str, Any]:
    """All figures, and every turn."""
    found = told.found
    return {
        "url": told.url,
        "dialect": told.dialect,
        "speech": told.speech,
        "sessions": told.sessions,
        "processes": told.processes,
        "took_s": round(told.took_s, 1),
        "targets": asdict(told.targets),
        "held": told.judged.held,
        "interrupted": told.interrupted,
        "valid": told.valid,
        "missed": told.missed,
        "figures": {row.name: {"unit": row.unit, **row.spread.data} for row in told.judged.rows},
        "counts": {name: number for name, number, _ in told.judged.counts},
        "failures": found.causes(),
        "warnings": found.warnings,
        "queued": found.queued,
        "conversations": found.conversations,
        "unheard": found.unheard,
        "waited_to_the_end": found.waited_to_the_end,
        "server": [_finite(asdict(row)) for row in told.server],
        "generator": {
            "sent_late_ms": told.health.sent_late.data,
            "loop_lag_ms": told.health.loop_lag.data,
            "busiest_process": told.health.busiest,
            "cpu_ms_per_session_second": told.health.cpu_ms_per_session_second,
            "machine_busy": told.machine_busy,
            "troubles": told.health.troubles,
        },
        "turns": [msgspec.structs.asdict(turn) for turn in found.turns],
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: the end of a last bucket is null."""
    ends = ("median", "p95")
    return row | {name: [None if math.isinf(end) else end for end in row[name]] for name in ends}


def step(told: Report) -> dict[str, Any]:
    """A run of a search, in short."""
    whole = data(told)
    return {
        name: whole[name]
        for name in ("sessions", "held", "valid", "missed", "figures", "counts", "generator")
    }
