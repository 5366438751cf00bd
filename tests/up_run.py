"""`antiphon up` as a user runs it, in a process of its own, and a look at what it starts and leaves."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests import fair_clock
from tests.ports import free_port, free_row

ROOT = Path(__file__).parent.parent
ANTIPHON = (sys.executable, "-m", "cli.main")

#: A start takes 3 s; this is for a machine under load.
DEADLINE_S = 60.0

#: None of these runs starts more. Each of them has a port for its metrics: two that start at the same time and look for
#: ports themselves may find the same.
MOST_WORKERS = 6

#: Names a run's processes, whoever their parent is now.
MARK = "TEST_RUN_OF_ANTIPHON"


def eventually(what: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Waits until it is true."""
    deadline = fair_clock.now_s() + deadline_s
    while not what():
        assert fair_clock.now_s() < deadline, "not in time"
        time.sleep(0.02)


class UpRun:
    """One `antiphon up`; its lines are read as they come."""

    def __init__(self, data: Path, *arguments: str, port: int | None = None, **environment: str) -> None:
        self.data = data
        self.port = port or free_port()
        self.lines: list[str] = []
        command = [*ANTIPHON, "up", "--profile", "null", "--port", str(self.port), "--data-dir", str(data)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, MARK: str(data), "ANTIPHON_METRICS_PORT": str(free_row(MOST_WORKERS)), **environment},
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(line.rstrip() for line in iter(self.process.stdout.readline, ""))

    def said(self, pattern: str, begin: int = 0) -> str | None:
        """The first line from `begin` on that matches."""
        return next((line for line in self.lines[begin:] if re.search(pattern, line)), None)

    def wait_for(self, pattern: str, begin: int = 0) -> str:
        eventually(lambda: self.said(pattern, begin) or self.process.poll() is not None)
        said = self.said(pattern, begin)
        assert said, f"{pattern!r} was not said: {self.lines} {self.errors() if self.ended else ''}"
        return said

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> int:
        """The exit status, when it ends by itself."""
        status = self.process.wait(DEADLINE_S)
        self._reader.join(5)
        return status

    def errors(self) -> list[str]:
        """What it wrote to stderr, after its end."""
        assert self.process.stderr
        return self.process.stderr.read().splitlines()

    def pid(self, name: str) -> int:
        return int((self.data / "run" / f"{name}.pid").read_text().split()[0])

    def process_of(self, name: str) -> psutil.Process:
        return psutil.Process(self.pid(name))

    def alive(self) -> list[psutil.Process]:
        """All processes that come from this run, but `up` itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and process.environ().get(MARK) == str(self.data):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def clean(self) -> None:
        """However the test ended."""
        if not self.ended:
            self.process.kill()
        self.process.wait()
        for process in self.alive():
            process.kill()


def antiphon(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [*ANTIPHON, *arguments], check=False, env={**os.environ, **environment}, cwd=ROOT,
        capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip


def one_line(lines: Sequence[str]) -> str:
    """The line, if it is the only one."""
    assert len(lines) == 1, lines
    return lines[0]
