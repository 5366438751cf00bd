"""A worker's life: pool size, engines warm before the first task, heartbeat, drain. Hooks into Celery's bootsteps."""

import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn

from celery import bootsteps, signals
from prometheus_client import start_http_server

from config import metrics, tracing
from config.errors import AntiphonError, ConfigError, DeviceLost, VersionRefused
from config.gpu_names import GPU_NAME
from config.messages import Command
from config.redis_keys import STAGES, VOICES
from config.settings import Settings, load
from tasks import fleet, gpus, loading, placement, redis_check
from tasks import submit as submissions
from tasks.celery import MUST_MEND, app
from tasks.control import ControlListener
from tasks.gpus import Gpu
from tasks.leases import Emitter, Leases
from tasks.pulse import Pulse
from tasks.stage import Keeper, Stage, Ties
from tasks.streams import Client, RedisError, connect
from tasks.voices import SLOTS, Desk, desks

log = logging.getLogger(__name__)

#: Pool threads beyond the slots: tasks that wait for a slot or prefill.
SPARE_THREADS = 4

#: How long replies may finish after SIGTERM.
DRAIN_S = 20.0

#: Exit status: a stage could not start, and the log says why.
NOT_STARTED = 4

#: Exit status: the device under an engine is gone; started again, the worker may find it well. (EX_OSERR)
DEVICE_LOST = 71

#: How long it may take to let the seats of a lost device go, and to put back the task that comes meanwhile: the broker
#: answers within a second. Leases and tasks that nobody kept go to others soon after, by themselves.
GIVE_BACK_S = 2.5

#: Stages of this process, by name.
running: dict[str, Stage] = {}


def end(why: object, status: int) -> NoReturn:
    """One line for the operator, and no way back: Celery would log an exception and hang in its own shutdown."""
    print(f"antiphon worker: {why}", file=sys.stderr, flush=True)
    os._exit(status)


def queues_of(worker: Any) -> list[str]:
    """The stages this worker serves, from `-Q`; none if it clones voices alone."""
    queues = worker.app.amqp.queues.consume_from
    named = [queue for queue in queues if queue in STAGES]
    if not named and VOICES not in queues:
        end(f"-Q must name stages: {', '.join(STAGES)}, or {VOICES}", MUST_MEND)
    return named


def clones(worker: Any) -> bool:
    """Whether this worker clones voices."""
    return VOICES in worker.app.amqp.queues.consume_from


def visible_gpu() -> str | None:
    """The GPU that this process was pinned to, by `--gpu` or by who started it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if named is None else named.partition(",")[0].strip()


def gpu_for(asked: list[placement.Ask]) -> Gpu | None:
    """The GPU for these engines; None when they do without. Raises ConfigError when it is not there."""
    wants = placement.first_that_wants(asked)
    if wants is None:
        return None
    named = visible_gpu()
    if named is not None and not GPU_NAME.fullmatch(named):
        raise ConfigError(
            f"{wants} needs a GPU; CUDA_VISIBLE_DEVICES is {named!r}, which hides all: say --gpu 0"
        )
    try:
        return placement.the_only(wants, gpus.found()) if named is None else gpus.look(named)
    except gpus.NoDriver as error:
        raise ConfigError(f"{wants} needs a GPU, and {error}") from None


@contextmanager
def place_on(gpu: Gpu | None, asked: list[placement.Ask]) -> Iterator[None]:
    """The GPU is ours alone to load on. Raises ConfigError when there is too little room."""
    if gpu is None:
        yield
        return
    with loading.turn_on(gpu.uuid):
        placement.check_room(asked, gpus.look(gpu.name))
        yield
    metrics.watch_gpu(lambda: gpus.load(gpu.name))


def show_metrics(settings: Settings) -> None:
    """Serves this worker's own /metrics, if it has a port; before engines are loaded, for that may take minutes."""
    metrics.announce()
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)
    except OSError as error:
        where = f"port {settings.metrics_port} of {settings.metrics_host}"
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        end(
            f"{where} {reason}: no metrics could be shown there; give each worker of a machine an "
            "ANTIPHON_METRICS_PORT of its own, or 0 for none",
            MUST_MEND,
        )


def check_redis(state: Client, media: Client) -> None:
    """Says what is wrong with the servers. Raises ConfigError where nothing may start with them."""
    try:
        findings = redis_check.check(state, media)
    except RedisError as error:
        log.warning("Redis could not be checked, for it does not answer: %s", type(error).__name__)
        return
    redis_check.tell(findings, log.warning)


def check_fleet(state: Client, name: str, stages: list[str]) -> None:
    """Raises VersionRefused where this release cannot work with those that are at work, and leaves a note of it."""
    try:
        why = fleet.meets(fleet.look(state))
        if why is None:
            return
        for stage in stages:
            fleet.refuse(state, stage, name, why)
    except RedisError:
        return  # nobody is at work then
    raise VersionRefused(why)


@signals.worker_init.connect
def size_pool(sender: Any, **_: Any) -> None:
    """One thread for each task that parks, and a few spare."""
    settings = load()
    slots = sender.options.get("slots")
    parking = sum(slots or settings.stage(name).slots for name in queues_of(sender))
    sender.concurrency = parking + SPARE_THREADS + SLOTS * clones(sender)


