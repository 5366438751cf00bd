"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Imported only where tracing is on.

Nothing here may make a turn wait: spans go into a bounded queue, one thread (in the web, a greenlet) sends them, and
what the collector does not take is dropped and told of once a minute.
"""

import logging
import threading
import time

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from config.tracing import HEADER, NO_SPAN, Span, TracingSettings, Value

log = logging.getLogger(__name__)

#: Spans of one request. Encoding one takes 30 µs, and the web's event loop stands still meanwhile: 2 ms, not 15.
BATCH_SPANS = 64

#: What the SDK says of a collector that does not answer is let through this often.
COMPLAIN_EVERY_S = 60.0

#: Attributes of ours begin like this.
PREFIX = "antiphon."

_PROPAGATOR = TraceContextTextMapPropagator()


class _NowAndThen(logging.Filter):
    """Lets one record pass in a while, whatever it says: each dropped span and each failed request would be one."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s
        self._next_s = 0.0
        self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = time.monotonic()
        if record.levelno < logging.WARNING:  # that all is well need not be told
            return False
        if now_s < self._next_s:
            self._held_back += 1
            return False
        self._next_s = now_s + self._every_s
        said = record.getMessage()[:300]
        record.msg, record.args = "traces: %s (%d more were held back)", (said, self._held_back)
        record.exc_info = None
        self._held_back = 0
        return True


#: The loggers of the SDK and below that speak of each failure. A filter holds for the logger it is set on alone.
_COMPLAINERS = (
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "urllib3.connectionpool",
)


def _calm() -> None:
    """One filter for all of them."""
    calm = _NowAndThen(COMPLAIN_EVERY_S)
    for name in _COMPLAINERS:
        complainer = logging.getLogger(name)
        complainer.filters = [one for one in complainer.filters if not isinstance(one, _NowAndThen)]
        complainer.addFilter(calm)


class _Traced:
    """A span of the SDK."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def carried(self) -> str:
        """As `Span.carried`."""
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, trace.set_span_in_context(self._span))
        return headers.get(HEADER, "")

    def child(self, name: str, begin_s: float | None = None, **about: Value) -> Span:
        """As `Span.child`."""
        if not self._span.get_span_context().trace_flags.sampled:
            return NO_SPAN
        below = trace.set_span_in_context(self._span)
        return _Traced(self._tracer, _begun(self._tracer, name, begin_s, below, about))

    def note(self, **about: Value) -> None:
        """As `Span.note`."""
        self._span.set_attributes(_ours(about))

    def event(self, name: str, **about: Value) -> None:
        """As `Span.event`."""
        self._span.add_event(name, _ours(about))

    def end(self, at_s: float | None = None, failed: str = "") -> None:
        """As `Span.end`."""
        if not self._span.is_recording():
            return
        if failed:
            self._span.set_status(trace.StatusCode.ERROR, failed)
        self._span.end(None if at_s is None else _ns(at_s))


class Otlp:
    """The SDK, set up for this process."""

    on = True

    def __init__(self, settings: TracingSettings, process: str) -> None:
        _calm()
        self._flush_s = settings.flush_s
        about = {"service.name": settings.service_name, "service.instance.id": process}
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(settings.sample_ratio),
            resource=Resource.create(about),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(settings.endpoint, timeout=settings.send_timeout_s),
                max_queue_size=settings.queue_spans,
                schedule_delay_millis=settings.send_every_s * 1e3,
                max_export_batch_size=BATCH_SPANS,
            )
        )
        self._tracer = self._provider.get_tracer("antiphon")
        log.info("turns are traced: %g of them, to %s", settings.sample_ratio, _where(settings.endpoint))

    def span(self, name: str, begin_s: float | None = None, parent: str = "", **about: Value) -> Span:
        """As `Tracer.span`."""
        context = _PROPAGATOR.extract({HEADER: parent}) if parent else Context()
        return _Traced(self._tracer, _begun(self._tracer, name, begin_s, context, about))

    def flush(self) -> None:
        """As `Tracer.flush`; the SDK's own shutdown would wait for half a minute."""
        ending = threading.Thread(target=self._provider.shutdown, name="trace-flush", daemon=True)
        ending.start()
        ending.join(self._flush_s)


def _begun(
    tracer: trace.Tracer, name: str, begin_s: float | None, below: Context, about: dict[str, Value]
) -> trace.Span:
    begin = None if begin_s is None else _ns(begin_s)
    return tracer.start_span(name, below, attributes=_ours(about), start_time=begin)


def _ours(about: dict[str, Value]) -> dict[str, Value]:
    return {PREFIX + name: value for name, value in about.items()}


def _ns(at_s: float) -> int:
    return int(at_s * 1e9)


def _where(endpoint: str) -> str:
    """The endpoint without what may be a password."""
    return endpoint.rpartition("@")[2]
