"""What operators and checks ask of the Redis servers, and tell them: the servers themselves, sessions, a closing word.

Like `tasks/streams.py` and `tasks/leases.py` it sends commands to Redis; unlike theirs, none of them is in the way of
audio.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import redis

from config import redis_keys as keys
from config.messages import Result, encode
from tasks.streams import Client, RedisError


def info(client: Client, section: str) -> dict[str, Any]:
    """A section of what the server says of itself."""
    return client.info(section)


def configured(client: Client, name: str) -> str | None:
    """A setting of the server; None where we may not ask."""
    try:
        found = cast("dict[str, str]", client.config_get(name))
    except redis.ResponseError:  # hosted servers forbid CONFIG
        return None
    return found.get(name)


def server_time(client: Client) -> float:
    """Unix seconds by the server's clock."""
    seconds, micros = client.time()
    return seconds + micros / 1e6


def same_server(one: Client, other: Client) -> bool:
    """Whether both lead to the same process."""
    return info(one, "server").get("run_id") == info(other, "server").get("run_id")


def out_of_memory(error: RedisError) -> bool:
    """The server refuses what would need more of it."""
    return isinstance(error, redis.OutOfMemoryError) or "OOM command not allowed" in str(error)


def wrong_password(error: RedisError) -> bool:
    """The server is there and does not let us in; waiting mends nothing."""
    return isinstance(error, redis.AuthenticationError)


def session_ids(state: Client) -> Iterator[str]:
    """Ids of the sessions there are, some perhaps twice, a slice at a time."""
    for name in state.scan_iter(match=keys.sessions(), count=500, _type="hash"):
        yield keys.session_of(cast(bytes, name))


def peek(
    state: Client, sids: Sequence[str], fields: Sequence[str], stages: Sequence[str]
) -> tuple[list[list[bytes | None]], list[bool], list[dict[str, bytes | None]]]:
    """Of each session: these fields, whether it waits for a place, and its leases of these stages."""
    pipe = state.pipeline(transaction=False)
    for sid in sids:
        pipe.hmget(keys.session(sid), list(fields))
        pipe.zscore(keys.waiting(), sid)
        pipe.mget([keys.lease(stage, sid) for stage in stages])
    answers = pipe.execute()
    leases = [dict(zip(stages, held, strict=True)) for held in answers[2::3]]
    return answers[0::3], [score is not None for score in answers[1::3]], leases


def close_session(state: Client, sid: str) -> None:
    """Nobody can go on with it; workers let it go at their next renewal."""
    state.hset(keys.session(sid), keys.CLOSED, 1)


def announce(media: Client, sid: str, result: Result) -> bool:
    """Publishes a message that nobody stores; whether anybody heard it."""
    return bool(media.publish(keys.results(sid), encode(result)))
