"""Gunicorn's settings: gevent workers, and a shutdown that sends every client on with a close frame."""

import signal
from typing import Any

import gevent

worker_class = "gevent"
worker_connections = 4000
graceful_timeout = 5
timeout = 60
accesslog = None


def post_worker_init(worker: Any) -> None:
    """On SIGTERM clients are closed with 1012, so that they come back to another process; then gunicorn's own way."""

    def drain() -> None:
        worker.wsgi.extensions["antiphon_drain"]()
        worker.handle_exit(signal.SIGTERM, None)

    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn(drain))
