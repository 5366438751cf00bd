"""A picture of a deployment: who works, what waits, how full Redis is, and what is wrong with it.

`take` asks Redis; all else is pure. `antiphon status` shows it.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cli import columns
from cli.room import Room, room
from config.redis_keys import STAGES, VOICES, WEB
from config.versions import VERSION
from tasks import fleet, queues, redis_check, streams
from tasks.fleet import Member
from tasks.leases import places
from tasks.redis_check import Facts

QUEUES = (*STAGES, VOICES)

#: A task that nobody took for so long: a worker with room takes one in milliseconds.
STUCK_S = 5.0

#: Names of models are paths, or long.
MODEL_CHARACTERS = 28


@dataclass(frozen=True)
class Queue:
    """Tasks that nobody has taken."""

    name: str
    length: int
    oldest_s: float | None
    """None: it is empty, or does not say."""


@dataclass(frozen=True)
class Picture:
    """A deployment at one moment."""

    members: tuple[Member, ...]
    queues: tuple[Queue, ...]
    servers: dict[str, Facts]
    """`state`, and `media` where it is known."""
    held: int
    """Sessions that have a place, those whose client may still come back among them."""

    @property
    def sessions(self) -> int:
        """Of all web processes, those that wait among them."""
        return sum(member.sessions for member in self.members)

    @property
    def waiting(self) -> int:
        """Sessions that have no place yet."""
        return sum(member.waiting for member in self.members)

    @property
    def room(self) -> Room | None:
        """For more of them; None when nobody says."""
        return room(self.members, self.held)

    @property
    def versions(self) -> list[int]:
        """Versions of our messages that are spoken."""
        return sorted({member.speaks for member in self.members if not member.refused})


def take(state: streams.Client, media: streams.Client | None = None) -> Picture:
    """Raises RedisError."""
    servers = {"state": state} | ({"media": media} if media is not None else {})
    facts = {name: redis_check.ask(client) for name, client in servers.items()}
    now_s = fleet_time(facts)
    waiting = (
        Queue(name, length, None if asked_s is None else max(0.0, now_s - asked_s))
        for name, (length, asked_s) in queues.queues(state, QUEUES).items()
    )
    held, _ = places(state)
    return Picture(tuple(fleet.look(state)), tuple(waiting), facts, held)


def fleet_time(facts: Mapping[str, Facts]) -> float:
    """Unix time by the media server's clock, which tells when tasks were asked for (`tasks/shared_time.py`); where that
    server is not known, by the state server's."""
    return time.time() - facts.get("media", facts["state"]).ahead_s


def troubles(picture: Picture, host: str) -> list[str]:
    """What an operator should mend, each in a line; none when all is well. host: whose clock was compared."""
    return [*_missing(picture), *_odd(picture), *_stuck(picture), *_unfit(picture, host)]


def _missing(picture: Picture) -> Iterable[str]:
    for stage in (WEB, *STAGES):
        if not any(member.works for member in picture.members if member.stage == stage):
            yield f"no {'web process' if stage == WEB else f'worker of {stage}'} takes anything"


def _odd(picture: Picture) -> Iterable[str]:
    for member in picture.members:
        if member.refused:
            yield f"{member.name} ({member.stage}) was refused: {member.refused}"
        elif member.why_not:
            yield member.why_not
        elif member.closed:
            yield f"{member.name} lets nobody in: {member.closed}"


def _stuck(picture: Picture) -> Iterable[str]:
    for queue in picture.queues:
        if queue.oldest_s is not None and queue.oldest_s > STUCK_S:
            waited = columns.seconds(queue.oldest_s)
            yield f"the queue {queue.name} is stuck for {waited}: add workers of it, or look at their logs"


def _unfit(picture: Picture, host: str) -> Iterable[str]:
    for name, facts in picture.servers.items():
        yield from map(str, redis_check.refusals(redis_check.judge(name, facts, host)))


# --- for people


