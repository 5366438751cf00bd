"""A whole Antiphon for tests: two Redis servers, web and workers as real processes, to be killed and replaced."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from config.redis_keys import STAGES
from tasks.beats import workers as advertised
from tasks.leases import Holder, Leases
from tests import fair_clock, redis_server
from tests.conftest import needs_redis
from tests.ports import free_port

ROOT = Path(__file__).parent.parent

#: A process that starts at all is ready within 3 s; this is for a machine under load.
START_DEADLINE_S = 60.0

#: A process that was told to end has this long before it is killed.
END_DEADLINE_S = 30.0

#: The null engines, slow enough to be killed in the middle: a reply of 20 words takes 1.5 s to write, 3.2 s to hear.
SLOW_LLM = {"first_word_s": 0.25, "word_interval_s": 0.06}
SLOW_TTS = {"first_audio_after_s": 0.15, "word_audio_s": 0.16}


@dataclass
class Child:
    """One process of the house."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    metrics_port: int = 0
    told: bool = False
    """A test ended it."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and the certainty that it is gone."""
        self.told = True
        self.process.kill()
        self.process.wait()

    def drain(self) -> float:
        """SIGTERM; returns how long it took to end."""
        self.told = True
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(END_DEADLINE_S)
        return time.monotonic() - began


@dataclass
class RedisBox:
    """A Redis server that comes back on its port; `appendonly`: with what it knew."""

    name: str
    executable: str
    server: redis_server.Server
    folder: Path
    appendonly: bool
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.process = redis_server.start(
            self.executable, self.server, self.folder, appendonly=self.appendonly
        )
        redis_server.wait_until_up(self.server, self.process, self.folder)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self, away_s: float) -> None:
        """kill -9, nothing for a while, and a new one."""
        self.kill()
        time.sleep(away_s)
        self.start()


