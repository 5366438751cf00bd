"""How far the Redis servers are from a worker: measured in a thread of its own, for no loop shall wait for it."""

import threading
from collections.abc import Mapping
from contextlib import suppress

from config import metrics
from tasks import streams


class Pulse(threading.Thread):
    """Pings each server every `every_s`, for the life of the process."""

    def __init__(self, servers: Mapping[str, streams.Client], every_s: float) -> None:
        super().__init__(name="pulse", daemon=True)
        self._servers = [(client, metrics.redis_round_trip.labels(name)) for name, client in servers.items()]
        self._every_s = every_s
        self._never = threading.Event()

    def run(self) -> None:
        """A server that is away has no round trip; others tell that it is."""
        while not self._never.wait(self._every_s):
            for client, round_trip in self._servers:
                with suppress(streams.RedisError):
                    round_trip.observe(streams.round_trip_s(client))
