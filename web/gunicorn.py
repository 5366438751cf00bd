"""Gunicorn's settings: gevent workers, metrics of all of them together, and a shutdown that sends every client on with
a close frame."""

import ctypes
import gc
import os
import shutil
import signal
import sys
from typing import Any

import gevent

from config import logs
from config.errors import AntiphonError
from config.settings import load
from web import metric_folder

#: Of this server's processes, by the name that gunicorn does not take for a setting.
METRICS = metric_folder.make()

from web import metric_files  # noqa: E402  # prometheus_client looks for the folder when it is imported

logconfig_dict = logs.for_gunicorn(load())
worker_class = "gevent"
worker_connections = 4000
graceful_timeout = 5
timeout = 60
accesslog = None
#: It would lie in the home directory, the same for every server of this user.
control_socket_disable = True

#: Exit status of a worker: the operator must mend something. Gunicorn takes it for a worker that cannot start, and ends
#: with the same.
MUST_MEND = 3

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


def worker_exit(_server: Any, worker: Any) -> None:
    """The last that a worker does: the spans that still wait are sent. One that could not start has none."""
    if app := getattr(worker, "wsgi", None):
        app.extensions["antiphon_flush"]()


def on_starting(arbiter: Any) -> None:
    """SIGHUP reloads characters in place. Gunicorn's own way would be new processes, and the end of every session."""

    def pass_on() -> None:
        arbiter.log.info("Hang up: the workers read their characters again")
        arbiter.kill_workers(signal.SIGHUP)

    arbiter.handle_hup = pass_on


def post_worker_init(worker: Any) -> None:
    """What must be mended ends all of it with one line. On SIGTERM clients are closed with 1012, so that they come back
    to another process; then gunicorn's own way."""
    worker.log.error_log.addFilter(logs.WithoutRequests())
    try:
        worker.wsgi.extensions["antiphon_check"]()
    except AntiphonError as error:
        print(f"antiphon web: {error}", file=sys.stderr, flush=True)
        sys.exit(MUST_MEND)

    def drain() -> None:
        try:
            worker.wsgi.extensions["antiphon_drain"]()
        finally:
            worker.handle_exit(signal.SIGTERM, None)

    gevent.signal_handler(signal.SIGHUP, worker.wsgi.extensions["antiphon_reload"])
    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn(drain))
    gevent.spawn(worker.wsgi.extensions["antiphon_begin"])
    gc.collect()
    gc.freeze()  # modules and their like stay: looking through them again and again holds all sessions up
