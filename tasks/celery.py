"""The Celery application: queues, the `--gpu` and `--slots` options, and nothing that loads a model.

`celery -A tasks worker -Q tts --gpu 1 --slots 16` finds it. The web imports it to submit tasks, so it must stay light.
"""

import os
import time
from typing import Any

import click
from celery import Celery, current_task
from kombu.entity import Exchange, Queue

from config.gpu_names import GPU_NAME
from config.redis_keys import ASKED, STAGES, VOICES
from config.settings import load
from config.tracing import HEADER

settings = load()


def _queue(name: str) -> Queue:
    """Redis is not told that a task was taken, and then that it was begun (a fifth of an LLM worker's CPU): it
    is the same moment, and what dies between is sent again by the watchdog, as what dies after."""
    exchange = Exchange(name)  # type: ignore[no-untyped-call]
    return Queue(name, exchange, routing_key=name, no_ack=True)  # type: ignore[no-untyped-call]


app = Celery(
    "antiphon", broker=settings.redis_url, include=["tasks.log_setup", "tasks.worker", "tasks.duties"]
)
app.conf.update(
    task_default_queue="stt",
    #: Flower knows the queues of workers that run, and else those that stand here.
    task_queues=[_queue(name) for name in (*STAGES, VOICES)],
    task_routes={f"{queue}.*": {"queue": queue} for queue in (*STAGES, VOICES)},
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    #: A task is acknowledged at once: recovery goes by leases, and a late ack would deliver long tasks twice.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_pool="threads",
    worker_hijack_root_logger=False,
    worker_enable_remote_control=True,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=16,
    broker_transport="tasks.broker:Transport",
    broker_transport_options={
        "socket_timeout": 10,
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


def submit(task: str, *args: Any, priority: int = 0, trace: str = "") -> None:
    """Sends a task, the lowest priority first; its arguments are ids and numbers only, for they show in logs.

    trace: the traceparent it belongs to, if not that of the task that sends it.
    """
    headers: dict[str, Any] = {ASKED: time.time()}
    if trace := trace or carried():
        headers[HEADER] = trace
    retries = {"max_retries": 2, "interval_start": 0.05}
    app.send_task(task, args, headers=headers, priority=priority, retry=True, retry_policy=retries)
