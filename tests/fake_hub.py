"""Plays the model hub on loopback: files with the headers that the real one sends, and all that can go wrong."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

#: What a large file's content is served from; the real hub redirects to another host, too.
STORE = "/store"


@dataclass
class Hub:
    """Files by their path in the hub, and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    """Paths that git itself keeps: they have git's checksum, and no redirect."""
    token: str | None = None
    """Without it everything is refused."""
    breaks: list[int] = field(default_factory=list)
    """After so many bytes of an answer the line goes dead; one entry for each GET."""
    ranges: bool = True
    """Whether it sends parts."""
    busy: int = 0
    """So many requests are told to come back later."""
    changed: bytes | None = None
    """What the store sends instead of the content that was promised."""
    checksums: bool = True
    moved: dict[str, str] = field(default_factory=dict)
    """Old paths, and where their files are now."""
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    """Method, path, Range and Authorization of each request."""
    address: str = ""
    port: int = 0

    def promised(self, path: str) -> dict[str, str]:
        """The headers that tell of a file."""
        content = self.files[path]
        if not self.checksums:
            return {"X-Linked-Size": str(len(content))}
        if path in self.small:
            blob = f"blob {len(content)}\0".encode() + content
            return {"ETag": f'W/"{hashlib.sha1(blob).hexdigest()}"', "X-Repo-Commit": "c" * 40}
        digest = hashlib.sha256(content).hexdigest()
        return {
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": "c" * 40,
        }


class _Answer(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.hub
        hub.asked.append(
            (self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization"))
        )
        path = unquote(urlsplit(self.path).path).removeprefix(STORE)
        if hub.busy:
            hub.busy -= 1
            self._say(503)
        elif self.path.startswith(STORE):
            self._send(hub.changed if hub.changed is not None else hub.files[path], {})
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._say(401)
        elif path in hub.moved:
            self._say(307, {"Location": hub.moved[path]})
        elif path not in hub.files:
            self._say(404)
        elif path in hub.small:
            self._send(hub.files[path], hub.promised(path))
        else:
            store = f"http://localhost:{hub.port}{STORE}{path}?signature=secret"
            self._say(302, {**hub.promised(path), "Location": store})

    def _say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.hub.ranges else 0
        if wanted and self.hub.ranges:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in {"Content-Length": str(len(content) - start), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            stop = self.hub.breaks.pop(0) if self.hub.breaks else len(content)
            self.wfile.write(content[start : start + stop])
        self.close_connection = True


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": hub}))
    hub.port = server.server_address[1]
    hub.address = f"http://127.0.0.1:{hub.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
