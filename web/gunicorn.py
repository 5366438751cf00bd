"""Gunicorn's settings: gevent workers, and a shutdown that sends every client on with a close frame."""

import ctypes
import gc
import os
import signal
import sys
from typing import Any

import gevent

worker_class = "gevent"
worker_connections = 4000
graceful_timeout = 5
timeout = 60
accesslog = None
#: It would lie in the home directory, the same for every server of this user.
control_socket_disable = True

#: <linux/prctl.h>
PR_SET_PDEATHSIG = 1


def post_fork(_server: Any, worker: Any) -> None:
    """A worker dies with its master: it would keep the port from the next one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != worker.ppid:
            os._exit(1)


def post_worker_init(worker: Any) -> None:
    """On SIGTERM clients are closed with 1012, so that they come back to another process; then gunicorn's own way."""

    def drain() -> None:
        worker.wsgi.extensions["antiphon_drain"]()
        worker.handle_exit(signal.SIGTERM, None)

    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn(drain))
    gc.collect()
    gc.freeze()  # modules and their like stay: looking through them again and again holds all sessions up
