"""What all web processes share for a while: values and notes that die by themselves. Nobody's speech."""

from typing import Any, cast

from tasks.streams import Client


def keep(media: Client, key: str, value: bytes, for_s: int) -> None:
    """Keeps a value under a name, instead of what was there."""
    media.set(key, value, ex=for_s)


def find(media: Client, key: str) -> tuple[bytes | None, float]:
    """The value, and the seconds that it still lives; None and 0 where there is none."""
    pipe = media.pipeline(transaction=True)
    pipe.get(key)
    pipe.pttl(key)
    value, left_ms = pipe.execute()
    return cast("bytes | None", value), max(0, left_ms) / 1000


def take(media: Client, key: str) -> bytes | None:
    """The value, which nobody finds any more: of several who take it, one gets it."""
    return cast("bytes | None", media.getdel(key))


def first(media: Client, key: str, for_s: int) -> bool:
    """Whether nobody else has said so within `for_s`: of several who ask, one is the first."""
    return bool(media.set(key, b"", nx=True, ex=for_s))


def note(client: Client, key: str, name: str, at_s: float, for_s: int) -> None:
    """Notes a name and a moment (unix time) on a list whose notes live for `for_s`."""
    pipe = client.pipeline(transaction=True)
    pipe.zadd(key, {name: at_s})
    pipe.zremrangebyscore(key, "-inf", at_s - for_s)
    pipe.expire(key, for_s)
    pipe.execute()


def strike(client: Client, key: str, name: str) -> None:
    """It is on the list no more."""
    client.zrem(key, name)


def noted(client: Client, key: str, after_s: float, to_s: float) -> list[tuple[str, float]]:
    """What was noted after one moment and not later than another, and when."""
    found: Any = client.zrangebyscore(key, f"({after_s}", to_s, withscores=True)
    return [(name.decode(), at_s) for name, at_s in found]
