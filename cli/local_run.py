"""What `antiphon up` runs on a data directory of this machine, as its pid files tell. Changes nothing."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.data_dir import DataDir, holder

#: Pid files of what is no program of ours: `up` itself, and who restarts the others.
_KEEPERS = ("up", "supervisord")


@dataclass(frozen=True)
class Process:
    """A program of the run; `pid` is 0 while it is down."""

    name: str
    pid: int = 0
    age_s: float = 0.0
    bytes: int = 0

    def __str__(self) -> str:
        """One line for a person."""
        what = f"pid {self.pid}, {self.age_s:.0f} s, {self.bytes / 1e6:.0f} MB" if self.pid else "down"
        return f"{self.name:<6} {what}"


@dataclass(frozen=True)
class Run:
    """A running `up`."""

    root: Path
    pid: int
    processes: tuple[Process, ...]

    @property
    def well(self) -> bool:
        """Everything lives."""
        return bool(self.processes) and all(process.pid for process in self.processes)


def look(root: Path) -> Run | None:
    """None when nothing runs there."""
    pid = holder(root)
    if pid is None:
        return None
    found = (_look_at(path) for path in _pid_files(root) if path.stem != "up")
    return Run(root, pid, tuple(found))


def _pid_files(root: Path) -> Iterator[Path]:
    yield from sorted(DataDir(root, "", "").run.glob("*.pid"))


def _look_at(pid_file: Path) -> Process:
    name = pid_file.stem
    try:
        process = psutil.Process(int(pid_file.read_text()))
        family = [process] if name in _KEEPERS else [process, *process.children(recursive=True)]
        memory = sum(member.memory_info().rss for member in family)
        return Process(name, process.pid, time.time() - process.create_time(), memory)
    except (OSError, ValueError, psutil.Error):
        return Process(name)


def redis_urls(root: Path) -> tuple[str, str] | None:
    """State and media, as the programs of the run have them in their environments; None when none of them tells."""
    if holder(root) is None:
        return None
    for path in _pid_files(root):
        if path.stem == "up":
            continue  # it was started without them
        try:
            environment = psutil.Process(int(path.read_text())).environ()
            return environment["ANTIPHON_REDIS_URL"], environment["ANTIPHON_MEDIA_URL"]
        except (OSError, ValueError, KeyError, psutil.Error):
            continue
    return None
