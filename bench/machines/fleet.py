"""A fleet: two Redis servers, web and workers as processes, each on a machine of its own, and clients on another."""

import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machines.layout import Layout, laid_out
from bench.server import BenchFailed
from cli.data_dir import write_private
from cli.redis_servers import binary, configuration
from config.redis_keys import STAGES
from tasks import beats, streams
from tasks.leases import Holder, Leases

CLIENTS, WEB, STATE, MEDIA = "clients", "web", "state", "media"

#: What is laid out, first of all the clients' machine: it is where everything is looked at from.
MACHINES = (CLIENTS, WEB, STATE, MEDIA, "stt1", "stt2", "llm1", "tts1", "tts2", "tts3")

REDIS_PORT, WEB_PORT, METRICS_PORT = 6379, 8000, 9100

#: A worker that starts at all is ready within 3 s; this is for a machine under load, and for models.
READY_DEADLINE_S = 90.0

#: A worker that is told to end hands over within a second; a web process gives its clients two.
END_DEADLINE_S = 15.0

#: Its talkers come from other machines, without keys, and all from one.
OPEN = {
    "ANTIPHON_AUTH__OPEN": "true",
    "ANTIPHON_AUTH__ADDRESS_SESSIONS": "0",
    "ANTIPHON_AUTH__ADDRESS_STARTS_PER_MINUTE": "0",
}

#: What a fleet runs where nothing else is said.
DEFAULTS = {"ANTIPHON_PROFILE": "null"}


@dataclass
class Fleet:
    """Machines with something on them, by name; `settings` are those of all programs."""

    layout: Layout
    folder: Path
    settings: Mapping[str, str]
    clocks: Mapping[str, int] = field(default_factory=dict)
    """By how many seconds a machine's wall clock is ahead."""
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- starting and ending

    def start_redis(self, name: str) -> None:
        """The server `state` or `media`."""
        folder = self.folder / name
        folder.mkdir()
        conf = self.folder / f"{name}.conf"
        text = configuration(name, self.layout.address(name), REDIS_PORT, self.password, folder)
        write_private(conf, text)
        self._start(name, [binary(), str(conf)], {"LC_ALL": "C"})

    def start_web(self) -> None:
        """Gunicorn."""
        address = f"{self.layout.address(WEB)}:{WEB_PORT}"
        command = ["-m", "gunicorn", "-c", "python:web.gunicorn", "-b", address, "web.app:app"]
        self._start(WEB, [sys.executable, *command])

    def start_worker(self, machine: str, **settings: str) -> None:
        """A worker of the stage that the machine is named for; `when_ready` waits for it."""
        command = ["-m", "celery", "-A", "tasks", "worker", "-Q", machine[:3], "-n", f"{machine}@%h"]
        self._start(
            machine,
            [sys.executable, *command, "--without-mingle", "--without-gossip", "-l", "INFO"],
            settings,
        )

    def _start(self, machine: str, command: list[str], settings: Mapping[str, str] | None = None) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ANTIPHON_")}
        ours = {
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            "ANTIPHON_REDIS_URL": self.url_of(STATE),
            "ANTIPHON_MEDIA_URL": self.url_of(MEDIA),
            "ANTIPHON_METRICS_PORT": str(METRICS_PORT),
            "ANTIPHON_METRICS_HOST": self.layout.address(machine),
            **OPEN,
        }
        if ahead_s := self.clocks.get(machine):
            ours |= wrong_clock(self.folder, ahead_s)
        env = {**inherited, **ours, **self.settings, **(settings or {})}
        self.processes[machine] = self.layout.start(machine, command, env, self.log(machine))

    def end(self, machine: str) -> None:
        """SIGTERM, and what follows of it."""
        process = self.processes.pop(machine)
        process.terminate()
        try:
            process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Everything, at once; the namespaces' end takes what they have started."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    # --- looking; call these on the clients' machine, by `layout.inside`

    def url_of(self, redis: str) -> str:
        """Of `state` or `media`, for all machines."""
        return f"redis://:{self.password}@{self.layout.address(redis)}:{REDIS_PORT}/0"

    @property
    def url(self) -> str:
        """Of the conversations."""
        return f"ws://{self.layout.address(WEB)}:{WEB_PORT}/v1/realtime"

    def log(self, machine: str) -> Path:
        """What its program said."""
        return self.folder / f"{machine}.log"

    def page(self, machine: str) -> str:
        """Metrics of web or a worker. Raises OSError."""
        port = WEB_PORT if machine == WEB else METRICS_PORT
        with urllib.request.urlopen(
            f"http://{self.layout.address(machine)}:{port}/metrics", timeout=5
        ) as answer:
            return str(answer.read().decode())

    def when_ready(self, *machines: str) -> None:
        """Waits until web answers and these workers advertise themselves. Raises BenchFailed."""
        for machine in machines:
            self.wait(partial(self.is_there, machine), f"{machine} to be ready", machine)

    def is_there(self, machine: str) -> bool:
        """Whether web answers, or a worker advertises itself."""
        if machine == WEB:
            with suppress(OSError):
                return bool(self.page(WEB))
            return False
        return any(owner.startswith(f"{machine}-") for owner in self.advertised(machine[:3]))

    def advertised(self, stage: str) -> dict[str, dict[str, str]]:
        """What the workers of a stage say of themselves."""
        with streams.connect(self.url_of(STATE)) as state:
            return beats.workers(state, stage)

    def holder(self, stage: str, sid: str) -> Holder | None:
        """Who works on a stage of a session."""
        with streams.connect(self.url_of(STATE)) as state:
            return Leases(state, 1).holders([(stage, sid)])[0]

    def wait(self, true: Callable[[], object], what: str, machine: str | None = None) -> None:
        """Until it is so. Raises BenchFailed with what the machine's program said."""
        deadline = time.monotonic() + READY_DEADLINE_S
        while not true():
            process = self.processes.get(machine or "")
            if time.monotonic() > deadline or (process is not None and process.poll() is not None):
                raise BenchFailed(f"waited in vain for {what}: {self.said(machine)}")
            time.sleep(0.05)

    def said(self, machine: str | None = None) -> str:
        """The end of a log, or of all."""
        logs = [self.log(machine)] if machine else sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)


