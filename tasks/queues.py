"""What waits in the Celery queues, and what advice on replicas has to remember of them."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from config import redis_keys as keys
from tasks.shared_time import shared_time
from tasks.streams import Client, RedisError

#: Life of the list of late replies, should nobody ask for it.
LATE_REPLIES_S = 300


def queues(state: Client, names: Sequence[str]) -> dict[str, tuple[int, float | None]]:
    """Of each Celery queue: its tasks that nobody has taken, and when the oldest was asked for (unix time; None: there
    is none, or it does not say)."""
    pipe = state.pipeline(transaction=False)
    for name in names:
        for key in keys.queue_lists(name):
            pipe.llen(key)
            pipe.lindex(key, -1)  # new tasks come in from the left
    answers = iter(pipe.execute())
    found: dict[str, tuple[int, float | None]] = {}
    for name in names:
        lists = [(next(answers), next(answers)) for _ in keys.queue_lists(name)]
        asked = [at for _, task in lists if task and (at := _asked_s(task)) is not None]
        found[name] = sum(length for length, _ in lists), min(asked, default=None)
    return found


def _asked_s(task: bytes) -> float | None:
    try:
        return _task.decode(task).headers.asked_s
    except msgspec.DecodeError:
        return None


class _Headers(msgspec.Struct):
    asked_s: float | None = None


class _Task(msgspec.Struct):
    """What is read of a task as Celery puts it into a list."""

    headers: _Headers


_task = msgspec.json.Decoder(_Task)


def remember_most(
    state: Client, queue: str, at: int, seats: float, *, since: int, ttl_s: int
) -> dict[int, float]:
    """The most slots that the queue needed in each piece of time from `since` on, these at `at` among them."""
    key = keys.scale(queue)
    pipe = state.pipeline(transaction=False)
    pipe.zadd(key, {str(at): seats}, gt=True)
    pipe.expire(key, ttl_s)
    pipe.zrange(key, 0, -1, withscores=True)
    found = {int(piece): float(most) for piece, most in pipe.execute()[2]}
    if gone := [str(piece) for piece in found if piece < since]:
        state.zrem(key, *gone)
    return {piece: most for piece, most in found.items() if piece >= since}


def note_late_reply(media: Client, sid: str, reply: int) -> None:
    """A reply's audio came late. Nobody waits for this, and it may be lost."""
    with suppress(RedisError):
        media.zadd(keys.late_replies(), {f"{sid}:{reply}": shared_time.now_s()})
        media.expire(keys.late_replies(), LATE_REPLIES_S)


def late_replies(media: Client, since_s: float) -> int:
    """How many there were since this unix time; those before are forgotten."""
    pipe = media.pipeline(transaction=False)
    pipe.zremrangebyscore(keys.late_replies(), "-inf", since_s)
    pipe.zcard(keys.late_replies())
    return int(pipe.execute()[1])
