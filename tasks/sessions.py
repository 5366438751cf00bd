"""The sessions there are, as an operator sees them: a list, and an end. Nothing here that anybody said."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec

from config import redis_keys as keys
from config.messages import Dismissed, Result
from config.versions import VERSION
from tasks import redis_view, streams
from tasks.leases import Holder, Leases, parse_holder

#: What `web.turn_state.Phase` saves.
PHASES = {1: "listening", 2: "hearing", 3: "thinking", 4: "speaking"}

#: Hashes asked for in one round trip.
AT_ONCE = 200

#: Web processes of this version of our messages and later know `Dismissed`; the one before takes no notice of it.
DISMISSED_SINCE = 2

_FIELDS = (
    keys.TOKEN,
    keys.SINCE,
    keys.DIALECT,
    keys.REPLY,
    keys.STATE,
    keys.CLOSED,
    keys.VERSION,
    keys.OWNER,
)


@dataclass(frozen=True)
class Listed:
    """One session."""

    sid: str
    since: float
    """Unix seconds, by the clock of the web process it began at; 0: of a release that did not say."""
    dialect: str
    phase: str
    """Of the conversation, or `waiting` before it has a place, or `away`: no client is there, and one may come back."""
    replies: int
    """Number of the newest reply: turns so far, those made ahead included."""
    version: int
    """Of our messages, as its web process spoke them last."""
    key: str = ""
    """Name of the API key that it was begun with; empty: there was none."""
    holders: dict[str, Holder] = field(default_factory=dict)
    """Who works on each stage; under `web`, the process that serves it."""

    @property
    def web(self) -> str:
        """The web process that serves it; empty if none does."""
        return self.holders[keys.WEB].owner if keys.WEB in self.holders else ""


def listed(state: streams.Client, most: int = 1000) -> list[Listed]:
    """Open sessions, the oldest first; of more than `most` any. Reads in slices, so that nobody else waits for it.

    Raises RedisError.
    """
    found: list[Listed] = []
    for sids in _found(state, most):
        fields, waiting, leases = redis_view.peek(state, sids, _FIELDS, (keys.WEB, *keys.STAGES))
        for sid, said, waits, held in zip(sids, fields, waiting, leases, strict=True):
            by_name = dict(zip(_FIELDS, said, strict=True))
            if (
                by_name[keys.TOKEN] and not by_name[keys.CLOSED]
            ):  # what has none is nobody's: an item's sound, say
                holders = {stage: parse_holder(value) for stage, value in held.items()}
                found.append(
                    _listed(sid, by_name, {s: h for s, h in holders.items() if h is not None}, waits=waits)
                )
        if len(found) >= most:
            break
    return sorted(found[:most], key=lambda session: (session.since, session.sid))


def _found(state: streams.Client, most: int) -> Iterator[list[str]]:
    """Ids in slices, each once; at most ten times as many as wanted are looked at, for some may be over."""
    seen: set[str] = set()
    slice_: list[str] = []
    for sid in redis_view.session_ids(state):
        if sid in seen:
            continue
        seen.add(sid)
        slice_.append(sid)
        if len(slice_) == AT_ONCE:
            yield slice_
            slice_ = []
        if len(seen) >= 10 * most:
            break
    if slice_:
        yield slice_


def _listed(sid: str, said: dict[str, bytes | None], holders: dict[str, Holder], *, waits: bool) -> Listed:
    saved = _saved(said[keys.STATE])
    turn = saved.get("turn")
    phase = PHASES.get(turn.get("phase", 0), "") if isinstance(turn, dict) else ""
    if keys.WEB not in holders:
        phase = "away"
    elif waits:
        phase = "waiting"
    since = 0.0
    with suppress(ValueError):
        since = float(said[keys.SINCE] or 0)
    return Listed(
        sid=sid,
        since=since,
        dialect=(said[keys.DIALECT] or b"").decode() or str(saved.get("dialect", "")),
        phase=phase or "listening",
        replies=int(said[keys.REPLY] or 0),
        version=int(said[keys.VERSION] or 1),
        key=(said[keys.OWNER] or b"").decode().partition(":")[0],  # of its mark
        holders=holders,
    )


def _saved(data: bytes | None) -> dict[str, Any]:
    """The web's own state, of whichever version, as plain values."""
    with suppress(msgspec.DecodeError):
        value = msgspec.msgpack.decode(data or b"\xc0")
        if isinstance(value, dict):
            return value
    return {}


class Ending(IntEnum):
    """What became of a session that was to end."""

    UNKNOWN = 0
    """There is no such session, or it is over."""
    UNTOLD = 1
    """It ends, and nobody could be told why: its client is away, or its web process is of an earlier version."""
    TOLD = 2
    """It ends, and its client is told why."""


def end(state: streams.Client, media: streams.Client, sid: str, reason: str) -> Ending:
    """Ends a session for good: its client is told `reason` and closed with 1008, and its slots are free at once.

    One whose client is away cannot be resumed any more. A web process that cannot tell loses the session at its next
    renewal and closes with 1012; who comes back finds it closed. Raises RedisError.
    """
    known, closed, version = Leases(state, 1).read(sid, [keys.REPLY, keys.CLOSED, keys.VERSION])
    if known is None or closed:
        return Ending.UNKNOWN
    message = Result(VERSION, keys.OPERATOR, 0, 0, 0, 0, Dismissed(reason[:100]))
    if int(version or 1) >= DISMISSED_SINCE and redis_view.announce(media, sid, message):
        return Ending.TOLD
    redis_view.close_session(state, sid)
    return Ending.UNTOLD
