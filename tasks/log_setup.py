"""The log of a worker: Celery leaves it to us, so that its lines and ours look alike."""

from typing import Any

from celery import signals

from config import logs
from config.settings import load


@signals.celeryd_init.connect
def speak_in_lines(sender: str, instance: Any, **_: Any) -> None:
    """The process goes by its node's name (`tts.2-a1b2@host`); a banner is no JSON."""
    settings = load()
    logs.set_up(settings, sender)
    instance.quiet = instance.quiet or settings.log_format == "json"


@signals.setup_logging.connect
def leave_it(**_: Any) -> None:
    """Somebody listens here, so Celery sets up nothing of its own, and does not catch what is printed."""
