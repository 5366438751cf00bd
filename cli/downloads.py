"""Fetches single files by HTTPS: goes on where it stopped, and believes nothing that was not checked."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from cli.weight_store import CHUNK_BYTES, sha256
from config.errors import DownloadFailed

#: To connect, and between two pieces. A stalled connection is given up and taken up again elsewhere.
TIMEOUT = httpx.Timeout(30.0, connect=10.0)

#: Attempts in a row that brought nothing, and the pause after each.
ATTEMPTS, PAUSE_S = 4, 2.0

#: Redirects within the host that are followed to learn what a file is.
MOST_REDIRECTS = 5

#: Hex digits of the two checksums that a hub names: of large files, and of those that git itself keeps.
SHA256_DIGITS, GIT_DIGITS = 64, 40

MUST_ACCEPT = (
    "its publisher asks who takes it: accept the terms on its page, make a token there, set HF_TOKEN"
)


Done = TypeVar("Done")


class _Busy(Exception):
    """A server that may serve later."""


@dataclass(frozen=True)
class Promise:
    """What a server says of a file before it sends it."""

    size: int
    checksum: str | None
    """sha256 (64 digits) or git's sha1 of a blob (40); None: it names neither."""
    commit: str | None
    """The revision it was found at."""


@dataclass(frozen=True)
class Downloader:
    """A client for one host, which alone is shown the token."""

    client: httpx.Client
    host: str
    token: str | None = None
    pause: Callable[[float], None] = time.sleep

    def promise(self, url: str) -> Promise:
        """What the server says of the file. Raises DownloadFailed where it is not to be had."""
        response = self._head(url)
        size = response.headers.get("x-linked-size") or response.headers.get("content-length")
        if size is None or not size.isdecimal():
            raise DownloadFailed(f"{_named(url)}: the server does not say how large it is")
        tag = response.headers.get("x-linked-etag") or response.headers.get("etag") or ""
        tag = tag.removeprefix("W/").strip('"').lower()
        is_sum = len(tag) in (SHA256_DIGITS, GIT_DIGITS) and not set(tag) - set("0123456789abcdef")
        return Promise(int(size), tag if is_sum else None, response.headers.get("x-repo-commit"))

    def _head(self, url: str) -> httpx.Response:
        """The first answer that tells of the file itself. A redirect to a store does; the store may refuse HEAD."""
        for _ in range(MOST_REDIRECTS):
            response = self._patiently(url, partial(self._ask, url), lambda: 0)
            if not response.has_redirect_location or "x-linked-size" in response.headers:
                return response
            url = str(response.url.join(response.headers["location"]))
        raise DownloadFailed(f"{_named(url)}: redirected more than {MOST_REDIRECTS} times")

    def _ask(self, url: str) -> httpx.Response:
        response = self.client.head(url, headers=self._headers(url), timeout=TIMEOUT)
        if response.is_error:
            raise _refused(url, response)
        return response

    def fetch(self, url: str, part: Path, size: int, told: Callable[[int], None]) -> None:
        """Brings `part` up to `size` bytes; `told` hears of what is there already and of each piece."""
        part.parent.mkdir(parents=True, exist_ok=True)
        if _length(part) > size:
            part.unlink()
        told(_length(part))
        if _length(part) < size:
            self._patiently(url, partial(self._go_on, url, part, size, told), lambda: _length(part))

    def _patiently(self, url: str, act: Callable[[], Done], got: Callable[[], int]) -> Done:
        """Acts until it succeeds; gives up after so many attempts in a row that got no further than any before."""
        idle, most = 0, got()
        while True:
            try:
                return act()
            except (httpx.TransportError, _Busy) as error:
                idle = idle + 1 if got() <= most else 0
                most = max(most, got())
                if idle == ATTEMPTS:
                    raise self._unreachable(url, error) from error
                self.pause(PAUSE_S)
            except (httpx.RequestError, httpx.InvalidURL) as error:  # redirected in circles, or to no address
                raise DownloadFailed(f"{_named(url)}: {error}") from error

    def _go_on(self, url: str, part: Path, size: int, told: Callable[[int], None]) -> None:
        have = _length(part)
        headers = self._headers(url) | ({"range": f"bytes={have}-"} if have else {})
        with self.client.stream(
            "GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True
        ) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                told(-have)
                part.unlink()
                raise _Busy("it has less than it had")
            if response.is_error:
                raise _refused(url, response)
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
            if goes_on and not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
                raise DownloadFailed(f"{_named(url)}: the server sent another part than it was asked for")
            if have and not goes_on:
                told(-have)  # it cannot go on in the middle: all of it once more
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in response.iter_bytes():  # as it comes: what is collected is lost with the line
                    file.write(chunk)
                    told(len(chunk))
                    if file.tell() > size:
                        break
        if _length(part) != size:
            length = _length(part)
            part.unlink()
            raise DownloadFailed(f"{_named(url)}: {length} bytes came, and {size} were said")

    def _headers(self, url: str) -> dict[str, str]:
        headers = {"accept-encoding": "identity"}  # else sizes would be those of something packed
        if self.token and urlsplit(url).netloc == self.host:
            headers["authorization"] = f"Bearer {self.token}"
        return headers

    def _unreachable(self, url: str, error: Exception) -> DownloadFailed:
        reason = str(error) or type(error).__name__
        return DownloadFailed(f"{_named(url)}: {urlsplit(url).netloc} cannot be reached ({reason})")


def verify(part: Path, url: str, expected: str) -> str:
    """The sha256 of what arrived. Removes it and raises DownloadFailed where it is not what `expected` says."""
    digest = sha256(part)
    found = digest if len(expected) == SHA256_DIGITS else git_sha1(part)
    if found != expected:
        part.unlink()
        raise DownloadFailed(
            f"{_named(url)}: its checksum should be {expected} and is {found}; it was removed. "
            "Pull again; if it stays so, the file at its source is another than the catalogue means"
        )
    return digest


def git_sha1(path: Path) -> str:
    """The name that git gives to a file's content; small files of a hub have no other checksum."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _named(url: str) -> str:
    """An address without its query, which may be a signature."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _refused(url: str, response: httpx.Response) -> Exception:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        return _Busy(f"it answers {status}")
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return DownloadFailed(f"{_named(url)}: refused ({status}); {MUST_ACCEPT}")
    if status == httpx.codes.NOT_FOUND:
        return DownloadFailed(f"{_named(url)}: not there (404); it was moved, or the mirror lacks it")
    return DownloadFailed(f"{_named(url)}: the server answers {status}")
