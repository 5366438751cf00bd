"""Celery's consumer of tasks, which comes back soon after its link to the broker does."""

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

#: Between attempts, at most. Celery's own grows to 30 s, in which this worker says that it has room and takes nothing.
RETRY_S = 1.0


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """As Celery's, but for the time between attempts to connect."""

    def ensure_connected(self, conn: Any) -> Any:
        """Waits until the broker is there."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_S, interval_step=0, interval_max=RETRY_S
        )
        return super().ensure_connected(conn)
