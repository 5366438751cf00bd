"""Ephemeral keys on the state server: by their hashes, each with the session that it carries."""

from typing import Any, cast

import msgspec

from config import redis_keys as keys
from tasks.shared_time import shared_time
from tasks.streams import Client


class Ephemeral(msgspec.Struct):
    """What an ephemeral key stands for."""

    owner: str
    """Name of the API key that it was asked for with; it is worth nothing without that. Empty: there was none."""
    expires_at: int
    """Unix time."""
    session: dict[str, Any] = {}
    """The beginning of a session's configuration, as a session.update has it."""


def keep(state: Client, digest: str, key: Ephemeral, life_s: int, most: int) -> bool:
    """Keeps one for so long; False when its owner has `most` of them already (a few more where several come at once).
    Raises RedisError."""
    listing, now_s = keys.ephemeral_keys(key.owner), shared_time.now_s()
    state.zremrangebyscore(listing, "-inf", now_s)
    if state.zcard(listing) >= most:
        return False
    pipe = state.pipeline(transaction=True)
    pipe.set(keys.ephemeral_key(digest), msgspec.msgpack.encode(key), ex=life_s)
    pipe.zadd(listing, {digest: now_s + life_s})
    pipe.expire(listing, life_s, gt=True)
    pipe.expire(listing, life_s, nx=True)
    pipe.execute()
    return True


def find(state: Client, digest: str) -> Ephemeral | None:
    """The key of that hash; None when it is unknown, or not any more. Raises RedisError."""
    data = cast("bytes | None", state.get(keys.ephemeral_key(digest)))
    try:
        return None if data is None else msgspec.msgpack.decode(data, type=Ephemeral)
    except msgspec.DecodeError:  # of another version
        return None
