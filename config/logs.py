"""What the log looks like, and whom a line is about: process, session, reply, trace. Never what somebody said.

A greenlet, a task's thread or a coroutine says once whom it works for (`note`, `about`); a loop that serves many says
it with the line (`extra=seat.about`).
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from config.settings import Settings, slips

log = logging.getLogger(__name__)

#: Who a line is about; the order in which a line tells it.
SUBJECTS = ("session", "reply", "trace")

_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default={})  # noqa: B039 (a Mapping; nobody writes to it)

_encode = msgspec.json.Encoder().encode


def note(**about: Any) -> None:
    """From now on this greenlet, thread or coroutine works for these; empty values are forgotten."""
    _about.set({name: value for name, value in {**_about.get(), **about}.items() if value})


@contextmanager
def about(**subjects: Any) -> Iterator[None]:
    """For as long as the context lasts, it works for these and no others."""
    token = _about.set({name: value for name, value in subjects.items() if value})
    try:
        yield
    finally:
        _about.reset(token)


def subjects(record: logging.LogRecord) -> dict[str, Any]:
    """Whom a record is about: what it says itself, else who wrote it."""
    known = _about.get()
    found = {name: getattr(record, name, None) or known.get(name) for name in SUBJECTS}
    return {name: value for name, value in found.items() if value}


class TextLines(logging.Formatter):
    """A line for people; whom it is about stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        told = " ".join(f"{name}={value}" for name, value in subjects(record).items())
        return super().formatMessage(record) + (f" [{told}]" if told else "")


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    #: What this process is: `web`, or the name of a worker.
    process = ""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; a traceback is one of its strings."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": self.process,
            "pid": record.process,
            **subjects(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _encode(line).decode()


class WithoutRequests(logging.Filter):
    """Takes out of gunicorn's lines what a client sent: it quotes a header that it cannot read, which may be a key, and
    says the client's address."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Nothing is dropped."""
        if str(record.msg).startswith("Invalid request from"):
            record.msg, record.args = "a request was refused that is no HTTP, or too large", ()
        elif str(record.msg).startswith("Error handling request") and isinstance(record.args, tuple):
            record.args = tuple(str(said).partition("?")[0] for said in record.args)
        return True


def formatter(log_format: str, process: str) -> logging.Formatter:
    """Makes lines of this format."""
    if log_format == "text":
        return TextLines()
    JsonLines.process = process
    return JsonLines()


def set_up(settings: Settings, process: str) -> None:
    """All loggers of this process write to stderr, as the settings want it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings.log_format, process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    logging.captureWarnings(capture=True)
    for slip in slips():
        log.warning("%s", slip)
    if settings.log_speech:
        log.warning("log_speech is ON: what users and the assistant SAY is written into this log, in clear")


def for_gunicorn(settings: Settings) -> dict[str, Any]:
    """What gunicorn takes for `logconfig_dict`, so that its own lines, those of the arbiter too, look like all others.
    Empty for text, where they stay as they are."""
    if settings.log_format == "text":
        return {}
    # gunicorn shows its configuration at DEBUG: nothing secret may be in this
    made = {"()": f"{formatter.__module__}.formatter", "log_format": settings.log_format, "process": "web"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": made},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": settings.log_level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},  # there is none
        },
    }
