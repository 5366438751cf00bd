"""What one call of a metric costs: `python -m bench.metric_calls`, in the environment of a web process or a worker.

Prints one JSON object, a `Costs`. CPU time of this process, which does nothing else.
"""

import sys
import time
from collections.abc import Callable

import msgspec

from config import metrics, unmute_metrics
from config.redis_keys import STAGES
from config.settings import load
from tasks import beats, streams
from tasks.leases import Leases
from web import metric_files, metric_folder
from web.pinger import Pings
from web.pulse import Pulse
from web.vitals import Vitals
from web.watchdog import Watchdog

#: Of each kind of call; the best of some rounds is taken, for others use the machine, too.
CALLS, ROUNDS = 20_000, 5

#: Of what costs milliseconds.
FEW = 50


class Costs(msgspec.Struct):
    """CPU time of one of each, in µs."""

    observe: float
    inc: float
    set: float
    page: float
    """All of /metrics."""
    look: float = 0.0
    """A web process's look at fleet, queues and servers."""
    ping: float = 0.0
    """Book-keeping of a ping; frames are not in it."""


def _us(call: Callable[[], object], times: int = CALLS) -> float:
    """Of one call, the loop round it taken off."""
    return max(0.0, _best(call, times) - _best(lambda: None, times))


def _best(call: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(times):
            call()
        found.append(time.process_time() - began_s)
    return 1e6 * min(found) / times


def measure() -> Costs:
    """Everything, of this process's kind."""
    for stage in STAGES:
        metrics.step_seconds.labels(stage).observe(0.01)
    costs = Costs(
        observe=_us(lambda: metrics.frame_wait.observe(0.012)),
        inc=_us(unmute_metrics.stt_sent_frames.inc),
        set=_us(lambda: metrics.sessions.set(3)),
        page=_us(metric_files.page, FEW),
    )
    settings = load("null")
    if metric_folder.here() is None:
        return costs
    pings = Pings()
    costs.ping = _us(lambda: pings.answered(pings.next(0.0), 0.01))
    state, media = streams.connect(settings.redis_url), streams.connect(settings.media_url)
    for stage in STAGES:
        beats.beat(state, stage, "one-1", {"slots": 256, "free": 200}, 600)
    watchdog = Watchdog(state, Leases(state, 1000), settings.ownership, 0.25, Pulse(lambda: None, 600))
    vitals = Vitals(
        {"state": state, "media": media}, lambda: watchdog.count(STAGES), watchdog.sessions, lambda: 0, 600
    )
    costs.look = _us(vitals.look, FEW)
    return costs


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure()))