@dataclass
class House:
    """All processes of one stack. Workers go by stage; `env` overrides settings."""

    folder: Path
    state: RedisBox
    media: RedisBox
    env: dict[str, str]
    worker_options: tuple[str, ...] = ()
    port: int = 0
    web: Child | None = None
    replicas: list[Child] = field(default_factory=list)
    """More web servers, each on a port of its own."""
    workers: dict[str, list[Child]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    start_deadline_s: float = START_DEADLINE_S
    _count: int = 0

    # --- starting

    def start_worker(self, stage: str, **env: str) -> Child:
        """One more worker, with settings of its own; `ready` waits for it."""
        self._count += 1
        name = f"{stage}{self._count}"
        port = free_port()
        child = self._spawn(
            name,
            ["-m", "celery", "-A", "tasks", "worker", "-Q", stage, "-n", name, "--without-mingle",
             "--without-gossip", *self.worker_options],
            {"ANTIPHON_METRICS_PORT": str(port), **env},
        )  # fmt: skip
        child.metrics_port = port
        self.workers[stage].append(child)
        return child

    def start_web(self) -> Child:
        """The web server, on the port it had before."""
        self.port = self.port or free_port()
        address = f"127.0.0.1:{self.port}"
        self._count += 1
        self.web = self._spawn(
            f"web{self._count}", ["-m", "gunicorn", "-c", "python:web.gunicorn", "-b", address, "web.app:app"]
        )
        return self.web

    def start_replica(self) -> tuple[Child, int]:
        """One more web server, and its port; waits until it is ready."""
        self._count += 1
        port = free_port()
        child = self._spawn(
            f"web{self._count}",
            ["-m", "gunicorn", "-c", "python:web.gunicorn", "-b", f"127.0.0.1:{port}", "web.app:app"],
        )
        self.replicas.append(child)
        wait_for(lambda: self._answers(port), f"{child.name} to be healthy", child)
        return child, port

    def _answers(self, port: int) -> bool:
        with suppress(OSError):
            return bool(json.loads(self.get("/v1/health", port))["ok"])
        return False

    def _spawn(self, name: str, arguments: list[str], env: dict[str, str] | None = None) -> Child:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**self._environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return Child(name, process, log)

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ANTIPHON_")}
        urls = {
            "ANTIPHON_REDIS_URL": self.state.server.url(0),
            "ANTIPHON_MEDIA_URL": self.media.server.url(0),
        }
        return {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **urls, **self.env}

    def replace_dead(self, *, workers: int) -> None:
        """Starts what is missing, without waiting for it."""
        if self.web is None or not self.web.alive:
            self.start_web()
        for stage in STAGES:
            self.workers[stage] = [child for child in self.workers[stage] if child.alive]
            while len(self.workers[stage]) < workers:
                self.start_worker(stage)

    def furnish(self, *, workers: int) -> None:
        """So many live workers for each stage and a web server; waits until all are ready."""
        self.replace_dead(workers=workers)
        self.ready()

    def ready(self) -> None:
        """Waits until web answers and every worker advertises itself; one that ended by itself is an error."""
        late_s = self.start_deadline_s
        for stage in STAGES:
            for child in [child for child in self.workers[stage] if not child.told]:
                wait_for(
                    lambda s=stage, c=child: self._advertises(s, c),
                    f"{child.name} to be ready",
                    child,
                    late_s,
                )
        wait_for(lambda: self.health().get("ok", False), "web to be healthy", self.web)

    def _advertises(self, stage: str, child: Child) -> bool:
        with self.state.server.client(0) as client:
            return any(pid_of(name) == child.pid for name in advertised(client, stage))

    # --- looking

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def get(self, path: str, port: int = 0) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def pages(self) -> list[str]:
        """What Prometheus would get of web and of all live workers."""
        live = [child for group in self.workers.values() for child in group if child.alive]
        return [self.get("/metrics"), *(self.get("/metrics", child.metrics_port) for child in live)]

    def health(self) -> dict[str, Any]:
        try:
            return json.loads(self.get("/v1/health"))  # type: ignore[no-any-return]
        except OSError:
            return {}

    def metric(self, name: str, **labels: str) -> float:
        """A counter of the web process; 0 when it has not been counted yet."""
        wanted = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
        for line in self.get("/metrics").splitlines():
            if line.startswith(wanted + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def holder(self, stage: str, sid: str) -> Holder | None:
        """Who works on a stage of a session."""
        with self.state.server.client(0) as client:
            return Leases(client, 1).holders([(stage, sid)])[0]

    def worker_of(self, stage: str, sid: str) -> Child:
        """The process that works on a stage of a session."""
        holder = self.holder(stage, sid)
        assert holder is not None, f"nobody works on {stage}"
        (child,) = [child for child in self.workers[stage] if child.pid == pid_of(holder.owner)]
        return child

    def web_child(self, web: Child | None = None) -> int:
        """Pid of the process under gunicorn's arbiter that serves."""
        web = web or self.web
        assert web is not None
        children = psutil.Process(web.pid).children()
        return int(children[0].pid)

    def said(self, *, of: str = "") -> str:
        """Ends of the logs, for the message of a failed test."""
        parts = []
        for log in sorted(self.folder.glob(f"{of}*.log")):
            parts.append(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        return "\n".join(parts)

    # --- ending

    def kill_web(self) -> None:
        """kill -9 of the serving process; gunicorn starts another."""
        os.kill(self.web_child(), signal.SIGKILL)

    def kill_web_whole(self, web: Child | None = None) -> None:
        """kill -9 of gunicorn and of what it started."""
        web = web or self.web
        assert web is not None
        child = self.web_child(web)
        web.kill()
        with suppress(ProcessLookupError):  # it dies with its master
            os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        """Nothing of the house is left."""
        children = [
            *([self.web] if self.web else []),
            *self.replicas,
            *(c for group in self.workers.values() for c in group),
        ]
        family = [p for child in children if child.alive for p in psutil.Process(child.pid).children()]
        for child in children:
            child.process.kill()
            child.process.wait()
        for process in family:
            if process.is_running():
                process.kill()
        psutil.wait_procs(family, timeout=5)
        for box in (self.state, self.media):
            box.kill()


def pid_of(owner: str) -> int:
    """The process behind the name in a lease."""
    return int(owner.rsplit("-", 1)[1])


def wait_for(
    true: Callable[[], bool], what: str, child: Child | None = None, timeout_s: float = START_DEADLINE_S
) -> None:
    """Waits; a child that died meanwhile, or the deadline, ends it with what the child said."""
    deadline = fair_clock.now_s() + timeout_s
    while not true():
        dead = child is not None and not child.alive
        if dead or fair_clock.now_s() > deadline:
            said = child.log.read_text(errors="replace")[-3000:] if child is not None else ""
            raise AssertionError(f"waited in vain for {what}: {said}")
        time.sleep(0.05)


@contextmanager
def open_house(
    folder: Path,
    *,
    workers: int,
    env: dict[str, str] | None = None,
    worker_options: tuple[str, ...] = (),
    start_deadline_s: float = START_DEADLINE_S,
) -> Iterator[House]:
    """A running stack on profile null, with the slow engines, as long as the context lasts."""
    executable = needs_redis()
    boxes = []
    for name, appendonly in (("state", True), ("media", False)):
        server = redis_server.Server(free_port(), secrets.token_hex(16))
        boxes.append(RedisBox(name, executable, server, folder / name, appendonly))
        boxes[-1].start()
    settings = {
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_LLM__OPTIONS": json.dumps(SLOW_LLM),
        "ANTIPHON_TTS__OPTIONS": json.dumps(SLOW_TTS),
        **(env or {}),
    }
    house = House(folder, boxes[0], boxes[1], settings, worker_options, start_deadline_s=start_deadline_s)
    try:
        house.furnish(workers=workers)
        yield house
    finally:
        house.close()
