"""A loop under load: private Redis servers, a worker and its users, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec

from bench.machine import ROOT
from bench.server import BenchFailed
from bench.steps.plan import Fed, Found, Plan
from cli import redis_servers
from cli.data_dir import DataDir
from tasks.streams import answers, connect

T = TypeVar("T")

#: Sessions begin and settle before anything is measured.
SETTLE_S = 5.0

REDIS_DEADLINE_S = 20.0
END_DEADLINE_S = 30.0


@dataclass(frozen=True)
class Run:
    """One loop at one load."""

    plan: Plan
    found: Found
    fed: Fed


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """URLs of a state and a media server as `antiphon up` sets them up. Raises BenchFailed."""
    with TemporaryDirectory(prefix="antiphon-steps-") as name:
        data = DataDir(Path(name), "", "")
        for folder in (data.run, data.redis_state):
            folder.mkdir()
        made = [redis_servers.prepare(kind, data) for kind in ("state", "media")]
        children = [subprocess.Popen(server.command, stdout=subprocess.DEVNULL) for server in made]
        try:
            for server in made:
                _await(server.url)
            yield made[0].url, made[1].url
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait()


def _await(url: str) -> None:
    deadline = time.monotonic() + REDIS_DEADLINE_S
    client = connect(url)
    while not answers(client):
        if time.monotonic() > deadline:
            raise BenchFailed("a Redis server did not start")
        time.sleep(0.02)
    client.close()


def measure(stage: str, slots: int, seconds: float, **more: Any) -> Run:
    """Runs a stage's loop. Raises BenchFailed."""
    with servers() as (state, media):
        begin_s = time.time() + SETTLE_S
        plan = msgspec.convert(
            {
                "stage": stage, "slots": slots, "users": slots, "format": "pcm16", "state_url": state,
                "media_url": media, "worker": f"bench-{stage}", "begin_s": begin_s, "end_s": begin_s + seconds, **more,
            },
            Plan,
        )  # fmt: skip
        worker = _start("bench.steps.worker", plan)
        feeder = _start("bench.steps.feeder", plan)
        try:
            fed, found = _result(feeder, plan, Fed), _result(worker, plan, Found)
        finally:
            for child in (feeder, worker):
                child.kill()
                child.wait()
    return Run(plan, found, fed)


def _start(module: str, plan: Plan) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module, msgspec.json.encode(plan).decode()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


def _result(child: subprocess.Popen[bytes], plan: Plan, kind: type[T]) -> T:
    try:
        said, _ = child.communicate(timeout=plan.end_s - time.time() + END_DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        raise BenchFailed("a process of the bench did not end") from error
    if child.returncode:
        raise BenchFailed(f"a process of the bench ended with {child.returncode}")
    return msgspec.json.decode(said, type=kind)
