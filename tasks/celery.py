"""The Celery application: queues, the `--gpu` and `--slots` options, and nothing that loads a model.

`celery -A tasks worker -Q tts --gpu 1 --slots 16` finds it. The web imports it to submit tasks, so it must stay light.
"""

import os
from typing import Any

import click
from celery import Celery

from config.redis_keys import STAGES, VOICES
from config.settings import load

settings = load()

app = Celery("antiphon", broker=settings.redis_url, include=["tasks.worker", "tasks.duties"])
app.conf.update(
    task_default_queue="stt",
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
    broker_transport_options={
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "queue_order_strategy": "priority",
    },
)


def pin_gpu(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    """Hides all GPUs but one while arguments are parsed: the earliest hook, before any engine is imported."""
    if value is not None:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = str(value)
    return value


app.user_options["worker"].add(
    click.Option(
        ["--gpu"], type=click.IntRange(min=0), callback=pin_gpu, help="GPU of this worker, by PCI order."
    )
)
app.user_options["worker"].add(
    click.Option(
        ["--slots"],
        type=click.IntRange(min=1),
        help=f"Sessions served at once by each of this worker's stages ({', '.join(STAGES)}).",
    )
)


def submit(task: str, *args: Any) -> None:
    """Sends a task; its arguments are ids and numbers only, for they show in logs and in Flower."""
    app.send_task(task, args, retry=True, retry_policy={"max_retries": 2, "interval_start": 0.05})