def machine_of(holder: Holder) -> str:
    """The machine of who holds a lease: the host name is in it."""
    return holder.owner.rpartition("-")[0]


def wrong_clock(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is ahead by so much. Raises BenchFailed without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchFailed("a wall clock that is wrong needs a C compiler")
    library = folder / "skew.so"
    if not library.exists():
        source = Path(__file__).with_name("skew.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "SKEW_S": str(seconds)}


@contextmanager
def running(
    workers: Sequence[str],
    settings: Mapping[str, str] | None = None,
    clocks: Mapping[str, int] | None = None,
) -> Iterator[Fleet]:
    """A fleet that is ready, with workers on these machines, as long as the context lasts. Raises BenchFailed."""
    with TemporaryDirectory(prefix="antiphon-machines-") as name, laid_out(MACHINES) as layout:
        fleet = Fleet(layout, Path(name), settings or DEFAULTS, clocks or {})
        try:
            for redis in (STATE, MEDIA):
                fleet.start_redis(redis)
            layout.inside(lambda: fleet.wait(lambda: _both_answer(fleet), "Redis"))
            fleet.start_web()
            for machine in workers:
                fleet.start_worker(machine)
            layout.inside(lambda: fleet.when_ready(WEB, *workers))
            yield fleet
        finally:
            fleet.kill()


def _both_answer(fleet: Fleet) -> bool:
    for redis in (STATE, MEDIA):
        with streams.connect(fleet.url_of(redis)) as client:
            if not streams.answers(client):
                return False
    return True


assert all(machine[:3] in STAGES for machine in MACHINES[4:])
