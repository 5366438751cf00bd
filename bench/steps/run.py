"""What the loop round the engines costs: `python -m bench steps`. Real loops, engines that sleep; and virtual time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from bench.figures import Spread, percentile, show, spread
from bench.report import Bar, Section, Table
from bench.steps import live, virtual
from bench.steps.plan import FRAME_S, Period

Say = Callable[[str], None]

#: What the loop itself does; the rest is waiting, the engine, and codecs.
OWN = ("read", "choose", "hand_over", "publish")

#: Share of the period that the loop may take, by slots.
BARS = {64: 0.05, 256: 0.15}

#: Shares of the step's capacity, and how many runs with other replies each is judged by.
LOADS = (0.5, 0.8, 0.9, 0.95, 0.99)
SEEDS = 3

#: Up to here nobody may be late.
SAFE_LOAD = 0.95


@dataclass(frozen=True)
class Scope:
    """How much is measured."""

    slots: tuple[int, ...] = (64, 256)
    seconds: float = 30.0
    virtual_seconds: float = 60.0
    opus: bool = True


def own_wall(period: Period) -> float:
    """Share of a period that the loop spent on its own by the clock; of reads that may block, their CPU time."""
    return (sum(period.wall[part] for part in OWN) + period.cpu["wait"]) / period.seconds


def own_cpu(period: Period) -> float:
    """The same as CPU time of its thread."""
    return (sum(period.cpu[part] for part in OWN) + period.cpu["wait"]) / period.seconds


def codec_cpu(period: Period) -> float:
    """CPU time for codecs, on all threads."""
    return period.cpu["codec"] / period.seconds


def mean(periods: Sequence[Period], of: Callable[[Period], float]) -> float:
    """Weighed by the length of each period."""
    return sum(of(period) * period.seconds for period in periods) / sum(period.seconds for period in periods)


def measure(scope: Scope, say: Say) -> Section:
    """Every stage at every size, then the rules in virtual time. Raises BenchFailed."""
    runs: list[live.Run] = []
    for slots in scope.slots:
        for stage in ("stt", "tts"):
            for audio in ("pcm16", "opus") if scope.opus and slots == max(scope.slots) else ("pcm16",):
                say(f"steps: {stage}, {slots} slots, {audio}, {scope.seconds:.0f} s")
                runs.append(live.measure(stage, slots, scope.seconds, format=audio))
    say("steps: rules in virtual time")
    found = {
        share: {name: _played(share, rule, scope.virtual_seconds) for name, rule in virtual.RULES.items()}
        for share in LOADS
    }
    return section(runs, found)


def _played(share: float, rule: virtual.Rule, seconds: float) -> list[virtual.Outcome]:
    return [virtual.play(virtual.Load(share, seconds=seconds, seed=seed), rule) for seed in range(SEEDS)]


Played = Mapping[float, Mapping[str, Sequence[virtual.Outcome]]]


def section(runs: Sequence[live.Run], played: Played) -> Section:
    """The findings as the document shows them."""
    return Section(
        "steps",
        "The loop round the engines",
        [*(_bar(run) for run in runs if run.plan.format == "pcm16"), *_lateness_bars(runs), *_rule_bars(played)],
        [_cost_table(runs), _part_table(runs), _time_table(runs), _rule_table(played)],
        _NOTES,
        _data(runs, played),
    )  # fmt: skip


def _name(run: live.Run) -> str:
    return f"{run.plan.stage}, {run.plan.slots}, {run.plan.format}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _bar(run: live.Run) -> Bar:
    share = mean(run.found.periods, own_wall)
    wanted = BARS.get(run.plan.slots)
    return Bar(
        f"{run.plan.stage}, {run.plan.slots} slots: the loop's own share of 80 ms",
        "measured" if wanted is None else f"≤ {100 * wanted:.0f} %",
        _percent(share),
        wanted is None or share <= wanted,
    )


def _lateness_bars(runs: Sequence[live.Run]) -> list[Bar]:
    return [
        Bar(
            f"tts, {run.plan.slots} slots: replies with a gap",
            "0",
            f"{run.found.late_replies} of {run.found.replies}",
            run.found.late_replies == 0 < run.found.replies,
        )
        for run in runs
        if run.plan.stage == "tts" and run.plan.format == "pcm16"
    ]


def _rule_bars(played: Played) -> list[Bar]:
    ours, first_come = next(iter(virtual.RULES)), "first come"
    safe = [share for share in played if share <= SAFE_LOAD]
    late = sum(outcome.late_replies for share in safe for outcome in played[share][ours])
    told = max(sum(outcome.late_replies for outcome in played[share][first_come]) for share in safe)
    return [
        Bar(f"late replies up to {SAFE_LOAD:.0%} of a step's capacity, earliest deadline", "0", str(late), late == 0),
        Bar("the same by first come: late, or the test is too easy", "> 0", str(told), told > 0),
    ]  # fmt: skip


def _cost_table(runs: Sequence[live.Run]) -> Table:
    rows = []
    for run in runs:
        periods = run.found.periods
        wall = spread(100 * own_wall(period) for period in periods)
        seconds = sum(period.seconds for period in periods)
        rows.append(
            (
                _name(run),
                f"{100 * mean(periods, own_wall):.1f}",
                *(show(value, 1) for value in (wall.median, wall.p95)),
                f"{100 * mean(periods, own_cpu):.1f}",
                f"{100 * mean(periods, codec_cpu):.1f}",
                f"{100 * run.found.process_cpu_s / seconds:.0f}",
            )
        )
    head = (
        "share of the 80 ms period, %", "loop, mean", "median", "p95", "loop, CPU", "codec, CPU", "process, CPU",
    )  # fmt: skip
    return Table(head, rows, "What the loop takes besides the engine's step")


def _part_table(runs: Sequence[live.Run]) -> Table:
    rows = []
    for run in runs:
        seconds = sum(period.seconds for period in run.found.periods)
        cells = [
            f"{1e3 * FRAME_S * sum(period.cpu[part] for period in run.found.periods) / seconds:.2f}"
            for part in ("wait", *OWN, "codec")
        ]
        rows.append((_name(run), *cells))
    head = ("CPU ms per 80 ms", "waiting reads", "reads", "choosing", "hand-over", "publishing", "codec")
    return Table(head, rows, "By part")


def _time_table(runs: Sequence[live.Run]) -> Table:
    rows = []
    for run in runs:
        found = run.found
        seconds = sum(period.seconds for period in found.periods)
        step = sum(period.wall["step"] for period in found.periods) / seconds
        waits = _ms(found.frame_wait_s if run.plan.stage == "stt" else found.first_audio_s)
        rows.append(
            (
                _name(run),
                f"{len(found.batches) / seconds * FRAME_S:.1f}",
                f"{sum(found.batches) / max(1, len(found.batches)):.0f}",
                f"{100 * step:.0f}",
                *waits.cells,
                str(found.late_replies) if run.plan.stage == "tts" else "–",
            )
        )
    head = (
        "stt: frame wait, tts: first audio, ms", "steps per 80 ms", "slots a step", "engine busy, %", "median", "p90",
        "p95", "max", "late replies",
    )  # fmt: skip
    return Table(head, rows, "Steps, and who waits for them")


def _ms(seconds: Sequence[float]) -> Spread:
    return spread(1e3 * value for value in seconds)


def _rule_table(played: Played) -> Table:
    rows = []
    for share, by_rule in played.items():
        for name, outcomes in by_rule.items():
            firsts = list(chain.from_iterable(outcome.first_audio_s for outcome in outcomes))
            rows.append(
                (
                    f"{share:.0%}, {name}",
                    str(sum(outcome.replies for outcome in outcomes)),
                    str(sum(outcome.late_replies for outcome in outcomes)),
                    show(1e3 * max(outcome.worst_s for outcome in outcomes)),
                    show(1e3 * percentile(firsts, 0.5)),
                    show(1e3 * percentile(firsts, 0.95)),
                    show(1e3 * max(firsts)),
                )
            )
    head = (
        "load, who steps first", "replies", "with a gap", "largest gap, ms", "first audio, ms: median", "p95", "max",
    )  # fmt: skip
    load = virtual.Load(1.0)
    title = (
        f"Virtual time: steps of at most {load.batch} slots, {1e3 * load.step_s(load.batch):.1f} ms, so that "
        f"{load.capacity:.0f} replies are what it can do"
    )
    return Table(head, rows, title)


def _data(runs: Sequence[live.Run], played: Played) -> dict[str, Any]:
    return {
        "live": [
            {
                "run": _name(run),
                "own_wall": mean(run.found.periods, own_wall),
                "own_cpu": mean(run.found.periods, own_cpu),
                "codec_cpu": mean(run.found.periods, codec_cpu),
                "late_replies": run.found.late_replies,
                "worst_gap_s": run.found.worst_s,
                "lost": run.found.lost,
                "frame_wait_ms": _ms(run.found.frame_wait_s).data,
                "first_audio_ms": _ms(run.found.first_audio_s).data,
                "users_late_ms": _ms(run.fed.late_s).data,
                "began": run.fed.began,
            }
            for run in runs
        ],
        "virtual": {
            f"{share:.2f}": {
                name: {
                    "late_replies": sum(outcome.late_replies for outcome in outcomes),
                    "late_frames": sum(outcome.late_frames for outcome in outcomes),
                    "worst_s": max(outcome.worst_s for outcome in outcomes),
                }
                for name, outcomes in by_rule.items()
            }
            for share, by_rule in played.items()
        },
    }


_NOTES = (
    "Real loops, leases, Redis servers and scripts; the engine sleeps 8 ms + 0.05 ms for each slot of a step. Tasks "
    "come from a list instead of Celery. Users are a process of their own: everybody sends 80 ms at once, at moments "
    "of their own, for 5 to 15 s (stt), or is spoken to for 3 to 8 s (tts); who is gone is replaced at once.",
    "The loop's share is by the clock, Redis's answers included, but for reads that wait for input: of these their CPU "
    "time counts. Codec time is apart. Opus is coded on several threads; its CPU time is that of all of them.",
    "A reply has a gap when a frame left for Redis later than the first one's moment plus its position.",
    "Virtual time has no loop, no Redis and no noise: every rule gets the same replies of 3 to 8 s with pauses of up "
    "to 2 s. Replies may be 2 s ahead of what was reported as heard, every 0.5 s.",
)
