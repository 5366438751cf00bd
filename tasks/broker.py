"""Celery's way to Redis, where kombu's takes long: how a task is pushed, and that it was taken. All else is kombu's."""

from functools import cache, cached_property
from typing import Any

import redis
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis
from kombu.utils import json

from config.settings import load
from tasks.streams import connect
from tasks.wire import Wires

packed: Any = json.dumps


@cache
def _wires() -> Wires:
    return Wires(connect(load().redis_url))


def _place(connection: Any) -> tuple[Any, ...]:
    return connection.hostname, connection.port, connection.virtual_host


class Channel(kombu_redis.Channel):
    """Pushes over a plain connection, for kombu makes a client for every message: 240 µs of CPU a task instead of 850.

    Acknowledges nothing: no queue asks for it (`tasks/celery.py`), yet kombu would tell Redis of each task.
    """

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        """Raises RedisError, and kombu tries again."""
        if kwargs.get("_publish_batch") is not None or not self._ours:
            # it goes with others, in one transaction; or to another server than the settings name
            super()._put(queue, message, **kwargs)  # type: ignore[no-untyped-call]
            return
        kombu: Any = self  # types nothing
        key = kombu._q_for_pri(queue, kombu._get_message_priority(message, reverse=False))
        (answer,) = _wires().ask([("LPUSH", key, packed(message))])
        if isinstance(answer, redis.RedisError):
            raise answer

    @cached_property
    def _ours(self) -> bool:
        kombu: Any = self
        ours = Connection(load().redis_url)  # type: ignore[no-untyped-call]
        return bool(_place(ours) == _place(kombu.connection.client))

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Nothing to do."""


class Transport(kombu_redis.Transport):
    """Stands in kombu's table for its own (`tasks/celery.py`)."""

    Channel = Channel
