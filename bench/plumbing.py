"""What everything but the models costs: null engines keep the time of real ones, and what is over is ours."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench import processes
from bench.figures import NONE, Spread, at_most, show, spread
from bench.processes import Usage
from bench.report import Bar, Section, Table
from bench.server import Server, running
from cli.loadtest import histogram, sounds
from cli.loadtest.gathered import Gathered, Turn
from cli.loadtest.generator import RAMP_PER_SESSION_S, Generator, Health, Order, health
from cli.loadtest.histogram import Histogram
from gpu_workers.llm.null import Settings as LlmTimes
from gpu_workers.stt.null import Settings as SttTimes
from gpu_workers.tts.null import Settings as TtsTimes

Say = Callable[[str], None]

#: Users send packets of one frame of the null engine: each completes that frame, and nothing of the next.
PACKET_MS = 80

#: Between the opening of the last session and the first figure.
SETTLE_S = 3.0

#: The bars of every step model are for so many sessions.
BARRED_SESSIONS = 16
ADDED_P95_MS = 100

#: And these, with steps that take no time, for so many: what one web process and one worker per queue must carry.
LOADED_SESSIONS = 128
STAGE_P95_MS = {"stt": 25, "llm": 25, "tts": 40}
TURN_P95_MS = 60
CPU_MS = 9
PING_P95_MS = 100

#: The name of the bench's own users among the processes.
USERS = "users"


@dataclass(frozen=True)
class StepModel:
    """How long one step of the null STT and TTS engines takes."""

    name: str
    fixed_ms: float
    per_slot_ms: float
    plumbing_p95_ms: float
    """The bar on the wait of a frame, and on the lag of a word."""

    @property
    def settings(self) -> dict[str, str]:
        """As the environment of a server."""
        options = json.dumps({"step_fixed_ms": self.fixed_ms, "step_per_slot_ms": self.per_slot_ms})
        return {"ANTIPHON_STT__OPTIONS": options, "ANTIPHON_TTS__OPTIONS": options}

    @property
    def alone_ms(self) -> float:
        """A step with one slot."""
        return self.fixed_ms + self.per_slot_ms


STEPS = (
    StepModel("step 0 ms", 0.0, 0.0, 10),
    StepModel("step 8 ms + 0.05 ms × batch", 8.0, 0.05, 25),
)


def floors_ms(step: StepModel) -> dict[str, float]:
    """What the null engines themselves take of each stage of a turn; steps counted as if alone, the shortest there are.

    stt: the pause is seen by the frame that makes the silence at least `pause_after_s` long. Users send packets of
    exactly one frame, so that is a whole number of packets after the last one of voice: 4 × 80 ms for 300 ms. Then one
    step. llm: the first word. tts: the engine's first audio, and one step.
    """
    stt, llm, tts = SttTimes.model_validate({}), LlmTimes.model_validate({}), TtsTimes.model_validate({})
    pause_ms = math.ceil(1000 * stt.pause_after_s / PACKET_MS) * PACKET_MS
    return {
        "stt": pause_ms + step.alone_ms,
        "llm": 1000 * llm.first_word_s,
        "tts": 1000 * tts.first_audio_after_s + step.alone_ms,
    }


def floor_ms(step: StepModel) -> float:
    """What they take from the last packet of voice to the first audio. What batching adds is ours."""
    return sum(floors_ms(step).values())


def stages_ms(turn: Turn) -> dict[str, float] | None:
    """A turn in three parts that add up to it, as its user saw them.

    stt: from the last packet of voice to the turn's end and its transcript, whichever is later. llm: from there to the
    first text. tts: from there to the first audio.
    """
    if turn.end_of_turn_ms is None or turn.llm_ms is None or turn.tts_ms is None:
        return None
    return {"stt": turn.end_of_turn_ms + (turn.stt_ms or 0.0), "llm": turn.llm_ms, "tts": turn.tts_ms}


@dataclass(frozen=True)
class Run:
    """One number of sessions on one step model."""

    step: StepModel
    sessions: int
    gathered: Gathered
    frame_wait: Histogram
    word_lag: Histogram
    cpu_ms: Mapping[str, float]
    """Per session-second, by program."""
    memory: Mapping[str, Usage]

    @property
    def added(self) -> Spread:
        """Latency of a turn over the engines' own, in ms."""
        floor = floor_ms(self.step)
        values = [turn.voice_to_voice_ms for turn in self.gathered.answered()]
        return spread(None if value is None else value - floor for value in values)

    def added_by(self, stage: str) -> Spread:
        """The part of one stage in it."""
        floor = floors_ms(self.step)[stage]
        parts = [stages for turn in self.gathered.answered() if (stages := stages_ms(turn))]
        return spread(part[stage] - floor for part in parts)

    @property
    def health(self) -> Health:
        """Whether the users kept time."""
        return health(self.gathered)

    @property
    def ping(self) -> Spread:
        """In ms."""
        return spread(ms for _, ms in self.gathered.pings)

    @property
    def late(self) -> list[float]:
        """By how many ms, of each reply that was."""
        return [turn.late_ms for turn in self.gathered.turns if turn.late_ms > 0]

    @property
    def server_cpu_ms(self) -> float:
        """Of all programs of the server, per session-second."""
        return sum(value for name, value in self.cpu_ms.items() if name != USERS)


