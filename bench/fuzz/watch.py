"""What becomes of a server meanwhile: who of its processes lives, what they take of memory, which failures they log."""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from bench.processes import of_run
from bench.server import Server
from tasks import streams

#: Between two looks.
LOOK_S = 2.0

#: A line of a log that is the beginning of a bug's story.
TROUBLE = re.compile(r"Traceback|CRITICAL|Segmentation fault|WORKER TIMEOUT|exited: (?!.*expected)")

#: Lines of a story that are kept.
STORY = 40


@dataclass
class Series:
    """A figure in MB, in time."""

    at_s: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def add(self, at_s: float, mb: float) -> None:
        """One more look."""
        self.at_s.append(at_s)
        self.mb.append(mb)

    def since(self, share: float) -> "Series":
        """Without the first `share` of its time."""
        if not self.at_s:
            return self
        from_s = self.at_s[0] + share * (self.at_s[-1] - self.at_s[0])
        kept = [(at, mb) for at, mb in zip(self.at_s, self.mb, strict=True) if at >= from_s]
        return Series([at for at, _ in kept], [mb for _, mb in kept])

    @property
    def slope_mb_per_min(self) -> float:
        """Of the straight line with the least squares; 0 for fewer than two looks."""
        count = len(self.at_s)
        if count < 2:
            return 0.0
        mean_at, mean_mb = sum(self.at_s) / count, sum(self.mb) / count
        spread = sum((at - mean_at) ** 2 for at in self.at_s)
        both = sum((at - mean_at) * (mb - mean_mb) for at, mb in zip(self.at_s, self.mb, strict=True))
        return 60 * both / spread if spread else 0.0


def pids(server: Server) -> dict[int, str]:
    """Every process of the run, by its program."""
    found = {}
    for path in server.run.glob("*.pid"):
        try:
            process = psutil.Process(int(path.read_text().split()[0]))
            family = (
                [process]
                if path.stem in {"up", "supervisord"}
                else [process, *process.children(recursive=True)]
            )
        except (psutil.Error, OSError, ValueError, IndexError):
            continue
        found.update({one.pid: path.stem for one in family})
    return found


def troubles(server: Server) -> list[str]:
    """What the logs tell of failures: each with the lines that follow it."""
    found = []
    for log in sorted(server.folder.rglob("*.log*")):
        lines = log.read_text(errors="replace").splitlines()
        found += [
            f"{log.name}: " + "\n".join(lines[max(0, at - 1) : at + STORY])
            for at, line in enumerate(lines)
            if TROUBLE.search(line)
        ]
    return found


def _redis_url(server: Server, name: str) -> str:
    conf = (server.run / f"{name}.conf").read_text()
    found = dict(re.findall(r"^(port|requirepass) (\S+)$", conf, re.MULTILINE))
    return f"redis://:{found['requirepass']}@127.0.0.1:{found['port']}/0"


class Watch:
    """Looks at memory until it is left."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._redis = {name: streams.connect(_redis_url(server, name)) for name in ("state", "media")}
        self.memory: dict[str, Series] = {}
        self.keys: dict[str, int] = {}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for client in self._redis.values():
            client.close()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Now."""
        now_s = time.monotonic()
        for name, usage in of_run(self._server.run).items():
            if name not in ("up", "supervisord", "state", "media"):
                self._note(name, now_s, usage.rss_mb)
        for name, client in self._redis.items():
            self._note(f"redis {name}", now_s, client.info("memory")["used_memory"] / 1e6)
            self.keys[name] = int(client.dbsize())

    def _note(self, name: str, now_s: float, mb: float) -> None:
        self.memory.setdefault(name, Series()).add(now_s, mb)


def largest(series: Sequence[float]) -> float:
    """0 for none."""
    return max(series, default=0.0)
