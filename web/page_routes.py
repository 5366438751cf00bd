"""The page that people talk to: the files of web/page/, and the headers that keep them safe. Knows no sessions."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

page = Blueprint("page", __name__)

FOLDER = Path(__file__).parent / "page"

#: What there may be, by suffix; a file of another kind is not served.
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}

#: Below this gzip saves nothing that is worth the header.
SMALL_BYTES = 512

#: Scripts, styles and sockets of this server and of nobody else. Safari took 'self' for http alone, hence the sockets.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self' ws://{host} wss://{host}; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

#: What a browser gives a page, beside what this one needs, is given away.
PERMISSIONS = (
    "microphone=(self), screen-wake-lock=(self), speaker-selection=(self), autoplay=(self), camera=(), geolocation=(), "
    "display-capture=(), payment=(), usb=()"
)


@dataclass(frozen=True)
class Served:
    """A file as it is sent."""

    body: bytes
    packed: bytes
    """The same by gzip; empty where that is no smaller."""
    etag: str
    kind: str


@lru_cache(maxsize=128)
def read(name: str, _changed_ns: int) -> Served:
    """A file of the folder, read and packed once for as long as it does not change."""
    body = (FOLDER / name).read_bytes()
    packed = gzip.compress(body, mtime=0) if len(body) > SMALL_BYTES else b""
    return Served(
        body,
        packed if len(packed) < len(body) else b"",
        hashlib.sha256(body).hexdigest()[:20],
        KINDS[Path(name).suffix],
    )


def find(name: str) -> Served:
    """Raises NotFound for all that is no file of the page."""
    path = (FOLDER / name).resolve()
    if path.suffix not in KINDS or not path.is_relative_to(FOLDER.resolve()) or not path.is_file():
        raise NotFound()
    return read(name, path.stat().st_mtime_ns)


@page.get("/")
def index() -> Response:
    """The page itself."""
    return sent(find("index.html"))


@page.get("/page/<path:name>")
def file(name: str) -> Response:
    """What belongs to it."""
    return sent(find(name))


def sent(served: Served) -> Response:
    """Packed, if the browser can unpack it. Asked for again it is compared, so that a new version shows at once."""
    packs = bool(served.packed) and request.accept_encodings.best_match(("gzip", "identity")) == "gzip"
    response = Response(served.packed if packs else served.body, content_type=served.kind)
    if packs:
        response.headers["Content-Encoding"] = "gzip"
    headers = {
        "Vary": "Accept-Encoding",
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY.format(host=request.host),
        "Permissions-Policy": PERMISSIONS,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    response.headers.update(headers)
    response.set_etag(f"{served.etag}-gz" if packs else served.etag)
    response.make_conditional(request)
    return response