def tell(command: Command) -> None:
    """Tells all stages of this worker."""
    for stage in running.values():
        stage.loop.tell(command)


class AntiphonStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Loads engines before Celery consumes, drains them before it stops."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, slots: int | None = None, gpu: str | None = None, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._slots = slots
        self._gpu = gpu
        self._keeper: Keeper | None = None
        self._tracer = tracing.OFF
        self._worker: Any = None

    def start(self, worker: Any) -> None:
        """Everything is warm when this returns, and only then advertised; what is missing ends the worker."""
        self._worker = worker
        settings = load()
        show_metrics(settings)
        name = f"{socket.gethostname()}-{os.getpid()}"
        self._tracer = tracing.start(settings.tracing, name)
        media = connect(settings.media_url, connections=512)
        state = connect(settings.redis_url, connections=512)
        ties = Ties(
            settings, name, state, media,
            Leases(state, settings.ownership.lease_ms),
            Emitter(media, settings.limits.replay_items, settings.limits.session_ttl_s),
            submissions.again, self._tracer,
        )  # fmt: skip
        stages = queues_of(worker)
        also = [VOICES] if clones(worker) else []
        try:
            check_redis(state, media)
            check_fleet(state, name, [*stages, *also])
            self._load(settings, stages, ties, also=also)
        except AntiphonError as error:
            end(error, DEVICE_LOST if isinstance(error, DeviceLost) else MUST_MEND)
        except Exception:
            log.exception("a stage could not start")
            os._exit(NOT_STARTED)
        self._advertise(ties, also)
        gc.collect()
        gc.freeze()  # modules and weights stay: looking through them again and again holds the loops up

    def _advertise(self, ties: Ties, also: list[str]) -> None:
        """From now on there is work to come, and somebody to hear of it."""
        Pulse({"state": ties.state, "media": ties.media}, ties.settings.observe.look_s).start()
        listener = ControlListener(ties.worker, ties.media, tell)
        listener.start()
        says = {**fleet.introduction(), "gpu": visible_gpu() or ""}
        if also:
            desks.append(Desk(ties.settings, ties.worker, ties.state, ties.media, says))
            desks[0].open()
        self._keeper = Keeper(list(running.values()), ties, says)
        self._keeper.deaf_s = listener.deaf_s
        self._keeper.start()

    def _load(self, settings: Settings, stages: list[str], ties: Ties, also: list[str]) -> None:
        """also: what shares the process besides, and is loaded later."""
        asked = placement.asks(settings, stages, self._slots)
        slots = None if self._slots is None else str(self._slots)
        others = self._beside(settings, also) if stages else []
        placement.check_together([*asked, *others], {"--gpu": self._gpu, "--slots": slots})
        if self._gpu is not None:
            self._find(self._gpu)
        with place_on(gpu_for(asked), asked):
            for ask in asked:
                log.info("%s: loading engine %s", ask.stage, ask.engine)
                stage = running[ask.stage] = Stage(ask.stage, ties, self._slots)
                stage.loop.when_broken = self._give_up
                stage.start()

    @staticmethod
    def _beside(settings: Settings, also: list[str]) -> list[placement.Ask]:
        """An encoder that is not installed is nobody's neighbour: its desk says so, and the talks go on."""
        try:
            return placement.asks(settings, also, None)
        except ConfigError:
            return []

    @staticmethod
    def _find(gpu: str) -> None:
        """An engine that needs none runs beside one that is there, but not beside one that is not."""
        try:
            gpus.look(gpu)
        except gpus.NoDriver as error:
            raise ConfigError(f"--gpu {gpu}: {error}") from None

    def _give_up(self, why: str) -> None:
        """The device is gone: everybody's seats are let go at once, and the process ends."""
        handing = threading.Thread(target=self._give_back, name="give-back", daemon=True)
        handing.start()
        handing.join(GIVE_BACK_S)
        end(why, DEVICE_LOST)

    def _give_back(self) -> None:
        """Others have the seats at once. Their tasks may come here first: the last that was asked for is put back."""
        for stage in running.values():
            stage.loop.drain()
        with suppress(RedisError):  # then the leases end by themselves
            if self._keeper is not None:
                self._keeper.retire()
            for stage in running.values():
                stage.give_back()
        if (consumer := getattr(self._worker, "consumer", None)) is not None:
            consumer.stop_taking().wait()

    def stop(self, worker: Any) -> None:
        """Heartbeats outlive the work, spans are sent last. A step that Redis fails keeps none after it from being
        taken: what it would have taken off the lists there ends by its deadline."""
        deadline = time.monotonic() + DRAIN_S
        steps: list[Callable[[], None]] = [partial(stage.stop, deadline) for stage in running.values()]
        steps += [desk.close for desk in desks]
        if self._keeper is not None:
            steps.append(self._keeper.stop)
        for step in [*steps, self._tracer.flush]:
            try:
                step()
            except RedisError as error:
                log.warning("the worker stops without Redis: %s", type(error).__name__)


@signals.worker_shutting_down.connect
def begin_drain(**_: Any) -> None:
    """At the first SIGTERM no seat is given any more; a second one ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    for stage in running.values():
        stage.loop.drain()


app.steps["worker"].add(AntiphonStep)
