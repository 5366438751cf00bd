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

#: So the address of an edition begins, after /page/; a hash of all its files follows.
EDITION = "v-"

#: What an edition's address names never changes: another edition has another.
FOR_EVER = "public, max-age=31536000, immutable"

#: Modules of the audio thread, which the page itself does not import.
WORKLET = "_worklet.js"

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


@dataclass(frozen=True)
class Edition:
    """All files as they are now."""

    name: str
    index: Served
    """The page; it asks for its files by the edition's name."""


@lru_cache(maxsize=128)
def read(name: str, _changed_ns: int) -> Served:
    """A file of the folder, read and packed once for as long as it does not change."""
    return packed((FOLDER / name).read_bytes(), KINDS[Path(name).suffix])


def packed(body: bytes, kind: str) -> Served:
    """A body with what goes along with it."""
    small = gzip.compress(body, mtime=0) if len(body) > SMALL_BYTES else b""
    return Served(body, small if len(small) < len(body) else b"", hashlib.sha256(body).hexdigest()[:20], kind)


@lru_cache(maxsize=2)
def edition(files: tuple[tuple[str, int], ...]) -> Edition:
    """Of files by name and time of change. Its page names all modules, or a browser would find them round by round."""
    served = {name: read(name, changed_ns) for name, changed_ns in files}
    name = EDITION + hashlib.sha256("".join(one.etag for one in served.values()).encode()).hexdigest()[:16]
    modules = [name for name in served if name.endswith(".js") and not name.endswith(WORKLET)]
    links = "".join(f'  <link rel="modulepreload" href="/page/{module}">\n' for module in modules)
    body = (
        served["index.html"]
        .body.decode()
        .replace("</head>", f"{links}</head>")
        .replace('"/page/', f'"/page/{name}/')
    )
    return Edition(name, packed(body.encode(), KINDS[".html"]))


def current() -> Edition:
    """The edition of this moment."""
    found = sorted(path for path in FOLDER.rglob("*") if path.suffix in KINDS)
    return edition(tuple((path.relative_to(FOLDER).as_posix(), path.stat().st_mtime_ns) for path in found))


def find(name: str) -> Served:
    """Raises NotFound for all that is no file of the page."""
    path = (FOLDER / name).resolve()
    if path.suffix not in KINDS or not path.is_relative_to(FOLDER.resolve()) or not path.is_file():
        raise NotFound()
    return read(name, path.stat().st_mtime_ns)


@page.get("/")
def index() -> Response:
    """The page itself."""
    return sent(current().index)


@page.get("/page/<path:name>")
def file(name: str) -> Response:
    """What belongs to it. Asked for another edition, as in an update, a server gives its own, to be kept by nobody."""
    first, _, rest = name.partition("/")
    if not first.startswith(EDITION):
        return sent(find(name))
    return sent(find(rest), FOR_EVER if first == current().name else "no-store")


def sent(served: Served, kept: str = "no-cache") -> Response:
    """Packed, if the browser can unpack it; by default it is compared when asked for again."""
    packs = bool(served.packed) and request.accept_encodings.best_match(("gzip", "identity")) == "gzip"
    response = Response(served.packed if packs else served.body, content_type=served.kind)
    if packs:
        response.headers["Content-Encoding"] = "gzip"
    headers = {
        "Vary": "Accept-Encoding",
        "Cache-Control": kept,
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
