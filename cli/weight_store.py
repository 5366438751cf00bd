"""Where each file of weights lies, whether it is there and is what the catalogue says. Fetches nothing."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from config.catalogue import File, Model
from config.errors import ConfigError, EngineMissing
from gpu_workers import weights

#: Read and hashed at once.
CHUNK_BYTES = 1 << 20


class State(StrEnum):
    """What is known of a file."""

    PRESENT = "present"
    """There, of the right size; `check` alone reads it."""
    MISSING = "missing"
    PARTIAL = "partial"
    """A download that goes on at the next pull."""
    WRONG = "wrong"
    """Its size or its checksum is another."""


@dataclass(frozen=True)
class Weight:
    """A file of a model, and its place on this machine."""

    model: Model
    file: File
    path: Path | None
    """Where it lies or will; None: in a package that is not installed."""

    @property
    def lock(self) -> Path:
        """Beside a file that the catalogue does not pin: the checksum it had when it was first fetched."""
        return _beside(self.path, ".sha256")

    @property
    def part(self) -> Path:
        """What has arrived of it so far."""
        return _beside(self.path, ".part")

    @property
    def sha256(self) -> str | None:
        """What it must have: by the catalogue, or by the first pull of this revision."""
        if self.file.sha256 or self.path is None:
            return self.file.sha256
        return locked(self.lock, self.model.revision(self.file) or "")

    def state(self) -> State:
        """By its size alone."""
        if self.path is None or not self.path.is_file():
            partial = self.path is not None and self.part.is_file()
            return State.PARTIAL if partial else State.MISSING
        there = self.path.stat().st_size
        return State.PRESENT if self.file.size in (None, there) else State.WRONG


def _beside(path: Path | None, suffix: str) -> Path:
    if path is None:
        raise ConfigError("a file of a Python package has nothing beside it")
    return path.with_name(path.name + suffix)


def locked(lock: Path, revision: str) -> str | None:
    """The checksum in a lock, if that was written for this revision; `sha256sum -c` reads locks, too."""
    try:
        origin, line, *_ = lock.read_text().splitlines()
        digest, *_ = line.split()
    except (OSError, ValueError):
        return None
    return digest if revision in origin else None


def write_lock(weight: Weight, digest: str, origin: str) -> None:
    """Keeps the checksum of a file that the catalogue does not pin; `origin` names the revision."""
    new = weight.lock.with_name(weight.lock.name + ".new")
    new.write_text(f"# {origin}\n{digest}  {weight.lock.name.removesuffix('.sha256')}\n")
    new.replace(weight.lock)


def weights_of(models: Sequence[Model], models_dir: Path) -> list[Weight]:
    """Every file of the models, in the catalogue's order."""
    return [Weight(model, file, _path(model, file, models_dir)) for model in models for file in model.files]


def _path(model: Model, file: File, models_dir: Path) -> Path | None:
    if not model.installed:
        return models_dir / model.id / file.name
    package, _, inside = file.name.partition("/")
    try:
        return weights.find(package, inside, model.id)
    except EngineMissing:
        return None


def sha256(path: Path, read: Callable[[int], None] = lambda count: None) -> str:
    """The checksum of a file; `read` hears of each chunk's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            read(len(chunk))
    return digest.hexdigest()


@contextlib.contextmanager
def held(models_dir: Path) -> Iterator[None]:
    """Makes the folder and keeps it from other pulls. ConfigError when it cannot be written, or another pull is on."""
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(models_dir / ".pull.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(
            f"{models_dir} cannot be used as folder for models: {error.strerror} (setting models_dir)"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"another pull is writing to {models_dir}; wait for it") from None
    finally:
        os.close(lock)
