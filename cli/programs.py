"""What `antiphon up` runs: the command of each program, its environment, and how it is stopped. Starts nothing."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from cli.redis_servers import RedisServer
from config.engine_choice import EngineChoice
from config.errors import ConfigError
from config.redis_keys import STAGES, VOICES
from config.settings import Settings

#: Where `web`, `tasks` and the rest lie; programs start here, so that they are found before a namesake.
ROOT = Path(__file__).resolve().parent.parent

#: For all programs, where the operator says nothing else. glibc gives each thread an arena that only grows: a worker
#: with a hundred threads would hold hundreds of MB. Engines set the threads they need; numpy's would only fight them.
FRUGAL = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

#: Weights are fetched by `antiphon models pull` alone; a library that would fetch some says that they are missing. ONNX
#: Runtime, whoever imports it, tells Microsoft nothing.
OFFLINE = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}


class Rank(IntEnum):
    """The order of stopping, highest first: clients are sent on, workers drain, Redis outlives all."""

    REDIS = 1
    WORKERS = 2
    WEB = 3


@dataclass(frozen=True)
class Program:
    """One process that is kept running."""

    name: str
    rank: Rank
    command: tuple[str, ...]
    death_signal: str
    """What it gets when the supervisor dies."""
    stop_wait_s: int
    """From SIGTERM to SIGKILL."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def stage(self) -> str | None:
        """`tts` for a worker of that stage; None for what is no worker."""
        return self.name.partition(".")[0] if self.rank is Rank.WORKERS else None


def environment(settings: Settings, redis_url: str, media_url: str) -> dict[str, str]:
    """What all programs share. Passwords travel here, where only the same user can read them."""
    return {
        **FRUGAL,
        **OFFLINE,
        **os.environ,
        "ANTIPHON_PROFILE": settings.profile,
        "ANTIPHON_REDIS_URL": redis_url,
        "ANTIPHON_MEDIA_URL": media_url,
        "ANTIPHON_VOICES_FILE": str(settings.voices_file.resolve()),
        "ANTIPHON_MODELS_DIR": str(settings.models_dir.expanduser().resolve()),
        "PYTHONUNBUFFERED": "1",
        **({"ANTIPHON_AUTH__KEYS_FILE": str(file.resolve())} if (file := settings.auth.keys_file) else {}),
    }


def redis(server: RedisServer) -> Program:
    """A Redis server. An unknown locale of the user's would keep it from starting."""
    return Program(server.name, Rank.REDIS, server.command, "SIGTERM", 10, {"LC_ALL": "C"})


def web(address: str, certificate: tuple[Path, Path] | None) -> Program:
    """Gunicorn; `certificate` is that and its key. Its control socket has one path for all gunicorns of a user."""
    command: tuple[str, ...] = (
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:web.gunicorn",
        "-b",
        address,
        "--no-control-socket",
    )
    if certificate is not None:
        command += ("--certfile", str(certificate[0]), "--keyfile", str(certificate[1]))
    # Orphaned, it still says goodbye to its clients. It gives its own workers 5 s.
    return Program("web", Rank.WEB, (*command, "web.app:app"), "SIGTERM", 8)


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    gpu: str
    """As the worker's `--gpu` takes it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings that hold there alone."""


def interpreter(stage: str, choice: EngineChoice) -> str:
    """Python for a stage's workers. Raises ConfigError when it is not there."""
    if choice.python is None:
        return sys.executable
    path = ROOT / choice.python
    if os.access(path, os.X_OK):
        return str(path)
    folder = choice.python.parts[0]
    mend = f"; `make setup-{folder[6:]}` makes it" if folder.startswith(".venv-") else ""
    raise ConfigError(f"{stage} engine {choice.engine!r} is run by {choice.python}, which is not there{mend}")


def worker_names(stage: str, counts: Mapping[str, int]) -> list[str]:
    """`tts`, `tts.2`, …: one for each of its processes."""
    return [stage if at == 1 else f"{stage}.{at}" for at in range(1, counts.get(stage, 1) + 1)]


def serving(settings: Settings, counts: Mapping[str, int]) -> dict[str, str]:
    """The queue of each worker, by name."""
    queues = {name: stage for stage in STAGES for name in worker_names(stage, counts)}
    return {**queues, VOICES: VOICES} if settings.voices.encoder else queues


def workers(
    settings: Settings,
    counts: Mapping[str, int],
    run_id: str,
    places: Mapping[str, Place] | None = None,
    metrics_port: int = 0,
) -> list[Program]:
    """One or more Celery workers for each stage, and one that clones voices where they are to be had. metrics_port: of
    the first; 0: none.

    Raises ConfigError when an interpreter is missing.
    """
    programs = []
    for number, (name, queue) in enumerate(serving(settings, counts).items()):
        choice = settings.stage(queue)
        environment = {"ANTIPHON_METRICS_PORT": str(metrics_port and metrics_port + number)}
        arguments = ["-n", f"{name}-{run_id}@%h", "-l", settings.log_level]
        if place := (places or {}).get(name):
            environment |= place.environment
            arguments += ["--gpu", place.gpu]
        programs.append(_worker(name, queue, choice, arguments, environment))
    return programs


def _worker(
    name: str, queue: str, choice: EngineChoice, arguments: Sequence[str], environment: Mapping[str, str]
) -> Program:
    command = (
        interpreter(queue, choice), "-m", "celery", "-A", "tasks", "worker", "-Q", queue,
        "--slots", str(choice.slots), "--without-mingle", "--without-gossip", *arguments,
    )  # fmt: skip
    # Without its supervisor it has no Redis to hand work back to. When it is stopped, the web has gone before: nobody
    # hears what it would finish.
    return Program(name, Rank.WORKERS, command, "SIGKILL", 5, environment)
