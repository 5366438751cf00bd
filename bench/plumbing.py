"""What everything but the models costs: null engines keep the time of real ones, and what is over is ours."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil

from bench import crowd, processes
from bench.crowd import PACKET_S, Gathered, Plan
from bench.figures import NONE, Spread, at_most, show, spread
from bench.machine import ROOT
from bench.processes import Usage
from bench.report import Bar, Section, Table
from bench.server import BenchFailed, Server, running
from cli.loadtest import histogram
from cli.loadtest.histogram import Histogram
from gpu_workers.llm.null import Settings as LlmTimes
from gpu_workers.stt.null import Settings as SttTimes
from gpu_workers.tts.null import Settings as TtsTimes

Say = Callable[[str], None]

#: One process of users sends at most for so many; more would measure itself.
USERS_PER_PROCESS = 32

#: Between the opening of the last session and the first figure.
SETTLE_S = 3.0

#: The bars are for so many sessions.
BARRED_SESSIONS = 16
ADDED_P95_MS = 100

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


def floor_ms(step: StepModel) -> float:
    """What the null engines themselves take from the last packet of voice to the first audio.

    The pause is seen by the frame that makes the silence at least `pause_after_s` long. Users send packets of exactly
    one frame, so that is a whole number of packets after the last one of voice: 4 × 80 ms for 300 ms. Then a step of
    STT, the LLM's first word, the TTS engine's first audio and a step of TTS; steps counted as if alone, the shortest
    there are, so what batching adds is ours.
    """
    stt, llm, tts = SttTimes.model_validate({}), LlmTimes.model_validate({}), TtsTimes.model_validate({})
    frames = math.ceil(stt.pause_after_s / PACKET_S)
    engines_s = frames * PACKET_S + llm.first_word_s + tts.first_audio_after_s
    return 1000 * engines_s + 2 * step.alone_ms


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
        return spread(value - floor for value in self.gathered.voice_to_voice_ms)


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
    begin_s = time.monotonic() + 0.05 * sessions + SETTLE_S + 1.0
    users = _start_users(server.url, sessions, begin_s, begin_s + seconds)
    try:
        _sleep_until(begin_s)
        pages, before = _pages(server), _usages(server, users)
        began_s = time.monotonic()
        _sleep_until(begin_s + seconds)
        took_s = time.monotonic() - began_s
        after, later = _usages(server, users), _pages(server)
        gathered = crowd.joined([_result(child) for child in users])
    finally:
        for child in users:
            child.kill()
    return Run(
        step,
        sessions,
        gathered,
        _since(pages, later, "stt", "antiphon_frame_wait_seconds"),
        _since(pages, later, "web", "antiphon_word_lag_seconds"),
        processes.cpu_ms_per_session_second(before, after, sessions * took_s),
        after,
    )


def _start_users(url: str, sessions: int, begin_s: float, end_s: float) -> list[subprocess.Popen[bytes]]:
    children = []
    for first in range(0, sessions, USERS_PER_PROCESS):
        plan = Plan(url, min(USERS_PER_PROCESS, sessions - first), first, sessions, begin_s, end_s)
        command = [sys.executable, "-m", "bench.crowd", msgspec.json.encode(plan).decode()]
        children.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
    return children


def _result(child: subprocess.Popen[bytes]) -> Gathered:
    said, _ = child.communicate(timeout=30)
    try:
        return msgspec.json.decode(said, type=Gathered)
    except msgspec.DecodeError:
        raise BenchFailed(f"a process of users failed (exit status {child.returncode})") from None


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _pages(server: Server) -> dict[str, str]:
    return {name: server.page(name) for name in ("web", "stt")}


def _since(before: Mapping[str, str], after: Mapping[str, str], program: str, name: str) -> Histogram:
    return histogram.read(after[program], name) - histogram.read(before[program], name)


def _usages(server: Server, users: Sequence[subprocess.Popen[bytes]]) -> dict[str, Usage]:
    found = processes.of_run(server.run)
    found[USERS] = processes.usage(psutil.Process(child.pid) for child in users)
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
    tables = [_latency(runs), _cpu(runs), _memory(runs)]
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
        "CPU: user and system time per second of one session, of one core. The users run on the same machine and "
        "compete for its cores; they are not in the sum.",
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
    reached = at_most(added.p95, ADDED_P95_MS) and not run.gathered.unanswered
    return [*found, Bar(f"{who}: added p95", f"≤ {ADDED_P95_MS} ms", f"{show(added.p95)} ms", reached)]


def _latency(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        late, ping, tardy = (
            spread(values)
            for values in (run.gathered.late_audio_ms, run.gathered.ping_ms, run.gathered.sent_late_ms)
        )
        late_share = sum(value > 0 for value in run.gathered.late_audio_ms)
        rows.append(
            (
                run.step.name, str(run.sessions),
                _quantile(run.frame_wait, 0.5), _quantile(run.frame_wait, 0.95),
                _quantile(run.word_lag, 0.5), _quantile(run.word_lag, 0.95),
                show(run.added.median), show(run.added.p95), str(run.added.count), str(run.gathered.unanswered),
                f"{late_share} ({show(late.largest)})", show(ping.p95), show(tardy.p95),
            )
        )  # fmt: skip
    head = (
        "ms", "sessions", "frame wait p50", "p95", "word lag p50", "p95", "added p50", "p95", "turns", "unanswered",
        "replies late (by at most)", "ping p95", "users' own lateness p95",
    )  # fmt: skip
    return Table(head, rows, "Latency")


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
        "ping_ms": spread(run.gathered.ping_ms).data,
        "late_audio_ms": spread(run.gathered.late_audio_ms).data,
        "users_late_ms": spread(run.gathered.sent_late_ms).data,
        "unanswered": run.gathered.unanswered,
        "errors": run.gathered.errors[:20],
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
