"""One stage's real loop in a process of its own, with an engine that sleeps: `python -m bench.steps.worker PLAN`.

All is the product's but Celery, whose tasks come from a Redis list here, and the eyes that look on from outside.
"""

import logging
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from bench.steps.plan import FRAME_S, TASKS, Found, Period, Plan
from config import metrics
from config.messages import Result, Speech
from config.settings import SAMPLE_RATE, load
from tasks import worker as life
from tasks.control import ControlListener
from tasks.leases import Emitter, Lease, Leases, Stored
from tasks.stage import Keeper, Stage, Ties
from tasks.streams import connect

#: Frames this little late are rounding.
EPSILON_S = 0.0005


class Watch(Emitter):
    """Notes when the sound of each reply was out. Its own time is taken off what publishing cost."""

    seconds = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.out: dict[str, list[tuple[float, int, int]]] = defaultdict(list)

    def send(
        self, results: Sequence[tuple[Lease, Result]], begins: Collection[int] = ()
    ) -> Callable[[], list[Stored]]:
        """As it is, and a note."""
        stored = super().send(results, begins)
        began = time.perf_counter()
        now_s = time.time()
        for lease, result in results:
            if type(result.body) is Speech:
                self.out[lease.sid].append((now_s, result.body.pos, result.body.samples))
        self.seconds += time.perf_counter() - began
        return stored


class Noted:
    """In the place of a metric: keeps every value, and lets the metric have it too, for that is a cost of the loop."""

    def __init__(self, metric: Any) -> None:
        self.values: list[tuple[float, float]] = []
        self._metric = metric

    def observe(self, value: float) -> None:
        """A value, and when."""
        self._metric.observe(value)
        self.values.append((time.time(), value))

    def labels(self, *_: str) -> "Noted":
        """There is one stage here."""
        return self


class Sampler(threading.Thread):
    """Looks at the loop's laps once in 80 ms."""

    def __init__(self, stage: Stage, watch: Watch, plan: Plan) -> None:
        super().__init__(daemon=True)
        self.periods: list[Period] = []
        self._laps, self._watch, self._plan = stage.loop.laps, watch, plan

    def run(self) -> None:
        """From the plan's beginning to its end."""
        time.sleep(max(0.0, self._plan.begin_s - time.time()))
        before_s, wall, cpu = self._look()
        while time.time() < self._plan.end_s:
            time.sleep(FRAME_S)
            at_s, wall_now, cpu_now = self._look()
            self.periods.append(Period(at_s - before_s, _less(wall_now, wall), _less(cpu_now, cpu)))
            before_s, wall, cpu = at_s, wall_now, cpu_now

    def _look(self) -> tuple[float, dict[str, float], dict[str, float]]:
        own = self._watch.seconds
        wall, cpu = dict(self._laps.wall_s), dict(self._laps.cpu_s)
        wall["publish"] -= own
        cpu["publish"] -= own
        return time.perf_counter(), wall, cpu


def _less(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {part: now[part] - before[part] for part in now}


def lateness(found: Found, out: Mapping[str, list[tuple[float, int, int]]], plan: Plan) -> None:
    """Frame n must be out by the first one's time and n frames."""
    for frames in list(out.values()):  # the loop still adds to it
        first_s = frames[0][0]
        if first_s < plan.begin_s:
            continue
        found.replies += 1
        found.frames += len(frames)
        late = [at_s - first_s - pos / SAMPLE_RATE for at_s, pos, samples in frames if samples]
        gaps = [late_s for late_s in late if late_s > EPSILON_S]
        found.late_frames += len(gaps)
        found.late_replies += bool(gaps)
        found.worst_s = max([found.worst_s, *gaps])


def _options(plan: Plan) -> dict[str, Any]:
    """The null engine as a GPU would keep time: whatever is asked of it is in the next step."""
    common = {
        "frame_samples": 1920,
        "step_fixed_ms": plan.step_fixed_ms,
        "step_per_slot_ms": plan.step_per_slot_ms,
        "batch": plan.batch,
    }
    if plan.stage == "stt":
        return common
    return {**common, "first_audio_after_s": 0.0, "speed_x_realtime": 1e6}


def run(plan: Plan) -> Found:
    """The whole life of a worker."""
    os.environ["ANTIPHON_REDIS_URL"], os.environ["ANTIPHON_MEDIA_URL"] = plan.state_url, plan.media_url
    os.environ[f"ANTIPHON_{plan.stage.upper()}__OPTIONS"] = msgspec.json.encode(_options(plan)).decode()
    settings = load("null")
    waits, firsts = Noted(metrics.frame_wait), Noted(metrics.first_audio)
    batches = Noted(metrics.step_batch.labels(plan.stage))
    metrics.frame_wait, metrics.step_batch, metrics.first_audio = waits, batches, firsts  # type: ignore[assignment]
    media, state = connect(plan.media_url, connections=512), connect(plan.state_url, connections=512)
    watch = Watch(media, settings.limits.replay_items, settings.limits.session_ttl_s)
    pool = ThreadPoolExecutor(plan.slots + life.SPARE_THREADS)

    def serve(sid: str, reply: int) -> None:
        stage.serve(sid, reply)

    ties = Ties(
        settings, plan.worker, state, media,
        Leases(state, settings.ownership.lease_ms), watch,
        lambda _stage, sid, reply, *_: (pool.submit(serve, sid, reply), None)[1],
    )  # fmt: skip
    stage = Stage(plan.stage, ties, plan.slots)
    life.running[plan.stage] = stage
    stage.start()
    ControlListener(plan.worker, media, stage.loop.tell).start()
    Keeper([stage], ties, {}).start()
    sampler = Sampler(stage, watch, plan)
    sampler.start()
    cpu_s = work(plan, state, lambda sid, reply: pool.submit(serve, sid, reply))
    found = Found(
        periods=sampler.periods,
        process_cpu_s=cpu_s,
        batches=[int(value) for at_s, value in batches.values if at_s > plan.begin_s],
        frame_wait_s=[value for at_s, value in waits.values if at_s > plan.begin_s],
        first_audio_s=[value for at_s, value in firsts.values if at_s > plan.begin_s],
        lost=round(metrics.seats_lost.labels(plan.stage)._value.get()),
    )
    lateness(found, watch.out, plan)
    return found


def work(plan: Plan, state: Any, serve: Callable[[str, int], object]) -> float:
    """Takes tasks until the end; the CPU seconds of the process since measuring began."""
    cpu_s: float | None = None
    while (now_s := time.time()) < plan.end_s:
        if cpu_s is None and now_s >= plan.begin_s:
            cpu_s = time.process_time()
        if task := state.blpop([TASKS], timeout=0.05):
            sid, reply = task[1].decode().split()
            serve(sid, int(reply))
    return time.process_time() - (cpu_s or 0.0)


def main() -> None:
    """Runs a plan, prints what was found; what is still open ends with the process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    found = run(msgspec.json.decode(sys.argv[1], type=Plan))
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
