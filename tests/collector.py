"""A collector of traces for tests: takes OTLP over HTTP on loopback and decodes it with the protocol's own messages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """One span. Times are unix seconds."""

    name: str
    trace: str
    id: str
    parent: str
    begin_s: float
    end_s: float
    about: dict[str, Any]
    events: tuple[str, ...]
    failed: bool
    process: str

    @property
    def lasted_s(self) -> float:
        return self.end_s - self.begin_s


@dataclass
class Collector:
    """What came in so far."""

    endpoint: str = ""
    spans: list[Received] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes) -> None:
        self.raw += data
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            whose = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_received(span, str(whose["service.instance.id"])) for span in scope.spans]

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


def _received(span: Any, process: str) -> Received:
    return Received(
        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9,
        _values(span.attributes), tuple(event.name for event in span.events), span.status.code == 2, process,
    )  # fmt: skip


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
