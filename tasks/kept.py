"""What all web processes share for a while, on the media server: values that die by themselves. Nobody's speech."""

from typing import cast

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