def measure(sessions: Sequence[int], seconds: float, say: Say) -> Section:
    """Every step model with every number of sessions, on a new server for each model."""
    runs = []
    for step in STEPS:
        with running("null", step.settings) as server:
            for count in sessions:
                say(f"plumbing: {step.name}, {count} sessions, {seconds:.0f} s")
                runs.append(_run(server, step, count, seconds))
                say(f"plumbing: {_in_short(runs[-1])}")
    return _section(runs, seconds)


def _run(server: Server, step: StepModel, sessions: int, seconds: float) -> Run:
    speech = sounds.speech("a hum", sounds.hums(), "ga", PACKET_MS)
    order = Order(
        url=server.url, dialect="ga", speech=speech, sessions=sessions, ramp_s=RAMP_PER_SESSION_S * sessions,
        warm_up_s=SETTLE_S, seconds=seconds, conversations=None, turns=None, counts_ramp=False,
    )  # fmt: skip
    with Generator(order) as users:
        _sleep_until(users.begin_s)
        pages, before = _pages(server), _usages(server, users)
        began_s = time.monotonic()
        _sleep_until(users.end_s)
        took_s = time.monotonic() - began_s
        after, later = _usages(server, users), _pages(server)
        gathered = users.run(lambda _: None)
    return Run(
        step,
        sessions,
        gathered,
        _since(pages, later, "stt", "antiphon_frame_wait_seconds"),
        _since(pages, later, "web", "antiphon_word_lag_seconds"),
        processes.cpu_ms_per_session_second(before, after, sessions * took_s),
        after,
    )


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _pages(server: Server) -> dict[str, str]:
    return {name: server.page(name) for name in ("web", "stt")}


def _since(before: Mapping[str, str], after: Mapping[str, str], program: str, name: str) -> Histogram:
    return histogram.read(after[program], name) - histogram.read(before[program], name)


def _usages(server: Server, users: Generator) -> dict[str, Usage]:
    found = processes.of_run(server.run)
    found[USERS] = processes.usage(psutil.Process(child.pid) for child in users.children)
    return found


# --- what is told


def _in_short(run: Run) -> str:
    added = run.added
    return (
        f"frame wait p95 {_quantile(run.frame_wait, 0.95)}, word lag p95 {_quantile(run.word_lag, 0.95)}, "
        f"added p50 {show(added.median)} p95 {show(added.p95)} ms over {added.count} turns"
    )


def _high_ms(figures: Histogram, share: float) -> float | None:
    quantile = figures.quantile(share)
    return None if quantile is None else 1000 * quantile.high


def _quantile(figures: Histogram, share: float) -> str:
    """The bucket's upper end, which is certain, and the guess inside it."""
    quantile = figures.quantile(share)
    if quantile is None:
        return NONE
    return f"≤ {1000 * quantile.high:g} ({1000 * quantile.guess:.1f})"


