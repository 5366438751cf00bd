"""Ephemeral keys on the state server: by their hashes, each with the session that it carries."""

from pathlib import Path
from typing import Any, cast

import msgspec

from config import redis_keys as keys
from tasks.streams import Client

SCRIPT = (Path(__file__).parent / "scripts" / "issue.lua").read_text()


class Ephemeral(msgspec.Struct):
    """What an ephemeral key stands for."""

    owner: str
    """Mark of the API key that it was asked for with; it is worth nothing without that. Empty: there was none."""
    expires_at: int
    """Unix time."""
    session: dict[str, Any] = {}
    """The beginning of a session's configuration, as a session.update has it."""


def keep(state: Client, digest: str, key: Ephemeral, life_s: int, most: int, most_bytes: int) -> int:
    """Keeps one for so long: 0. Where its owner has `most` of them already, or they would take more memory than may be:
    ms until the first of those expires.

    Raises RedisError, and OverflowError for numbers beyond 64 bits.
    """
    names = [keys.ephemeral_keys(key.owner), keys.ephemeral_key(digest)]
    script = state.register_script(SCRIPT)
    return int(script(keys=names, args=[digest, msgspec.msgpack.encode(key), life_s, most, most_bytes]))


def find(state: Client, digest: str) -> Ephemeral | None:
    """The key of that hash; None when it is unknown, or not any more. Raises RedisError."""
    data = cast("bytes | None", state.get(keys.ephemeral_key(digest)))
    try:
        return None if data is None else msgspec.msgpack.decode(data, type=Ephemeral)
    except msgspec.DecodeError:  # of another version
        return None
