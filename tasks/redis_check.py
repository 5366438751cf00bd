"""Whether the two Redis servers are fit for us: what they say of themselves, what is wrong with it, how to mend it.

`judge` is pure; `ask` reads one server's facts; `check` does both servers. Web and workers look once when they start,
and `antiphon doctor` shows the same findings.
"""

import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from config.errors import ConfigError
from tasks import redis_view, streams

#: Streams, scripts and commands are those of this version.
OLDEST_REDIS = (7, 0)

#: The only policy that loses nothing.
KEEPS = "noeviction"

#: Less than this fills up with some ten sessions (docs/operating.md: 3.3 MB each in the media server).
LEAST_BYTES = {"state": 32 << 20, "media": 64 << 20}

#: From this difference between a host's clock and Redis' on it is told of. What travels between machines goes by the
#: media server's clock (`tasks/shared_time.py`); logs and certificates go by the host's.
SKEW_WARN_S = 1.0

#: A burst of results for a web process that is busy for a moment: 200 sessions of audio for 10 s.
PUBSUB_BYTES = 64 << 20

#: Asked so often for the time; the quickest answer counts.
TIME_TRIES = 3


class Severity(Enum):
    """How bad it is."""

    WARN = "warn"  #: it works, and an operator should know
    REFUSE = "refuse"  #: nothing of ours starts with it


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a server."""

    server: str
    """`state` or `media`."""
    severity: Severity
    what: str
    remedy: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"the {self.server} Redis {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Facts:
    """What a server says of itself. None: it does not say, as where CONFIG is not allowed."""

    version: tuple[int, ...] | None = None
    product: str = "Redis"
    used_bytes: int = 0
    most_bytes: int | None = None
    """0: no limit."""
    policy: str | None = None
    appendonly: bool | None = None
    pubsub_hard_bytes: int | None = None
    """Limit of what waits for a subscriber; 0: none."""
    pubsub_soft_bytes: int | None = None
    ahead_s: float = 0.0
    """This host's clock is ahead of the server's by so much, as nearly as a round trip tells."""


@dataclass(frozen=True)
class Memory:
    """How full a server is."""

    used_bytes: int
    most_bytes: int
    policy: str | None = None

    @property
    def evicts(self) -> bool:
        """It throws data away instead of saying that it is full."""
        return self.policy not in (None, KEEPS)

    @property
    def share(self) -> float:
        """Of its limit; 0 where it has none."""
        return self.used_bytes / self.most_bytes if self.most_bytes else 0.0


def memory(client: streams.Client) -> Memory:
    """As it is now; one round trip. Raises RedisError."""
    said = redis_view.info(client, "memory")
    return Memory(
        int(said.get("used_memory", 0)), int(said.get("maxmemory", 0)), said.get("maxmemory_policy")
    )


def ask(client: streams.Client) -> Facts:
    """The facts of one server. Raises RedisError when it does not answer."""
    said = {
        k: v for part in ("server", "memory", "persistence") for k, v in redis_view.info(client, part).items()
    }
    valkey = said.get("valkey_version")
    hard, soft = _pubsub_limit(redis_view.configured(client, "client-output-buffer-limit"))
    return Facts(
        version=_version(str(valkey or said.get("redis_version", ""))),
        product="Valkey" if valkey else "Redis",
        used_bytes=int(said.get("used_memory", 0)),
        most_bytes=int(said["maxmemory"]) if "maxmemory" in said else None,
        policy=said.get("maxmemory_policy"),
        appendonly=bool(said["aof_enabled"]) if "aof_enabled" in said else None,
        pubsub_hard_bytes=hard,
        pubsub_soft_bytes=soft,
        ahead_s=clock_ahead_s(client),
    )


def _version(text: str) -> tuple[int, ...] | None:
    return tuple(map(int, text.split(".")[:3])) if re.fullmatch(r"\d+(\.\d+)+", text) else None


def _pubsub_limit(text: str | None) -> tuple[int | None, int | None]:
    """Hard and soft limit of `normal 0 0 0 … pubsub 33554432 8388608 60`."""
    found = re.search(r"\bpubsub (\d+) (\d+) \d+", text or "")
    return (int(found[1]), int(found[2])) if found else (None, None)


def clock_ahead_s(client: streams.Client) -> float:
    """How far this host's clock is ahead of the server's. Raises RedisError."""
    best_s, ahead_s = float("inf"), 0.0
    for _ in range(TIME_TRIES):
        before_s = time.time()
        there_s = redis_view.server_time(client)
        after_s = time.time()
        if after_s - before_s < best_s:
            best_s, ahead_s = after_s - before_s, (before_s + after_s) / 2 - there_s
    return ahead_s


def judge(server: str, facts: Facts, host: str) -> list[Finding]:
    """What is wrong with a server, the worst first. host: whose clock was compared."""
    found = [*_version_findings(facts), *_memory_findings(server, facts), *_clock_findings(facts, host)]
    found += _persistence_findings(server, facts)
    if server == "media":
        found += _pubsub_findings(facts)
    findings = [Finding(server, *one) for one in found]
    return sorted(findings, key=lambda finding: finding.severity is Severity.WARN)


Found = tuple[Severity, str, str]


def _version_findings(facts: Facts) -> Iterable[Found]:
    if facts.version is None:
        yield Severity.WARN, "does not tell its version", "allow our user INFO"
    elif facts.version < OLDEST_REDIS:
        said = ".".join(map(str, facts.version))
        yield Severity.REFUSE, f"is {facts.product} {said}", "Redis or Valkey 7.0 or newer is needed"


def _memory_findings(server: str, facts: Facts) -> Iterable[Found]:
    if facts.policy not in (None, KEEPS):
        yield (
            Severity.REFUSE,
            f"throws data away when its memory is full (maxmemory-policy {facts.policy})",
            "set maxmemory-policy noeviction: sessions would vanish in silence",
        )
    size = "1gb" if server == "media" else "512mb"
    most = facts.most_bytes or 0
    if 0 < most < LEAST_BYTES[server]:
        yield (
            Severity.WARN,
            f"may take {most / 1e6:.0f} MB (maxmemory): a few sessions fill it, and more are refused",
            f"set maxmemory, for instance {size} (docs/operating.md says how much)",
        )
    if facts.most_bytes == 0:
        yield (
            Severity.WARN,
            "has no maxmemory: it may take all memory of its machine before we can refuse sessions",
            f"set maxmemory, for instance {size} (docs/operating.md says how much)",
        )


def _clock_findings(facts: Facts, host: str) -> Iterable[Found]:
    off_s = abs(facts.ahead_s)
    if off_s <= SKEW_WARN_S:
        return
    way = "ahead of" if facts.ahead_s > 0 else "behind"
    yield (
        Severity.WARN,
        f"and {host} do not agree on the time: the clock of {host} is {off_s:.1f} s {way} it",
        f"let chrony or systemd-timesyncd set the clocks of {host} and of the Redis host",
    )


def _persistence_findings(server: str, facts: Facts) -> Iterable[Found]:
    if server == "state" and facts.appendonly is False:
        yield (
            Severity.WARN,
            "keeps nothing when it restarts: every session would be lost",
            "set appendonly yes, and give it a volume",
        )
    if server == "media" and facts.appendonly:
        yield (
            Severity.WARN,
            "writes to its disk, and what people say with it",
            'set appendonly no and save "" for the media server',
        )


def _pubsub_findings(facts: Facts) -> Iterable[Found]:
    limits = (facts.pubsub_hard_bytes, facts.pubsub_soft_bytes)
    if any(limit is not None and 0 < limit < PUBSUB_BYTES for limit in limits):
        yield (
            Severity.WARN,
            "cuts off a web process that is busy for a moment (client-output-buffer-limit pubsub)",
            "set client-output-buffer-limit pubsub 128mb 64mb 30",
        )


def check(state: streams.Client, media: streams.Client) -> list[Finding]:
    """Both servers as they are now. Raises RedisError when one does not answer."""
    host = socket.gethostname()
    servers: Mapping[str, streams.Client] = {"state": state, "media": media}
    if locked := [name for name, client in servers.items() if not _lets_us_in(client)]:
        return [Finding(name, Severity.WARN, *LOCKED) for name in locked]
    facts = {name: ask(client) for name, client in servers.items()}
    if redis_view.same_server(
        state, media
    ):  # then audio lies beside what must last, and the operator wants it so
        return judge("state", facts["state"], host) + list(
            Finding("state", *one) for one in _pubsub_findings(facts["media"])
        )
    return [finding for name, said in facts.items() for finding in judge(name, said, host)]


#: What is wrong with a server that does not let us in. Nothing ends for it: while a password is changed clients and
#: servers start in any order (docs/deploying.md), and an update whose tasks end would be rolled back.
LOCKED = (
    "does not take our password",
    "give the right one in ANTIPHON_REDIS_URL and ANTIPHON_MEDIA_URL, or in the secret redis_password",
)


def _lets_us_in(client: streams.Client) -> bool:
    try:
        streams.round_trip_s(client)
    except streams.RedisError as error:
        if redis_view.wrong_password(error):
            return False
        raise
    return True


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Those with which nothing may start."""
    return [finding for finding in findings if finding.severity is Severity.REFUSE]


def tell(findings: Iterable[Finding], warn: Callable[[str, str], None]) -> None:
    """Warns of what an operator should know. Raises ConfigError for what is refused, all of it in one line."""
    findings = list(findings)
    for finding in findings:
        if finding.severity is Severity.WARN:
            warn("%s", str(finding))
    if refused := refusals(findings):
        raise ConfigError("; ".join(map(str, refused)))
