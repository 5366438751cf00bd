"""The data directory of `antiphon up`: its layout, its lock, and what must stay private. Starts and ends nothing."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConfigError

#: Longest path of a unix socket that every system takes; supervisord appends its process id while it binds.
SOCKET_PATH_BYTES = 90


@dataclass(frozen=True)
class DataDir:
    """Where everything lies. `run` is worth nothing once the server has stopped."""

    root: Path
    run_id: str
    """Unguessable; every process of this run has it in its environment."""
    run_before: str
    """The run id of who held the directory before; empty for a new directory."""

    @property
    def run(self) -> Path:
        """Sockets, pid files and configurations of this run."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """A log per process."""
        return self.root / "log"

    @property
    def redis_state(self) -> Path:
        """Sessions and queued tasks."""
        return self.root / "redis-state"

    @property
    def tls(self) -> Path:
        """The self-signed certificate."""
        return self.root / "tls"

    def pid_file(self, name: str) -> Path:
        """Where a program's process id stands while it runs."""
        return self.run / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.log / f"{name}.log"

    def password(self) -> str:
        """The password of both Redis servers; made once."""
        path = self.root / "redis.password"
        if not path.exists():
            write_private(path, secrets.token_hex(32))
        return path.read_text().strip()

    def forget_pids(self) -> None:
        """Removes the pid files of a run that is over. The lock's own stays: a second `up` may wait at it."""
        for path in self.run.glob("*.pid"):
            if path != self.pid_file("up"):
                path.unlink(missing_ok=True)

    def socket_path(self) -> Path:
        """Where the supervisor listens: in `run`, or in a private folder elsewhere if that path is too long."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            return Path(tempfile.mkdtemp(prefix="antiphon-")) / path.name
        return path


def write_private(path: Path, data: str | bytes) -> None:
    """Writes a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def holder(root: Path) -> int | None:
    """The process id of the `up` that holds the directory; None when nobody does."""
    try:
        with (root / "run" / "up.pid").open() as lock:
            said = lock.read().split()
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(said[0]) if said else None
    except OSError:
        return None
    return None


@contextmanager
def held(root: Path) -> Iterator[DataDir]:
    """Makes the directory and holds it. Raises ConfigError when it cannot be written, or another `up` holds it."""
    root = root.expanduser().resolve()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "log", "redis-state"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        lock = open(os.open(root / "run" / "up.pid", os.O_RDWR | os.O_CREAT, 0o600), "r+")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"{root} cannot be used as data directory: {error.strerror}") from error
    with lock:
        before = lock.read().split()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = before[0] if before else "unknown"
            raise ConfigError(
                f"another `antiphon up` (pid {pid}) runs on {root}; stop it, or choose another --data-dir"
            ) from None
        data = DataDir(root, secrets.token_hex(8), before[1] if len(before) > 1 else "")
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n{data.run_id}\n")
        lock.flush()
        try:
            yield data
        finally:
            data.forget_pids()
            lock.truncate(0)
