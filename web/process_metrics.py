"""What the operating system counts for the processes of one gunicorn, under the names that a single process has.

prometheus_client shows no `process_*` of a process that is one of several. It is asked here for each of them, and the
answers are put together: no label names a process, for ids come and go. Linux only, as there.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from web import metric_folder

PROC = Path("/proc")

#: Fields of /proc/PID/stat behind the name: time of children that were waited for, in ticks (proc(5)).
CHILDREN_USER, CHILDREN_SYSTEM = 13, 14

#: A process that ends while we look is seen twice or not at all; then all are looked at again.
LOOKS = 3

Kind = Callable[[Iterable[float]], float]

#: By what a process says: how several of them say it, and what that is then.
TOGETHER: dict[str, tuple[Kind, str]] = {
    "process_resident_memory_bytes": (sum, "Memory of all processes of this server; what they share counts for each."),
    "process_virtual_memory_bytes": (sum, "Addresses of all processes of this server."),
    "process_start_time_seconds": (min, "When this server was started, as Unix time."),
    "process_open_fds": (max, "Open files of the process of this server that has the most."),
    "process_max_fds": (min, "Open files that a process of this server may have."),
}  # fmt: skip

CPU = "process_cpu_seconds"


@dataclass(frozen=True)
class Processes:
    """One server's: the first started the others, and waits for their ends."""

    master: int
    others: Callable[[], Iterable[int]]
    """Those alive, and maybe some that are not any more."""


def ours() -> Processes:
    """Of the server of which this process is one."""
    return Processes(os.getppid(), metric_folder.alive)


class ProcessMetrics(Collector):
    """All processes of a server, as if they were one. Asked when somebody scrapes."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def collect(self) -> Iterable[Metric]:
        """The families; none where there is no /proc."""
        seen, cpu_s = self._look()
        if CPU not in seen:
            return
        yield CounterMetricFamily(
            CPU, "CPU time of all processes of this server, those that ended among them.", cpu_s
        )
        for name, (together, meaning) in TOGETHER.items():
            if values := seen.get(name):
                yield GaugeMetricFamily(name, meaning, together(values))

    def _look(self) -> tuple[dict[str, list[float]], float]:
        """What each says, by name, and the CPU time of all: that of the dead is their master's to tell."""
        for _ in range(LOOKS):
            before_s = _of_the_dead_s(self._processes.master)
            seen = _asked([self._processes.master, *self._processes.others()])
            after_s = _of_the_dead_s(self._processes.master)
            if before_s == after_s:
                break
        # The same ticks in another order must not be less by a rounding: a counter that falls was begun anew.
        return seen, round(sum(seen.get(CPU, ())) + after_s, 6)


def _asked(pids: Sequence[int]) -> dict[str, list[float]]:
    """Of those that are there."""
    seen: dict[str, list[float]] = {}
    for pid in dict.fromkeys(pids):
        one = ProcessCollector(pid=partial(int, pid), proc=str(PROC), registry=None)
        for family in one.collect():
            seen.setdefault(family.name, []).extend(sample.value for sample in family.samples)
    return seen


def _of_the_dead_s(master: int) -> float:
    with suppress(OSError):
        fields = (PROC / str(master) / "stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[CHILDREN_USER]) + int(fields[CHILDREN_SYSTEM])) / os.sysconf("SC_CLK_TCK")
    return 0.0
