"""The two Redis servers a command talks to: named by its caller, or those of the `antiphon up` that runs here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from urllib.parse import urlsplit

import click

from cli import local_run
from config.errors import ConfigError
from tasks import streams

#: What Celery and redis-py both take.
REDIS_SCHEMES = ("redis", "rediss")

#: What a URL looks like, for whoever gave something else.
EXAMPLE = "redis://:password@host:6379/0"


def url_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Raises BadParameter, which does not show the URL: it may hold a password."""
    try:
        wrong = value is not None and (
            urlsplit(value).scheme not in REDIS_SCHEMES or not urlsplit(value).hostname
        )
    except ValueError:
        wrong = True
    if wrong:
        raise click.BadParameter(f"not the address of a Redis server; it looks like {EXAMPLE}")
    return value


@dataclass(frozen=True)
class Where:
    """Which deployment a command is about."""

    state_url: str | None
    media_url: str | None
    data_dir: Path

    def urls(self) -> tuple[str | None, str | None]:
        """As given, else those of the `up` that runs on the data directory; None where nobody knows."""
        if self.state_url is not None:
            return self.state_url, self.media_url
        return local_run.redis_urls(self.data_dir) or (None, self.media_url)

    @contextmanager
    def both(self) -> Iterator[tuple[streams.Client, streams.Client]]:
        """State and media. Raises ConfigError where one is not known, or stops answering."""
        state_url, media_url = self.urls()
        if state_url is None:
            raise ConfigError(
                f"nothing runs on {self.data_dir}; name the deployment by --redis-url and --media-url (or "
                "ANTIPHON_REDIS_URL and ANTIPHON_MEDIA_URL), or the directory of `antiphon up` by --data-dir"
            )
        if media_url is None:
            raise ConfigError("the media server is needed, too: give --media-url (or ANTIPHON_MEDIA_URL)")
        with answering(state_url, media_url) as (state, media):
            yield state, media


@contextmanager
def answering(*urls: str) -> Iterator[list[streams.Client]]:
    """A client for each, which has answered. Raises ConfigError in one line, without passwords, where one does not, or
    stops to."""
    clients = [streams.connect(url, connections=2) for url in urls]
    try:
        for url, client in zip(urls, clients, strict=True):
            require_answer(url, client)
        yield clients
    except streams.RedisError as error:
        raise ConfigError(f"Redis stopped answering ({_reason(error)}); try again") from error
    finally:
        for client in clients:
            client.close()


def require_answer(url: str, client: streams.Client) -> None:
    """Raises ConfigError that names the server, but not its password."""
    try:
        streams.round_trip_s(client)
    except streams.RedisError as error:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port or 6379}"
        raise ConfigError(
            f"the Redis server {place} does not answer ({_reason(error)}); is it up, its password right?"
        ) from error


def _reason(error: streams.RedisError) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"


def which_deployment(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which a deployment is named; the command gets `where`."""

    @wraps(command)
    def given(redis_url: str | None, media_url: str | None, data_dir: Path, **rest: object) -> None:
        command(where=Where(redis_url, media_url, data_dir.expanduser().resolve()), **rest)

    options = (
        click.option(
            "--data-dir", default="data", show_default=True, type=click.Path(path_type=Path),
            help="Of an `antiphon up` on this machine; looked at where no --redis-url is given.",
        ),
        click.option(
            "--media-url", callback=url_option, envvar="ANTIPHON_MEDIA_URL", show_envvar=True,
            help="The media server.",
        ),
        click.option(
            "--redis-url", callback=url_option, envvar="ANTIPHON_REDIS_URL", show_envvar=True,
            help="The state server of any deployment.",
        ),
    )  # fmt: skip
    decorated: Callable[..., None] = given
    for option in options:
        decorated = option(decorated)
    return decorated
