"""Everything that moves through Redis streams and channels.

Few modules send commands to Redis (tests/test_architecture.py names them). Works under gevent and threads alike.
"""

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from config import redis_keys as keys
from config.messages import (
    Command,
    Drain,
    InEntry,
    Result,
    decode_in,
    decode_result,
    encode,
)
from tasks.shared_time import shared_time
from tasks.wire import Command as WireCommand
from tasks.wire import Wire

#: Every wait for Redis ends by then; blocking reads stay well under it. A loop may wait so twice, as commands are tried
#: once more, and must not seem to hang: a server that says nothing for a while is no reason to end a worker.
SOCKET_TIMEOUT_S = 3.0

#: The same for a connection.
CONNECT_TIMEOUT_S = 2.0

#: What time it is, is as exact as half the quickest answer; one this quick is exact enough.
CLOCK_TRIES, QUICK_S = 4, 0.002

#: Entries of `ctl:{worker}`: a second of commands for a full worker.
CONTROL_ITEMS = 1000

#: Life of that stream after its worker.
CONTROL_S = 60


#: How soon a link that carries nothing any more is noticed, by a connection that listens as by one that has something
#: to say; without a word from the other end, neither would notice for many minutes. If this were shorter, a link that
#: is away for a moment would cost every connection; a lost packet comes again within a second.
LINK_SILENT_S, PROBE_EVERY_S, PROBES = 3, 1, 3

_PROBING = {
    "TCP_KEEPIDLE": LINK_SILENT_S,
    "TCP_KEEPINTVL": PROBE_EVERY_S,
    "TCP_KEEPCNT": PROBES,
    "TCP_USER_TIMEOUT": 1000 * (LINK_SILENT_S + PROBES * PROBE_EVERY_S),
}

#: The same as socket options, as far as the system has them.
KEEPALIVE = {getattr(socket, name): value for name, value in _PROBING.items() if hasattr(socket, name)}

RedisError = redis.RedisError

#: A connection to one of the two servers; only those modules use its commands.
Client = redis.Redis


def connect(url: str, *, connections: int = 64) -> Client:
    """A client whose commands are tried again once after a broken connection."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        max_connections=connections,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        socket_keepalive_options=KEEPALIVE,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )


def answers(client: redis.Redis) -> bool:
    """Whether the server is there, takes our password and has loaded its data."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


def round_trip_s(client: Client) -> float:
    """How long a PING takes, over a connection that is open already. Raises RedisError."""
    began = time.perf_counter()
    client.ping()
    return time.perf_counter() - began


def memory(client: Client) -> tuple[int, int]:
    """Bytes in use, and the most the server may take (0: no limit)."""
    said: Any = client.info("memory")
    return int(said["used_memory"]), int(said.get("maxmemory", 0))


def follow_clock(media: Client) -> None:
    """Asks the media server what time it is, again where the answer took its time. Raises RedisError."""
    for _ in range(CLOCK_TRIES):
        asked_s = time.monotonic()
        seconds, micros = media.time()
        answered_s = time.monotonic()
        shared_time.learn(seconds + micros / 1e6, asked_s, answered_s)
        if answered_s - asked_s < QUICK_S:
            return


Entry = tuple[str, bytes]


def _flat(answer: Any) -> list[Entry]:
    return [(entry_id.decode(), fields[b"d"]) for entry_id, fields in answer or ()]


def read(
    media: Client, cursors: Mapping[str, str], block_ms: int, count: int = 64
) -> list[tuple[str, list[Entry]]]:
    """New entries of all streams after their cursors, waiting at most `block_ms` (0: not at all)."""
    answer: Any = media.xread(cast(Any, dict(cursors)), count=count, block=block_ms or None)
    return [(key.decode(), _flat(entries)) for key, entries in answer or ()]


def is_before(one: str, other: str) -> bool:
    """Of two ids of entries."""
    first, second = ([int(part) for part in entry_id.split("-")] for entry_id in (one, other))
    return first < second


class Reader:
    """Reads streams over a connection of its own."""

    def __init__(self, media: Client) -> None:
        self._wire = Wire(media)
        self._seen = 0
        """Of the connections that were made, those after which cursors were looked at."""

    def read(
        self, cursors: Mapping[str, str], block_ms: int, count: int = 64
    ) -> list[tuple[str, list[Entry]]]:
        """As the function of that name. Call it from one thread."""
        blocking: tuple[str | int, ...] = ("BLOCK", block_ms) if block_ms else ()
        (answer,) = self._wire.ask(
            [("XREAD", "COUNT", count, *blocking, "STREAMS", *cursors, *cursors.values())]
        )
        if isinstance(answer, RedisError):
            raise answer
        return [
            (key.decode(), [(at.decode(), said[1]) for at, said in entries]) for key, entries in answer or ()
        ]

    def outrun(self, cursors: Mapping[str, str]) -> list[str]:
        """Streams whose newest entry is before the cursor, looked at once after each connection. Ids are the server's
        clock: another one that took its place, empty and with a clock that is behind, would not be heard until it
        has caught up. Raises RedisError."""
        if self._seen == self._wire.made:
            return []
        made = self._wire.made
        answers = self._wire.ask([("XREVRANGE", key, "+", "-", "COUNT", 1) for key in cursors])
        found = []
        for (key, cursor), answer in zip(cursors.items(), answers, strict=True):
            if isinstance(answer, RedisError):
                raise answer
            if is_before(answer[0][0].decode() if answer else "0", cursor):
                found.append(key)
        self._seen = made
        return found


def newest_result(media: Client, stage: str, sid: str, reply: int) -> Result | None:
    """The last result stored for a stage: where a successor goes on."""
    entries = _flat(media.xrevrange(keys.replay(stage, sid, reply), count=1))
    return decode_result(entries[0][1]) if entries else None


