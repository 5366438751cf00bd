"""Celery's consumer: back soon after its link to the broker, and no task is kept by who ends."""

import threading
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer
from kombu.common import ignore_errors

#: Between attempts, at most. Celery's own grows to 30 s, in which this worker says that it has room and takes nothing.
RETRY_S = 1.0


class Consumer(CelerysConsumer):  # type: ignore[misc]
    """As Celery's, but for the time between attempts to connect, and for the last task it asked for."""

    def ensure_connected(self, conn: Any) -> Any:
        """Waits until the broker is there."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_S, interval_step=0, interval_max=RETRY_S
        )
        return super().ensure_connected(conn)

    def stop(self) -> None:
        """No task is taken any more. The broker has been asked for one, and may still give it within a second: closing
        the channel waits for that and puts it back. Celery would when all replies are finished, many seconds later."""
        consumer = self.task_consumer
        super().stop()
        self._close_channel(consumer)

    def stop_taking(self) -> threading.Event:
        """The same for a process that ends without Celery's farewell, from any thread; set when it is done."""
        closed = threading.Event()

        def close() -> None:
            if self.task_consumer is not None:
                ignore_errors(self.connection, self.task_consumer.cancel)  # type: ignore[no-untyped-call]
            self._close_channel(self.task_consumer)
            closed.set()

        self.call_soon(close)
        return closed

    def _close_channel(self, consumer: Any) -> None:
        if consumer is not None:
            ignore_errors(self.connection, consumer.channel.close)  # type: ignore[no-untyped-call]
