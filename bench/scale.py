"""How well `/v1/scale` follows a day: `python -m bench scale`. Virtual time; the functions are the product's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean

from bench.figures import percentile
from bench.report import Bar, Section, Table
from bench.scale_day import SLOTS, START_S, Curve, OfTheMoment, Ours, Outcome, Policy, Thresholds, World
from config.tuning import AdmissionSettings, ReplicaSettings, ScaleSettings

Say = Callable[[str], None]
Maker = Callable[[ScaleSettings, AdmissionSettings], Policy]

#: The cron job of an operator who has not thought of it, the one who has thought of half, and ours.
POLICIES: dict[str, Maker] = {
    "/v1/scale": Ours,
    "of the moment, without a quiet time": OfTheMoment,
    "±1 by thresholds (75 %, 50 %)": Thresholds,
}

BOUNDS = ReplicaSettings(least=1, most=32)

#: Sessions that may be sent away, of all: those of a burst that is larger than what is kept free.
MOST_REFUSED = 0.01

#: Changes of a queue that take back the one before within ten minutes, in a day over all queues.
MOST_FLAPS = 6


@dataclass(frozen=True)
class Scope:
    """How much is tried."""

    days: int = 5
    curve: Curve = field(default_factory=Curve)


def rules() -> ScaleSettings:
    """The settings as they come, with room to grow."""
    return ScaleSettings(stt=BOUNDS, llm=BOUNDS, tts=BOUNDS)  # type: ignore[call-arg]


def days(name: str, scope: Scope) -> list[Outcome]:
    """The same days under a policy, each with its own dice."""
    shares = AdmissionSettings()  # type: ignore[call-arg]
    return [
        World(scope.curve, shares, rules(), seed).live(POLICIES[name](rules(), shares))
        for seed in range(scope.days)
    ]


def measure(scope: Scope, say: Say) -> Section:
    """All policies over the same days."""
    found: dict[str, list[Outcome]] = {}
    for name in POLICIES:
        say(f"scale: {scope.days} days with {name}")
        found[name] = days(name, scope)
    ours = found["/v1/scale"]
    refused, flaps = mean(day.refused_share for day in ours), mean(day.flaps for day in ours)
    bars = [
        Bar("sessions sent away", f"≤ {MOST_REFUSED:.0%}", f"{refused:.2%}", refused <= MOST_REFUSED),
        Bar(
            "changes taken back within 10 min, a day", f"≤ {MOST_FLAPS}", f"{flaps:.1f}", flaps <= MOST_FLAPS
        ),
    ]
    head = (
        "policy",
        "sent away",
        "waited",
        "waited, p95 s",
        "changes a day",
        "taken back",
        "displaced",
        "worker hours",
    )
    table = Table(head, [_row(name, outcomes) for name, outcomes in found.items()])
    least = mean(day.least_hours for day in ours)
    data = {name: [_figures(day) for day in outcomes] for name, outcomes in found.items()}
    return Section("scale", "Scaling through a day", bars, [table], _notes(scope, ours, least), data)


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    waits_s = [wait_s for day in outcomes for wait_s in day.waits_s]
    return (
        name,
        f"{mean(day.refused_share for day in outcomes):.2%}",
        f"{mean(day.waited_share for day in outcomes):.2%}",
        f"{percentile(waits_s, 0.95):.0f}" if waits_s else "–",
        f"{mean(day.changes for day in outcomes):.0f}",
        f"{mean(day.flaps for day in outcomes):.0f}",
        f"{mean(day.displaced for day in outcomes):.0f}",
        f"{mean(day.worker_hours for day in outcomes):.0f}",
    )


def _figures(day: Outcome) -> dict[str, float]:
    return {
        "sessions": day.sessions, "refused": day.refused, "waited": len(day.waits_s), "changes": day.changes,
        "flaps": day.flaps, "displaced": day.displaced, "worker_hours": day.worker_hours,
        "least_hours": day.least_hours,
    }  # fmt: skip


def _notes(scope: Scope, ours: Sequence[Outcome], least: float) -> list[str]:
    curve = scope.curve
    each = ", ".join(f"{queue} {slots}" for queue, slots in SLOTS.items())
    came = mean(day.sessions for day in ours)
    return [
        f"Virtual time, {scope.days} days from {curve.begin_h:g} to {curve.end_h:g} h, each with {came:.0f} sessions "
        f"of 5 min: a wave of {curve.day:g} at once over {curve.night:g}, {curve.lunch:g} more at lunch, and "
        f"{len(curve.bursts_h)} bursts of {curve.burst:g} within two minutes.",
        f"Slots of a worker: {each}. It is warm {START_S[0]:g} to {START_S[1]:g} s after it was asked for. Asked "
        "every 15 s.",
        "Admission's line holds 64, for 20 s; its shares are the settings'. Displaced: sessions, over all polls, that "
        "lost their slots with no others free.",
        f"With just as many workers as the sessions need at every second, known beforehand, it would be {least:.0f} "
        "worker hours; a quarter of the slots is kept free on purpose.",
    ]
