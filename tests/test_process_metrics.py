"""The processes of one gunicorn, told as if they were one: real children of this one, alive and dead."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from web import metric_folder
from web.process_metrics import Processes, ProcessMetrics

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")

#: Works for 0.1 s, then says so, and waits to be let go.
WORK = "import time\nwhile time.process_time() < 0.1: pass\nprint(flush=True)\ninput()"


@contextmanager
def children(code: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that have done their work."""
    there = [
        subprocess.Popen([sys.executable, "-SEc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for child in there:
            assert child.stdout is not None and child.stdout.readline()
        yield there
    finally:
        for child in there:
            child.communicate(b"\n", timeout=20)


def told(*others: int) -> dict[str, float]:
    """By name; this process is the one that waits for the others."""
    families = ProcessMetrics(Processes(os.getpid(), lambda: others)).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def own_cpu_s() -> float:
    """Of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def test_processor_time_and_memory_are_those_of_all_processes_together() -> None:
    with children(WORK, 2) as (one, other):
        before = own_cpu_s()
        alone, all_of_them = told(), told(one.pid, other.pid)
        assert all_of_them["process_cpu_seconds_total"] >= before + 2 * 0.09  # clocks tick each 10 ms
        assert all_of_them["process_resident_memory_bytes"] > alone["process_resident_memory_bytes"] > 1 << 20


def test_the_time_of_a_process_that_ended_stays_or_a_rate_would_leap() -> None:
    with children(WORK, 1) as (child,):
        alive = told(child.pid)["process_cpu_seconds_total"]
    after = told(child.pid)["process_cpu_seconds_total"]
    assert alive <= after < alive + 1.0, "counted neither never nor twice"


def test_of_open_files_the_process_that_is_nearest_to_its_limit_is_told() -> None:
    held = "import os\nfiles = [os.open('/', os.O_RDONLY) for _ in range(200)]\nprint(flush=True)\ninput()"
    with children(held, 1) as (child,):
        seen = told(child.pid)
        assert seen["process_open_fds"] >= max(200, told()["process_open_fds"])
        assert seen["process_open_fds"] < 200 + told()["process_open_fds"]
    assert seen["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_server_is_as_old_as_its_first_process() -> None:
    with children(WORK, 1) as (child,):
        assert told(child.pid)["process_start_time_seconds"] == told()["process_start_time_seconds"]


def test_no_process_is_a_label() -> None:
    families = ProcessMetrics(Processes(os.getpid(), tuple)).collect()
    assert not any(sample.labels for family in families for sample in family.samples)


def test_who_lives_is_known_by_the_gauges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metric_folder.alive() == set()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for file in ("gauge_livesum_11.db", "gauge_livemax_11.db", "gauge_livesum_12.db", "counter_13.db"):
        (tmp_path / file).touch()
    assert metric_folder.alive() == {11, 12}
