"""The API key that a client command sends, and what a server says that does not take it."""

from collections.abc import Callable, Mapping

import click
import msgspec

from cli.url import with_query

#: Statuses of a server that will not change its mind while the same key is sent.
FINAL = frozenset({401, 403})


def key_option(command: Callable[..., None]) -> Callable[..., None]:
    """The command gets `api_key`."""
    return click.option(
        "--api-key", envvar="ANTIPHON_API_KEY", show_envvar=True, metavar="KEY",
        help="Of a server that asks for one. Others see command lines: the variable is better.",
    )(command)  # fmt: skip


def headers(key: str | None) -> Mapping[str, str]:
    """Of a handshake."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def addressed(url: str, dialect: str, key: str | None) -> str:
    """A client that sends a key looks like one of the OpenAI API: another dialect must be asked for by name."""
    return with_query(url, "dialect", dialect) if key and dialect != "ga" else url


class _Error(msgspec.Struct):
    message: str


class _Problem(msgspec.Struct):
    error: _Error


def told(body: bytes | bytearray) -> str:
    """Why a server refused, in its own words where it has some."""
    try:
        return msgspec.json.decode(body, type=_Problem).error.message
    except msgspec.DecodeError:
        return " ".join(body.decode(errors="replace").split())
