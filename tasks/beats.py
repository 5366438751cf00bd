"""What processes say of themselves on the state server, and how long ago."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from config import redis_keys as keys
from tasks.shared_time import shared_time
from tasks.streams import Client


def beat(state: Client, stage: str, name: str, says: Mapping[str, Any], ttl_s: float) -> None:
    """Advertises a worker for `ttl_s`."""
    ttl_ms = int(ttl_s * 1000)
    pipe = state.pipeline(transaction=False)
    pipe.hset(keys.worker(stage, name), mapping=cast(Any, {**says, "ttl_ms": ttl_ms}))
    pipe.pexpire(keys.worker(stage, name), ttl_ms)
    pipe.zadd(keys.workers(stage), {name: shared_time.now_s()})
    pipe.execute()


def retire(state: Client, stage: str, name: str) -> None:
    """Takes a worker off the list."""
    pipe = state.pipeline(transaction=False)
    pipe.delete(keys.worker(stage, name))
    pipe.zrem(keys.workers(stage), name)
    pipe.execute()


def workers(state: Client, stage: str) -> dict[str, dict[str, str]]:
    """What each live worker of a stage says of itself, by name."""
    return {name: said for name, (said, _) in advertised(state, (stage,))[stage].items()}


#: What a process says of itself, and how many seconds ago.
Beat = tuple[dict[str, str], float]


def advertised(state: Client, stages: Sequence[str]) -> dict[str, dict[str, Beat]]:
    """By stage and name, in two round trips. Who is alive Redis says: beats die by its clock alone."""
    pipe = state.pipeline(transaction=False)
    for stage in stages:
        pipe.zrange(keys.workers(stage), 0, -1)
    listed = [
        (stage, name.decode()) for stage, found in zip(stages, pipe.execute(), strict=True) for name in found
    ]
    for stage, name in listed:
        pipe.hgetall(keys.worker(stage, name))
        pipe.pttl(keys.worker(stage, name))
    answers = iter(pipe.execute())
    beats: dict[str, dict[str, Beat]] = {stage: {} for stage in stages}
    for (stage, name), fields, left_ms in zip(listed, answers, answers, strict=True):
        said = {k.decode(): v.decode() for k, v in fields.items()}
        if said:
            age_s = int(said.get("ttl_ms", left_ms)) / 1e3 - left_ms / 1e3
            beats[stage][name] = said, max(0.0, age_s)
        else:
            pipe.zrem(keys.workers(stage), name)
    pipe.execute()
    return beats
