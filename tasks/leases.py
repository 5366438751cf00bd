"""Ownership: who works on which stage of a session. Four scripts on the state and media servers hold all of it.

`claim` gives epochs, `renew` keeps or lets go, `emit` stores and publishes under an epoch, `save` writes the web's
state under its epoch. Epochs are given at claim, never at submission, so copies of a task in a queue do no harm.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, cast

import redis

from config import redis_keys as keys
from config.messages import Result, encode
from tasks.wire import Command, Wires

#: What a field of a session's state may be written as.
Value = bytes | str | int | float

SCRIPTS = Path(__file__).parent / "scripts"

#: Results in one call of the script: others have to wait while it runs, about a third of a millisecond.
EMIT_AT_ONCE = 32


class Refusal(IntEnum):
    """Why a claim was refused; none of them is an error."""

    CLOSED = -1
    STALE = -2
    DONE = -3
    HELD = -4


class Standing(IntEnum):
    """What a renewal found."""

    LOST = 0
    MINE = 1
    ORPHANED = 2
    """Mine, but no web process holds the session."""


class Stored(IntEnum):
    """What became of an emission."""

    FORGOTTEN = -2
    """Not stored: the server lost what came before, so that it must be sent again first."""
    FENCED = -1
    ALREADY = 0
    NEW = 1


@dataclass
class Lease:
    """A claimed stage of a session. `reply` is 0 for stages that last a whole session."""

    stage: str
    sid: str
    owner: str
    epoch: int
    reply: int = 0
    last_seq: int = 0


@dataclass(frozen=True)
class Holder:
    """What a lease says of its owner."""

    owner: str
    epoch: int
    reply: int
    last_seq: int


def parse_holder(value: bytes | None) -> Holder | None:
    """The owner named by the value of a lease key; None when nobody holds it."""
    if not value:
        return None
    owner, epoch, reply, last_seq = value.decode().split("|")
    return Holder(owner, int(epoch), int(reply or 0), int(last_seq))


Call = tuple[Sequence[str], Sequence[Value]]
"""Keys and arguments of one call of a script."""


class _Script:
    """A script by its hash, in as many calls as wished in one round trip; loaded when the server does not know it."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires = wires
        self._text = (SCRIPTS / f"{name}.lua").read_text()
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], args: Sequence[Value]) -> Any:
        """One call. Raises RedisError."""
        return self.each([(keys, args)])[0]

    def each(self, calls: Sequence[Call]) -> list[Any]:
        """The answer of every call. Raises RedisError, also where a call gave one."""
        answers = self._known(self._wires.ask(self._commands(calls)), calls)
        for answer in answers:
            if isinstance(answer, redis.RedisError):
                raise answer
        return answers

    def send(self, calls: Sequence[Call]) -> Callable[[], list[Any]]:
        """Sends the calls and returns at once; what it gives waits for the answers, and must be called. Both raise
        RedisError; an error of a call stands among the answers, for others come after it."""
        wire = self._wires.take()
        wire.send(self._commands(calls))

        def answers() -> list[Any]:
            found = wire.answers(len(calls))
            self._wires.give_back(wire)
            return self._known(found, calls)

        return answers

    def _commands(self, calls: Sequence[Call]) -> list[Command]:
        return [("EVALSHA", self._sha, len(keys), *keys, *args) for keys, args in calls]

    def _known(self, answers: list[Any], calls: Sequence[Call]) -> list[Any]:
        """The answers. One call that is unknown to the server was not run; the others may run again."""
        if not any(isinstance(answer, redis.ResponseError) and _unknown(answer) for answer in answers):
            return answers
        return self._wires.ask([("SCRIPT", "LOAD", self._text), *self._commands(calls)])[1:]


def _unknown(error: redis.ResponseError) -> bool:
    return str(error).startswith("NOSCRIPT")


def _flat(fields: Mapping[str, Value]) -> list[Value]:
    return [part for item in fields.items() for part in item]


class Leases:
    """Claims and renewals on the state server."""

    def __init__(self, state: redis.Redis, lease_ms: int) -> None:
        self._state = state
        self._lease_ms = lease_ms
        wires = Wires(state)
        self._claim = _Script(wires, "claim")
        self._renew = _Script(wires, "renew")
        self._save = _Script(wires, "save")

    def claim(
        self, stage: str, sid: str, owner: str, reply: int = 0, *, seize: bool = False
    ) -> Lease | Refusal:
        """Takes the stage for `owner`, or says why not."""
        epoch = int(
            self._claim(
                keys=[keys.lease(stage, sid), keys.session(sid)],
                args=[stage, owner, reply or "", self._lease_ms, "1" if seize else ""],
            )
        )
        return Lease(stage, sid, owner, epoch, reply) if epoch > 0 else Refusal(epoch)

    def renew(self, leases: Sequence[Lease], keep_s: int | None = None) -> list[Standing]:
        """Keeps all `leases` in one round trip; says of each how it stands. keep_s: their sessions, too, so long."""
        calls = [self._renewal(lease, self._lease_ms, done=False, keep_s=keep_s) for lease in leases]
        return [Standing(int(answer)) for answer in self._renew.each(calls)] if calls else []

    def let_go(self, lease: Lease, *, done: bool) -> None:
        """Ends a lease; `done` marks its stage as complete for the reply."""
        self._renew(*self._renewal(lease, 0, done=done))

    @staticmethod
    def _renewal(
        lease: Lease, ttl_ms: int, *, done: bool, keep_s: int | None = None
    ) -> tuple[list[str], list[Value]]:
        args: list[Value] = [lease.stage, lease.owner, lease.epoch, lease.reply or "", lease.last_seq, ttl_ms]
        return [
            keys.lease(lease.stage, lease.sid),
            keys.session(lease.sid),
            keys.lease("web", lease.sid),
        ], [*args, "1" if done else "", keep_s or ""]

    def save(self, lease: Lease, ttl_s: int, fields: Mapping[str, Value]) -> bool:
        """Writes fields of the session's state; False when another web process owns it now."""
        args = [lease.epoch, ttl_s, *_flat(fields)]
        return bool(self._save(keys=[keys.session(lease.sid)], args=args))

    def create(self, sid: str, fields: Mapping[str, Value], ttl_s: int) -> None:
        """Makes the state of a new session, which can then be claimed."""
        pipe = self._state.pipeline(transaction=True)
        pipe.hset(keys.session(sid), items=_flat(fields))
        pipe.expire(keys.session(sid), ttl_s)
        pipe.execute()

    def holders(self, wanted: Sequence[tuple[str, str]]) -> list[Holder | None]:
        """Who holds each (stage, sid) now."""
        if not wanted:
            return []
        values = self._state.mget([keys.lease(stage, sid) for stage, sid in wanted])
        return [parse_holder(cast("bytes | None", value)) for value in values]

    def read(self, sid: str, fields: Sequence[str]) -> list[bytes | None]:
        """Fields of a session's state."""
        return cast("list[bytes | None]", self._state.hmget(keys.session(sid), list(fields)))


