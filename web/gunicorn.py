"""Gunicorn's settings: gevent workers, metrics of all of them together, and a shutdown that sends every client on with
a close frame."""

import ctypes
import os
import shutil
import signal
import sys
from typing import Any

import gevent

from web import metric_folder

#: Of this server's processes, by the name that gunicorn does not take for a setting.
METRICS = metric_folder.make()

from web import metric_files  # noqa: E402  # prometheus_client looks for the folder when it is imported

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


def child_exit(server: Any, _worker: Any) -> None:
    """What a worker has counted stays; where it stood does not. Nothing that goes wrong here may end the server."""
    try:
        metric_files.bury(METRICS, alive=set(server.WORKERS))
    except Exception:
        server.log.exception("what a worker had counted is lost")


def on_exit(_server: Any) -> None:
    """Nothing is left in memory."""
    shutil.rmtree(METRICS, ignore_errors=True)


def post_worker_init(worker: Any) -> None:
    """On SIGTERM clients are closed with 1012, so that they come back to another process; then gunicorn's own way."""

    def drain() -> None:
        worker.wsgi.extensions["antiphon_drain"]()
        worker.handle_exit(signal.SIGTERM, None)

    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn(drain))
