"""An OpenAI-compatible language model for tests: it answers as a function of the request says, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

#: What a request is answered: words, one for each chunk, and calls (name, arguments).
Answer = tuple[list[str], list[tuple[str, Json]]]


@dataclass
class ScriptedLlm:
    """Its address, and what it was asked."""

    url: str
    requests: list[Json] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """Of a house that asks it."""
        return {"ANTIPHON_LLM__ENGINE": "openai", "ANTIPHON_LLM__OPTIONS": json.dumps({"url": self.url})}


@contextmanager
def scripted_llm(script: Callable[[Json], Answer]) -> Iterator[ScriptedLlm]:
    """Serves as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(b'{"data": []}', "application/json")

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.requests.append(request)
            chunks = [*_chunks(*script(request)), "[DONE]"]
            self._say("".join(f"data: {chunk}\n\n" for chunk in chunks).encode(), "text/event-stream")

        def _say(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model = ScriptedLlm(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


def _chunks(words: list[str], calls: list[tuple[str, Json]]) -> Iterator[str]:
    for word in words:
        yield _chunk({"content": word})
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        yield _chunk({"tool_calls": [{"index": index, "id": f"call_{name}_{index}", "type": "function",
                                      "function": function}]})  # fmt: skip
    usage = {"prompt_tokens": 10, "completion_tokens": len(words) + len(calls)}
    yield json.dumps(
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]}
    )
    yield json.dumps({"choices": [], "usage": usage})


def _chunk(delta: Json) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
