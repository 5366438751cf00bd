"""The Celery application: queues, the `--gpu` and `--slots` options, and nothing that loads a model.

`celery -A tasks worker -Q tts --gpu 1 --slots 16` finds it. The web imports it to submit tasks, so it must stay light.
"""

import os
import sys
from typing import Any

import click
from celery import Celery, current_task
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from config.errors import ConfigError
from config.gpu_names import GPU_NAME
from config.redis_keys import ASKED, STAGES, VOICES
from config.settings import Settings, load
from config.tracing import HEADER
from tasks.shared_time import shared_time
from tasks.streams import KEEPALIVE, SOCKET_TIMEOUT_S, RedisError

#: Exit status, as of a worker that must not start: something is to be mended, and one line says what.
MUST_MEND = 3


def _settings() -> Settings:
    """Celery would tell a wrong setting in fifty lines, on the way to it."""
    try:
        return load()
    except ConfigError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        raise SystemExit(MUST_MEND) from None


settings = _settings()

# By its own name, for whoever reads the broker's URL (Flower does) knows Redis, and no transport of ours.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "tasks.broker:Transport"))


def queue(name: str) -> Queue:
    """A queue without acknowledgements: what a dead worker had in hand the watchdog sends again.

    Kombu would note each task that is under way (a fifth of an LLM worker's CPU), and end the worker where Redis has no
    memory for the note.
    """
    exchange = Exchange(name)  # type: ignore[no-untyped-call]
    return Queue(name, exchange, routing_key=name, no_ack=True)  # type: ignore[no-untyped-call]


app = Celery(
    "antiphon", broker=settings.redis_url, include=["tasks.log_setup", "tasks.worker", "tasks.duties"]
)
app.conf.update(
    task_default_queue="stt",
    #: Flower knows the queues of workers that run, and else those that stand here.
    task_queues=[queue(name) for name in (*STAGES, VOICES)],
    task_routes={f"{queue}.*": {"queue": queue} for queue in (*STAGES, VOICES)},
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    #: Recovery goes by leases; a late ack would deliver long tasks twice.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_pool="threads",
    worker_hijack_root_logger=False,
    worker_enable_remote_control=True,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=16,
    #: A worker whose link is away for a night joins again in the morning.
    broker_connection_max_retries=None,
    worker_consumer="tasks.consumer:Consumer",
    broker_transport_options={
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "socket_connect_timeout": 2,
        "queue_order_strategy": "priority",
    },
)


def pin_gpu(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Hides all GPUs but one while arguments are parsed: the earliest hook, before any engine is imported.

    Raises BadParameter for what names no GPU; whether it exists is seen before an engine is loaded.
    """
    if value is None:
        return None
    if not GPU_NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is neither a number such as 0 nor a UUID such as GPU-… or MIG-…")
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = value
    return value


app.user_options["worker"].add(
    click.Option(
        ["--gpu"],
        metavar="NUMBER|UUID",
        callback=pin_gpu,
        help="The one GPU this worker may use: its number as nvidia-smi lists it, or the UUID of it or of a MIG "
        "slice. Without it, the machine's only GPU, for engines that need one. The worker does not start where the "
        "GPU is not there or has too little free memory.",
    )
)
app.user_options["worker"].add(
    click.Option(
        ["--slots"],
        type=click.IntRange(min=1),
        metavar="N",
        help=f"Sessions or replies that each of this worker's stages ({', '.join(STAGES)}) serves at once; without "
        "it, as the profile says. GPU memory grows with it.",
    )
)


def carried() -> str:
    """The traceparent that came with the task that runs in this thread; empty without one."""
    return current_task.request.get(HEADER) or "" if current_task else ""


def waits_since() -> float | None:
    """When the task that runs in this thread was asked for (unix time), however often it was sent since."""
    return current_task.request.get(ASKED) if current_task else None


def submit(task: str, *args: Any, priority: int = 0, trace: str = "", asked_s: float | None = None) -> None:
    """Sends a task, the lowest priority first; its arguments are ids and numbers only, for they show in logs.

    trace: the traceparent it belongs to, if not that of the task that sends it. asked_s: since when it waits, if not
    since now. Raises RedisError.
    """
    headers: dict[str, Any] = {ASKED: shared_time.now_s() if asked_s is None else asked_s}
    if trace := trace or carried():
        headers[HEADER] = trace
    retries = {"max_retries": 2, "interval_start": 0.05}
    try:
        app.send_task(task, args, headers=headers, priority=priority, retry=True, retry_policy=retries)
    except OperationalError as error:  # not Redis' own, and whoever minds those would not mind it
        raise RedisError(f"the broker does not answer: {error}") from error
