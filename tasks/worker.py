"""A worker's life: pool size, engines warm before the first task, heartbeat, drain. Hooks into Celery's bootsteps."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from celery import bootsteps, signals
from prometheus_client import start_http_server

from config.errors import AntiphonError
from config.messages import decode_command
from config.redis_keys import STAGES, VOICES, control
from config.settings import load
from tasks import submit as submissions
from tasks.celery import app
from tasks.leases import Emitter, Leases
from tasks.stage import Keeper, Stage, Ties
from tasks.streams import RedisError, connect, read
from tasks.voices import SLOTS, Desk, desks

log = logging.getLogger(__name__)

#: Pool threads beyond the slots: tasks that wait for a slot or prefill.
SPARE_THREADS = 4

#: How long replies may finish after SIGTERM.
DRAIN_S = 20.0

#: Stages of this process, by name.
running: dict[str, Stage] = {}


def queues_of(worker: Any) -> list[str]:
    """The stages this worker serves, from `-Q`."""
    queues = worker.app.amqp.queues.consume_from
    named = [queue for queue in queues if queue in STAGES]
    if not named and VOICES not in queues:
        raise SystemExit(f"-Q must name stages: {', '.join(STAGES)}, or {VOICES}")
    return named


def clones(worker: Any) -> bool:
    """Whether this worker clones voices."""
    return VOICES in worker.app.amqp.queues.consume_from


@signals.worker_init.connect
def size_pool(sender: Any, **_: Any) -> None:
    """One thread for each task that parks, and a few spare."""
    settings = load()
    slots = sender.options.get("slots")
    parking = sum(slots or settings.stage(name).slots for name in queues_of(sender))
    sender.concurrency = parking + SPARE_THREADS + SLOTS * clones(sender)


class ControlListener(threading.Thread):
    """Reads `ctl:{worker}` and passes each command to the loops."""

    def __init__(self, worker: str, ties: Ties) -> None:
        super().__init__(name="control", daemon=True)
        self._key = control(worker)
        self._media = ties.media

    def run(self) -> None:
        """For the life of the process."""
        cursor = "0"
        while True:
            try:
                for _, entries in read(self._media, {self._key: cursor}, block_ms=1000):
                    cursor = entries[-1][0]
                    self._pass_on([data for _, data in entries])
            except RedisError:
                time.sleep(0.2)
            except Exception:
                log.exception("a command could not be read")

    @staticmethod
    def _pass_on(commands: list[bytes]) -> None:
        for data in commands:
            for stage in running.values():
                stage.loop.tell(decode_command(data))


class AntiphonStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Loads engines before Celery consumes, drains them before it stops."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, slots: int | None = None, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._slots = slots
        self._keeper: Keeper | None = None

    def start(self, worker: Any) -> None:
        """Everything is warm when this returns; what is missing ends the worker with one line."""
        settings = load()
        name = f"{socket.gethostname()}-{os.getpid()}"
        media = connect(settings.media_url, connections=512)
        state = connect(settings.redis_url, connections=512)
        ties = Ties(
            settings, name, state, media,
            Leases(state, settings.ownership.lease_ms),
            Emitter(media, settings.limits.replay_items, settings.limits.session_ttl_s),
            submissions.again,
        )  # fmt: skip
        try:
            for stage in queues_of(worker):
                log.info("%s: loading engine %s", stage, settings.stage(stage).engine)
                running[stage] = Stage(stage, ties, self._slots)
                running[stage].start()
        except AntiphonError as error:
            print(f"antiphon worker: {error}", file=sys.stderr, flush=True)
            os._exit(3)
        except Exception:
            # Celery would log a failed bootstep and hang in its own shutdown
            log.exception("a stage could not start")
            os._exit(4)
        if settings.metrics_port:
            start_http_server(settings.metrics_port, addr=settings.metrics_host)
        ControlListener(name, ties).start()
        says = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""), "pid": str(os.getpid())}
        if clones(worker):
            desks.append(Desk(settings, name, state, media, says))
            desks[0].open()
        self._keeper = Keeper(list(running.values()), ties, says)
        self._keeper.start()

    def stop(self, worker: Any) -> None:
        """Heartbeats outlive the work, Redis is closed last."""
        deadline = time.monotonic() + DRAIN_S
        for stage in running.values():
            stage.stop(deadline)
        for desk in desks:
            desk.close()
        if self._keeper is not None:
            self._keeper.stop()


@signals.worker_shutting_down.connect
def begin_drain(**_: Any) -> None:
    """At the first SIGTERM no seat is given any more; a second one ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    for stage in running.values():
        stage.loop.drain()


app.steps["worker"].add(AntiphonStep)