def _section(runs: Sequence[Run], seconds: float) -> Section:
    bars = [bar for run in runs if run.sessions == BARRED_SESSIONS for bar in _bars(run)]
    loaded = [run for run in runs if run.sessions == LOADED_SESSIONS and not run.step.alone_ms]
    bars += [bar for run in loaded for bar in _loaded_bars(run)]
    tables = [_latency(runs), _parts(runs), _cpu(runs), _memory(runs)]
    floors = ", ".join(f"{floor_ms(step):.1f} ms ({step.name})" for step in STEPS)
    notes = [
        f"Each run is measured for {seconds:.0f} s once all sessions are open. Users send packets of 80 ms, those of "
        "different sessions evenly spread, hum 1.2 to 2.4 s, hear a reply of 6.4 s, and begin again.",
        "Frame wait: receipt of the packet that completes a frame to the start of the step that holds it "
        "(`antiphon_frame_wait_seconds`, at the STT worker); word lag: a word out of the LLM to its event at the "
        "client's socket (`antiphon_word_lag_seconds`, at web). Both are histograms: shown is the upper end of the "
        "bucket that holds the percentile, which is certain, and in brackets a linear guess inside it.",
        f"Added: voice to voice at the client less what the null engines take: {floors}. That is the pause of 300 ms "
        "rounded up to whole frames (320 ms), 30 ms to the first word, 50 ms to the first audio, and a step of STT and "
        "of TTS with a batch of one. A packet leaves on its due time or late; how late counts as added.",
        "The same by stage, as the user sees it: stt from the last packet of voice to the turn's end and its "
        "transcript, less the pause and a step (so: frame wait, the result's way to the web, and out); llm from there "
        "to the first text, less 30 ms; tts from there to the first audio, less 50 ms and a step.",
        "CPU: user and system time per second of one session, of one core. The users run on the same machine and "
        "compete for its cores; they are not in the sum. They kept time if packets left at most 10 ms late (p95), "
        "their event loops lagged at most 50 ms (p99) and none of their processes took three quarters of a core.",
    ]
    return Section(
        "plumbing", "Plumbing, null engines", bars, tables, notes, {"runs": [_data(run) for run in runs]}
    )


def _bars(run: Run) -> list[Bar]:
    bar = run.step.plumbing_p95_ms
    who = f"{run.sessions} sessions, {run.step.name}"
    added = run.added
    found = [
        Bar(
            f"{who}: {label} p95",
            f"≤ {bar:g} ms",
            f"{_quantile(figures, 0.95)} ms",
            at_most(_high_ms(figures, 0.95), bar),
        )
        for label, figures in (("frame wait", run.frame_wait), ("word lag", run.word_lag))
    ]
    reached = at_most(added.p95, ADDED_P95_MS) and not run.gathered.failed
    return [*found, Bar(f"{who}: added p95", f"≤ {ADDED_P95_MS} ms", f"{show(added.p95)} ms", reached)]


def _loaded_bars(run: Run) -> list[Bar]:
    who = f"{run.sessions} sessions, {run.step.name}"
    troubles, late, failed = run.health.troubles, run.late, run.gathered.failed
    added = [(f"added by {stage}", run.added_by(stage).p95, bar) for stage, bar in STAGE_P95_MS.items()]
    times = [*added, ("added to a turn", run.added.p95, TURN_P95_MS), ("ping", run.ping.p95, PING_P95_MS)]
    return [
        *(
            Bar(f"{who}: {what} p95", f"≤ {bar} ms", f"{show(value)} ms", at_most(value, bar))
            for what, value, bar in times
        ),
        Bar(
            f"{who}: CPU per session-second, all programs of the server", f"≤ {CPU_MS} ms",
            f"{run.server_cpu_ms:.1f} ms", run.server_cpu_ms <= CPU_MS,
        ),
        Bar(f"{who}: replies with late audio", "0", str(len(late)), not late),
        Bar(f"{who}: failures", "0", str(failed), not failed),
        Bar(f"{who}: the users kept time", "yes", "; ".join(troubles) or "yes", not troubles),
    ]  # fmt: skip