def lines(picture: Picture) -> list[str]:
    """The tables."""
    left = picture.room
    return [
        *columns.table(SERVICE_HEAD, _services(picture)),
        "",
        *columns.table(QUEUE_HEAD, [_queue(queue, left) for queue in picture.queues]),
        "",
        *columns.table(("REDIS", "VERSION", "MEMORY"), [_server(*one) for one in picture.servers.items()]),
        "",
        f"sessions: {picture.sessions}, of which {picture.waiting} wait for a place; {left or UNKNOWN_ROOM}",
        _versions(picture.versions),
    ]


QUEUE_HEAD = ("QUEUE", "WAITING", "OLDEST", "ROOM")

UNKNOWN_ROOM = "no web process says for how many more there is room"

SERVICE_HEAD = ("SERVICE", "NAME", "HOST", "GPU", "MODEL", "VERSION", "TAKEN", "FREE", "STATE", "BEAT")


def _services(picture: Picture) -> list[Sequence[str]]:
    order = {stage: at for at, stage in enumerate((WEB, *STAGES, VOICES))}
    rows = [
        _service(one) for one in sorted(picture.members, key=lambda one: (order.get(one.stage, 9), one.name))
    ]
    there = {member.stage for member in picture.members}
    absent = [(stage, *[columns.NONE] * 7, "nobody", columns.NONE) for stage in (WEB, *STAGES)]
    return [*rows, *(row for row in absent if row[0] not in there)]


def _service(member: Member) -> Sequence[str]:
    web = member.stage == WEB
    return (
        member.stage,
        member.name,
        member.host,
        member.gpu or columns.NONE,
        columns.cut(member.model, MODEL_CHARACTERS) or columns.NONE,
        str(member.speaks),
        str(member.sessions) if web else columns.NONE if member.taken is None else str(member.taken),
        columns.NONE if web else str(member.free),
        standing(member),
        columns.seconds(member.age_s),
    )


def standing(member: Member) -> str:
    """In a word."""
    if member.refused:
        return "refused"
    if member.why_not:
        return "other version"
    if member.draining:
        return "draining"
    if member.closed:
        return "lets nobody in"
    if member.stage == WEB:
        return f"{member.waiting} waiting" if member.waiting else "ready"
    return "ready" if member.free or not member.slots else "full"


def _queue(queue: Queue, left: Room | None) -> Sequence[str]:
    more = left.stages.get(queue.name) if left else None
    waited = columns.seconds(queue.oldest_s)
    return queue.name, str(queue.length), waited, columns.NONE if more is None else str(more)


def _server(name: str, facts: Facts) -> Sequence[str]:
    limit = f"of {columns.megabytes(facts.most_bytes)}" if facts.most_bytes else "and no limit"
    return name, version(facts), f"{columns.megabytes(facts.used_bytes)} {limit}"


def version(facts: Facts) -> str:
    """`Valkey 9.1.2`."""
    return f"{facts.product} {'.'.join(map(str, facts.version)) if facts.version else 'of unknown version'}"


def _versions(spoken: Sequence[int]) -> str:
    if not spoken:
        return f"versions of our messages: nobody speaks; this command speaks {VERSION}"
    said = " and ".join(map(str, spoken))
    mix = ": an update is under way" if len(spoken) > 1 else ""
    return f"versions of our messages: {said}{mix}"


# --- for programs


def document(picture: Picture, found: Sequence[str]) -> dict[str, Any]:
    """The same, to be written as JSON; `found` as `troubles` gave it."""
    return {
        "well": not found,
        "troubles": list(found),
        "services": [{**asdict(member), "state": standing(member)} for member in picture.members],
        "queues": {
            queue.name: {"length": queue.length, "oldest_s": queue.oldest_s} for queue in picture.queues
        },
        "sessions": {"count": picture.sessions, "waiting": picture.waiting, "places_held": picture.held},
        "room": asdict(picture.room) if picture.room else None,
        "redis": {
            name: {"version": version(facts), "used_bytes": facts.used_bytes, "most_bytes": facts.most_bytes}
            for name, facts in picture.servers.items()
        },
        "versions": picture.versions,
    }
