"""The metrics of all processes of one gunicorn, as one page: each writes files of its own, and any of them answers.

What processes that died had counted goes on counting, in one more set of files: a counter never falls, and files do
not pile up.
"""

import fcntl
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from web import metric_folder
from web.process_metrics import ProcessMetrics, ours

#: Stands for all processes that are no more.
DEAD = 0

#: Held by who reads all files, and alone by who moves what is in them.
LOCK = "lock"

#: A reader waits so long for who moves: some milliseconds would do.
PATIENCE_S = 1.0


def page() -> bytes:
    """Prometheus' text format."""
    folder = metric_folder.here()
    if folder is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    registry.register(ProcessMetrics(ours()))
    with _locked(folder, fcntl.LOCK_SH, PATIENCE_S):
        return generate_latest(registry)


def bury(folder: Path, alive: Collection[int]) -> None:
    """Keeps what all processes but those `alive` counted, and drops their gauges and files. If somebody reads just
    now, a later call does it."""
    dead = {pid for pid in map(metric_folder.owner, folder.glob("*.db")) if pid not in (DEAD, *alive)}
    for pid in dead:
        mark_process_dead(pid, str(folder))
    with suppress(BlockingIOError), _locked(folder, fcntl.LOCK_EX, 0.0):
        for pid in dead:
            for file in folder.glob(f"*_{pid}.db"):
                try:
                    if not file.name.startswith("gauge_"):
                        _add(file, folder / f"{file.name.partition('_')[0]}_{DEAD}.db")
                finally:  # one that cannot be read would spoil every page
                    file.unlink()


def _add(file: Path, into: Path) -> None:
    sums = MmapedDict(str(into))
    try:
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    finally:
        sums.close()


@contextmanager
def _locked(folder: Path, how: int, patience_s: float) -> Iterator[None]:
    """Raises BlockingIOError when others hold it for longer. Lets other greenlets run."""
    deadline = time.monotonic() + patience_s
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)
        yield
    finally:
        os.close(lock)