def _latency(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        late, ping, tardy = run.late, run.ping, run.health.sent_late
        rows.append(
            (
                run.step.name, str(run.sessions),
                _quantile(run.frame_wait, 0.5), _quantile(run.frame_wait, 0.95),
                _quantile(run.word_lag, 0.5), _quantile(run.word_lag, 0.95),
                show(run.added.median), show(run.added.p95), str(run.added.count), str(run.gathered.failed),
                f"{len(late)} ({show(max(late, default=0.0))})", show(ping.p95), show(tardy.p95),
            )
        )  # fmt: skip
    head = (
        "ms", "sessions", "frame wait p50", "p95", "word lag p50", "p95", "added p50", "p95", "turns", "failures",
        "replies late (by at most)", "ping p95", "users' own lateness p95",
    )  # fmt: skip
    return Table(head, rows, "Latency")


def _parts(runs: Sequence[Run]) -> Table:
    rows = [
        (
            run.step.name, str(run.sessions),
            *(show(value) for stage in STAGE_P95_MS for added in [run.added_by(stage)]
              for value in (added.median, added.p95)),
            show(run.health.loop_lag.p99), f"{100 * run.health.busiest:.0f}",
        )
        for run in runs
    ]  # fmt: skip
    head = ("ms", "sessions", "added by stt p50", "p95", "by llm p50", "p95", "by tts p50", "p95",
            "users' event loops late p99", "their busiest process, % of a core")  # fmt: skip
    return Table(head, rows, "Latency by stage, and the users")


def _cpu(runs: Sequence[Run]) -> Table:
    names = processes.in_order({name for run in runs for name in run.cpu_ms} - {USERS})
    rows = []
    for run in runs:
        ours = [run.cpu_ms.get(name) for name in names]
        total = sum(value for value in ours if value is not None)
        rows.append(
            (run.step.name, str(run.sessions), show(total, 1), *(show(value, 1) for value in ours),
             show(run.cpu_ms.get(USERS), 1))
        )  # fmt: skip
    return Table(("CPU ms per session-second", "sessions", "total", *names, "users"), rows, "CPU")


def _memory(runs: Sequence[Run]) -> Table:
    names = processes.in_order({name for run in runs for name in run.memory} - {USERS})
    rows = [
        (run.step.name, str(run.sessions),
         show(sum(run.memory[name].rss_mb for name in names if name in run.memory)),
         *(show(run.memory[name].rss_mb) if name in run.memory else NONE for name in names))
        for run in runs
    ]  # fmt: skip
    return Table(("RSS MB", "sessions", "total", *names), rows, "Memory at the end of each run")


def _data(run: Run) -> dict[str, Any]:
    return {
        "step": run.step.name,
        "sessions": run.sessions,
        "frame_wait_ms": _histogram_data(run.frame_wait),
        "word_lag_ms": _histogram_data(run.word_lag),
        "floor_ms": floor_ms(run.step),
        "added_ms": run.added.data,
        "added_by_stage_ms": {stage: run.added_by(stage).data for stage in STAGE_P95_MS},
        "ping_ms": run.ping.data,
        "late_audio_ms": spread(run.late).data,
        "users_late_ms": run.health.sent_late.data,
        "users_loop_lag_ms": run.health.loop_lag.data,
        "users_busiest": run.health.busiest,
        "failures": run.gathered.causes(),
        "cpu_ms_per_session_second": dict(run.cpu_ms),
        "rss_mb": {name: one.rss_mb for name, one in run.memory.items()},
    }


def _histogram_data(figures: Histogram) -> dict[str, Any]:
    mean = figures.mean
    return {
        "count": figures.count,
        "mean": None if mean is None else 1000 * mean,
        "p50_at_most": _high_ms(figures, 0.5),
        "p95_at_most": _high_ms(figures, 0.95),
    }