class Emitter:
    """Stores results in replay streams and publishes them, on the media server."""

    def __init__(self, media: redis.Redis, keep_items: int, ttl_s: int) -> None:
        self._keep_items = keep_items
        self._ttl_s = ttl_s
        self._emit = _Script(Wires(media), "emit")

    def emit(self, results: Sequence[tuple[Lease, Result]], begins: Collection[int] = ()) -> list[Stored]:
        """Sends results in one round trip, in order; says of each what became of it.

        begins: indices of results before which nothing need be stored, besides those numbered 1.
        Raises redis.RedisError; sending the same results again is then safe.
        """
        return self.send(results, begins)()

    def send(
        self, results: Sequence[tuple[Lease, Result]], begins: Collection[int] = ()
    ) -> Callable[[], list[Stored]]:
        """As `emit`, but returns before the answer is there: what it gives waits for that, and must be called."""
        calls = [
            self._call(results[at : at + EMIT_AT_ONCE], at, begins)
            for at in range(0, len(results), EMIT_AT_ONCE)
        ]
        answers = self._emit.send(calls) if calls else list

        def stored() -> list[Stored]:
            found: list[Stored] = []
            for call in answers():
                for answer in [call] if isinstance(call, redis.RedisError) else call:
                    if isinstance(answer, redis.RedisError):
                        raise answer
                    found.append(Stored(int(answer)))
            return found

        return stored

    def _call(
        self, results: Sequence[tuple[Lease, Result]], at: int, begins: Collection[int]
    ) -> tuple[list[str], list[Value]]:
        """Arguments of one call of the script; `at` is the index of its first result."""
        names: list[str] = []
        args: list[Value] = [self._keep_items, self._ttl_s]
        for index, (lease, result) in enumerate(results, at):
            names += (keys.replay(lease.stage, lease.sid, result.reply), keys.results(lease.sid))
            first = "1" if result.seq == 1 or index in begins else ""
            args += (result.epoch, result.seq, encode(result), first)
        return names, args


#: What `Reservations.ask` answers to who gets neither a place nor one in the line.
LINE_FULL = -1

#: Sessions in one call of the script: others have to wait while it runs.
HOLD_AT_ONCE = 500


class Reservations:
    """Places of sessions, over all web processes: as many as the fleet's slots allow, and a line for the rest."""

    def __init__(self, state: redis.Redis, hold_ms: int, wait_ms: int) -> None:
        """hold_ms: life of a place after its web process was last seen; wait_ms: the same of one in the line."""
        self._state = state
        self._hold_ms = hold_ms
        self._wait_ms = wait_ms
        wires = Wires(state)
        self._reserve = _Script(wires, "reserve")
        self._hold = _Script(wires, "hold")

    def ask(self, sid: str, room: int, most_waiting: int, *, first: bool = False) -> int:
        """0: the session has a place; n: it is the n-th in the line; or LINE_FULL. Who waits asks again."""
        names = [keys.reserved(), keys.waiting(), keys.waiting_until()]
        args: list[Value] = [sid, room, self._hold_ms, self._wait_ms, most_waiting, "1" if first else ""]
        return int(self._reserve(names, args))

    def hold(self, sids: Sequence[str]) -> None:
        """These sessions are alive and keep their places."""
        calls: list[tuple[Sequence[str], Sequence[Value]]] = [
            ([keys.reserved()], [self._hold_ms, *sids[at : at + HOLD_AT_ONCE]])
            for at in range(0, len(sids), HOLD_AT_ONCE)
        ]
        if calls:
            self._hold.each(calls)

    def give_back(self, sid: str) -> None:
        """The session needs no place any more, nor waits for one."""
        pipe = self._state.pipeline(transaction=False)
        for name in (keys.reserved(), keys.waiting(), keys.waiting_until()):
            pipe.zrem(name, sid)
        pipe.execute()

    def count(self) -> tuple[int, int]:
        """Sessions that have a place, and those that wait for one."""
        return places(self._state)


def places(state: redis.Redis) -> tuple[int, int]:
    """Sessions that have a place, and those that wait for one. Those whose time is over are forgotten with the next
    that asks, and may be many until then: they are not counted."""
    seconds, micros = state.time()
    now_ms = seconds * 1000 + micros // 1000
    pipe = state.pipeline(transaction=False)
    for name in (keys.reserved(), keys.waiting_until()):
        pipe.zcount(name, f"({now_ms}", "+inf")
    held, waiting = pipe.execute()
    return int(held), int(waiting)
