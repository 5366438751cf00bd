"""A whole server to measure: `antiphon up` as a child, in a folder of its own, on ports of its own."""

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import ROOT
from cli import leash
from config.errors import AntiphonError
from config.redis_keys import STAGES

PORTS = range(9000, 9100)

#: `antiphon up` says so itself when it is late.
READY_DEADLINE_S = 120.0
STOP_DEADLINE_S = 40.0

#: At the start of a line; the lines of single programs are indented.
READY = "\nready after "


class BenchFailed(AntiphonError):
    """Something could not be measured."""

    code = "bench_failed"


@dataclass(frozen=True)
class Server:
    """A running server."""

    pid: int
    folder: Path
    port: int
    metrics: Mapping[str, int]
    """Port of each worker's metrics, by program name."""
    ready_s: float
    """From the start of `antiphon up` to its word that all is ready."""

    @property
    def url(self) -> str:
        """Of the conversations."""
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def run(self) -> Path:
        """Where the pid files are."""
        return self.folder / "run"

    def page(self, program: str) -> str:
        """The metrics of `web` or of a worker."""
        port = self.metrics.get(program, self.port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())


@contextmanager
def running(
    profile: str,
    settings: Mapping[str, str] | None = None,
    workers: Mapping[str, int] | None = None,
    python: str = sys.executable,
) -> Iterator[Server]:
    """A server that is ready, run by `python`, as long as the context lasts. Raises BenchFailed."""
    programs = [
        stage if number == 1 else f"{stage}.{number}"
        for stage in STAGES
        for number in range(1, (workers or {}).get(stage, 1) + 1)
    ]
    port, *others = _free_ports(1 + len(programs))
    with TemporaryDirectory(prefix="antiphon-bench-") as name:
        folder = Path(name)
        said = folder / "up.log"
        began_s = time.monotonic()
        told = {**(settings or {}), "ANTIPHON_METRICS_PORT": str(others[0])}
        child = _start(python, profile, folder, port, told, workers)
        try:
            ready_s = _await_ready(child, said, began_s)
            yield Server(child.pid, folder, port, dict(zip(programs, others, strict=True)), ready_s)
        finally:
            _stop(child)


def _start(
    python: str,
    profile: str,
    folder: Path,
    port: int,
    settings: Mapping[str, str],
    workers: Mapping[str, int] | None,
) -> subprocess.Popen[bytes]:
    counts = ",".join(f"{stage}={number}" for stage, number in (workers or {}).items())
    # It does not outlive us
    leashed = [sys.executable, "-I", "-S", leash.__file__, "SIGTERM", str(folder / "bench.pid")]
    command = [python, "-m", "cli.main", "up", "--profile", profile, "--port", str(port)]
    ours = {"PYTHONPATH": str(ROOT), "ANTIPHON_LOG_LEVEL": "WARNING", leash.HOLDER: str(os.getpid())}
    with (folder / "up.log").open("wb") as said:
        return subprocess.Popen(
            [*leashed, *command, "--data-dir", str(folder), "--workers", counts],
            cwd=ROOT,
            env={**os.environ, **ours, **settings},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us, who stop it in order
        )


def _await_ready(child: subprocess.Popen[bytes], said: Path, began_s: float) -> float:
    while time.monotonic() < began_s + READY_DEADLINE_S:
        if READY in "\n" + said.read_text(errors="replace"):
            return time.monotonic() - began_s
        if child.poll() is not None:
            break
        time.sleep(0.01)
    raise BenchFailed(f"antiphon up did not become ready: {said.read_text(errors='replace')[-600:].strip()}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        child.kill()  # its processes see that and end too
        child.wait()


def _free_ports(count: int) -> list[int]:
    """So many ports in a row."""
    first = list(range(PORTS.start, PORTS.stop - count))
    random.shuffle(first)
    for port in first:
        row = [*range(port, port + count)]
        if all(map(_free, row)):
            return row
    raise BenchFailed(f"no {count} ports in a row between {PORTS.start} and {PORTS.stop} are free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