def results_after(media: Client, stage: str, sid: str, reply: int, epoch: int, seq: int) -> list[Result]:
    """Stored results newer than (epoch, seq), in order; (0, 0) gives all."""
    first = f"({epoch}-{seq}" if epoch else "-"
    entries = _flat(media.xrange(keys.replay(stage, sid, reply), min=first))
    return [decode_result(data) for _, data in entries]


def newest_input(media: Client, sid: str) -> InEntry | None:
    """The last entry of the session's input."""
    entries = _flat(media.xrevrange(keys.audio_in(sid), count=1))
    return decode_in(entries[0][1]) if entries else None


class Inputs:
    """Adds input entries of many sessions in one round trip; what is older than `keep_s` is trimmed, and dies soon."""

    def __init__(self, media: Client, keep_s: float) -> None:
        self._wire = Wire(media)
        self._keep_s = keep_s
        self._lasting: set[str] = set()
        """Streams that were told when to die, since `_told_s`."""
        self._told_s = 0.0

    def append(
        self, entries: Sequence[tuple[str, InEntry]], told: Sequence[tuple[str, Command]] = ()
    ) -> None:
        """In order. Call it from one thread, or greenlet. Raises RedisError when not all was added.

        told: what workers are told with it. It may be lost, and is if the server is away.
        """
        words: list[WireCommand] = [
            ("XADD", keys.control(worker), "MAXLEN", "~", CONTROL_ITEMS, "*", "d", encode(what))
            for worker, what in told
        ]
        try:
            answers = self._wire.ask([*words, *self._commands(entries)], again=False)[len(words) :]
        except (redis.ConnectionError, redis.TimeoutError):
            self._lasting.clear()  # it may have come back empty
            answers = self._wire.ask(self._commands(entries), again=False)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer

    def _commands(self, entries: Sequence[tuple[str, InEntry]]) -> list[WireCommand]:
        now_s = shared_time.now_s()
        oldest = int((now_s - self._keep_s) * 1000)
        if abs(now_s - self._told_s) > self._keep_s / 2:
            self._lasting, self._told_s = set(), now_s
        commands: list[WireCommand] = []
        for sid, entry in entries:
            key = keys.audio_in(sid)
            commands.append(("XADD", key, "MINID", "~", oldest, "*", "d", encode(entry)))
            if sid not in self._lasting:
                self._lasting.add(sid)
                commands.append(("EXPIRE", key, int(2 * self._keep_s)))
        return commands


def trim_results(media: Client, stage: str, sid: str, epoch: int, seq: int) -> None:
    """Forgets stored results before (epoch, seq), which stays: a successor starts from it.

    With the server away, this and its siblings forget nothing: what is not told to die has a last day anyway.
    """
    with suppress(RedisError):
        media.xtrim(keys.replay(stage, sid, 0), minid=f"{epoch}-{seq}", approximate=True)


def forget_text(media: Client, sid: str, replies: Sequence[int]) -> None:
    """Drops the text of replies that are over."""
    if replies:
        with suppress(RedisError):
            media.unlink(*(keys.replay("llm", sid, reply) for reply in replies))


def keep_media(media: Client, sid: str, for_s: int, reply: int = 0) -> None:
    """What was said in a session lives for so long from now, and the text of that reply."""
    pipe = media.pipeline(transaction=False)
    said = [keys.replay("stt", sid, 0), keys.replay("tts", sid, 0), keys.replay("llm", sid, reply)]
    for key in (keys.audio_in(sid), *said):
        pipe.expire(key, for_s)
    with suppress(RedisError):
        pipe.execute()


def command(media: Client, worker: str, what: Command | Drain) -> None:
    """Tells a worker something at once; it may be lost, and is if the server is away."""
    with suppress(RedisError):
        media.xadd(keys.control(worker), {"d": encode(what)}, maxlen=CONTROL_ITEMS, approximate=True)


def last_told(media: Client, worker: str) -> str:
    """The newest entry of `ctl:{worker}`: what a later worker of the same name is not meant by."""
    entries = cast("list[tuple[bytes, object]]", media.xrevrange(keys.control(worker), count=1))
    return entries[0][0].decode() if entries else "0"


def keep_control(media: Client, worker: str) -> None:
    """A worker is there: what it is told does not die yet."""
    media.expire(keys.control(worker), CONTROL_S)


#: Stands for a result where the server says that a session's will come from now on.
SUBSCRIBED = b""

#: Which pushed messages matter: results, and that a channel was subscribed to.
_NEWS = (b"message", b"subscribe")

#: A channel that makes the connection a subscriber's; nothing is said on it.
NOBODYS = b"antiphon"


class Channels:
    """One pub/sub connection for all sessions of a process; broken once, it stays so."""

    def __init__(self, media: Client) -> None:
        self._wire = Wire(media)
        self._wire.send([("SUBSCRIBE", NOBODYS)])

    def add(self, *sids: str) -> None:
        """Subscribes to sessions' results."""
        self._say("SUBSCRIBE", sids)

    def remove(self, sid: str) -> None:
        """Unsubscribes."""
        self._say("UNSUBSCRIBE", [sid])

    def _say(self, what: str, sids: Iterable[str]) -> None:
        if not self._wire.open:
            raise redis.ConnectionError("the channels are broken")
        self._wire.send([(what, *map(keys.results, sids))])

    def next(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """The next results of any sessions, each with its id and still packed; none when none came in time. Among them
        is SUBSCRIBED for each session whose results come from then on."""
        return [
            (keys.session_of(said[1]), said[2] if said[0] == b"message" else SUBSCRIBED)
            for said in self._wire.arrivals(timeout_s)
            if isinstance(said, list) and said[0] in _NEWS and said[1] != NOBODYS
        ]
