"""Traces of turns: their settings, what a span is to the rest, and the switch. Off, OpenTelemetry is not imported.

Times are unix seconds. A `traceparent` is W3C's: which trace, below which span, and whether it is sampled.
"""

from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

#: What an attribute of a span may be. Ids, numbers and names; never what somebody said.
Value = str | int | float | bool

#: The header of a Celery task, and of HTTP, that carries a traceparent.
HEADER = "traceparent"


class TracingSettings(BaseModel, frozen=True):
    """OpenTelemetry traces of turns, for whom a slow turn must be explained."""

    endpoint: str = ""
    """Where a collector takes traces by OTLP over HTTP: `http://otel-collector:4318`. Empty: off, at no cost."""
    sample_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the turns that are traced. The web decides, once for a turn; workers follow. A traced turn costs about
    1.5 ms of CPU over all processes, so that 0.1 is enough for a fleet."""
    service_name: str = Field("antiphon", min_length=1, max_length=100)
    """What the traces are found under; processes tell themselves apart by `service.instance.id`."""
    queue_spans: int = Field(2048, ge=64)
    """Spans that wait for the collector; beyond, the oldest are dropped. A turn has 16."""
    send_every_s: float = Field(2.0, gt=0, le=60)
    """How long a span waits for others at most: one request for many."""
    send_timeout_s: float = Field(5.0, gt=0, le=60)
    """A collector that takes longer, retries included, loses the batch."""
    flush_s: float = Field(2.0, ge=0, le=30)
    """The longest that an ending process waits for the collector."""

    @field_validator("endpoint")
    @classmethod
    def _is_a_url(cls, endpoint: str) -> str:
        if not endpoint:
            return endpoint
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as http://otel-collector:4318")
        return endpoint if parts.path.strip("/") else endpoint.rstrip("/") + "/v1/traces"


class Span(Protocol):
    """Something that takes time. Ended once; what comes after its end is ignored."""

    @property
    def carried(self) -> str:
        """Its traceparent, for who works under it elsewhere; empty when nothing is traced."""
        ...

    def child(self, name: str, begin_s: float | None = None, **about: Value) -> "Span":
        """A part of it; begin_s: when it began, if not now."""
        ...

    def note(self, **about: Value) -> None:
        """Attributes that are known only now."""
        ...

    def event(self, name: str, **about: Value) -> None:
        """Something that happened at this moment."""
        ...

    def end(self, at_s: float | None = None, failed: str = "") -> None:
        """It is over, now or since `at_s`; failed: why it did not do what it should."""
        ...


class Tracer(Protocol):
    """Makes spans and sends them away."""

    on: bool

    def span(self, name: str, begin_s: float | None = None, parent: str = "", **about: Value) -> Span:
        """A span below that of the traceparent `parent`, of a new trace if there is none."""
        ...

    def flush(self) -> None:
        """The process ends: what waits is sent, if that is done in time."""
        ...


class _Nothing:
    """A span and a tracer of nothing."""

    on = False
    carried = ""

    def span(self, *_: Any, **__: Any) -> "_Nothing":
        return self

    def child(self, *_: Any, **__: Any) -> "_Nothing":
        return self

    def note(self, **_: Any) -> None:
        pass

    def event(self, *_: Any, **__: Any) -> None:
        pass

    def end(self, *_: Any, **__: Any) -> None:
        pass

    def flush(self) -> None:
        pass


#: The tracer of those who trace nothing, and its spans.
OFF: Tracer = _Nothing()
NO_SPAN: Span = _Nothing()


def start(settings: TracingSettings, process: str) -> Tracer:
    """The tracer of this process. Called once, after every fork, by who will call `flush`."""
    if not settings.endpoint:
        return OFF
    made: Tracer = import_module("config.tracing_otlp").Otlp(settings, process)
    return made


def trace_id(traceparent: str) -> str:
    """The part that names the trace; empty for none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""
