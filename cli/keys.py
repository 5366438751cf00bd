"""`antiphon keys`: makes API keys, lists them, takes them back. Owns the file of their hashes, which the web reads."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import IO

import click

from config import api_keys
from config.api_keys import ApiKey
from config.auth import AuthSettings
from config.errors import ConfigError

#: In the data directory of `antiphon up`.
FILE = "api-keys"

HEADER = "# API keys of Antiphon, hashed; `antiphon keys` writes them. A line that is taken out is refused at once.\n"


def prepared(file: Path) -> Path:
    """The file, made where it is not there yet. Raises ConfigError, also where something else than keys is in it."""
    with _opened(file) as held:
        api_keys.parse(held.read(), str(file))
    return file


def any_in(auth: AuthSettings) -> bool:
    """Whether there are any, in the settings or their file. Raises ConfigError."""
    found = api_keys.parse(auth.keys, "auth.keys")
    return bool(found or (auth.keys_file is not None and read(auth.keys_file)))


def read(file: Path) -> tuple[ApiKey, ...]:
    """The keys of a file that must be there. Raises ConfigError."""
    try:
        return api_keys.parse(file.read_text(errors="replace"), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


@contextmanager
def _opened(file: Path) -> Iterator[IO[str]]:
    """The file, for this program alone: another that writes has to wait. Raises ConfigError."""
    try:
        made = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    with os.fdopen(made, "r+", encoding="utf-8", errors="replace") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not os.fstat(held.fileno()).st_size:
            held.write(HEADER)
            held.flush()
            held.seek(0)
        yield held


def add(file: Path, name: str, sessions: int | None = None, starts_per_minute: int | None = None) -> str:
    """Makes a key, with limits of its own where some are given; only its hash is written down.

    Raises ConfigError, where the name is taken or is none.
    """
    key, secret = api_keys.new_key(name)
    key = replace(key, sessions=sessions, starts_per_minute=starts_per_minute)
    with _opened(file) as held:
        text = held.read()
        if any(known.name == name for known in api_keys.parse(text, str(file))):
            raise ConfigError(
                f"{file} has a key {name!r} already; `antiphon keys remove {name}` takes it back"
            )
        begun = "" if text.endswith("\n") else "\n"
        _write(held, f"{text}{begun}{key}  # {time.strftime('%Y-%m-%d')}\n")
    return secret


def remove(file: Path, name: str) -> int:
    """Takes a key back; returns how many are left. Raises ConfigError where there is none of this name."""
    return _rewrite(file, name, lambda line, key: "")


def limit(file: Path, name: str, sessions: int | None, starts_per_minute: int | None) -> None:
    """Gives a key other limits; None: those of the settings. Raises ConfigError."""

    def limited(line: str, key: ApiKey) -> str:
        return line.replace(
            str(key), str(replace(key, sessions=sessions, starts_per_minute=starts_per_minute))
        )

    _rewrite(file, name, limited)


def _rewrite(file: Path, name: str, line_of: Callable[[str, ApiKey], str]) -> int:
    """Writes another line for a key, which must have one to itself; returns how many keys there are then."""
    with _opened(file) as held:
        text = held.read()
        keys = api_keys.parse(text, str(file))
        found = next((key for key in keys if key.name == name), None)
        if found is None:
            raise ConfigError(f"{file} has no key {name!r}; {_there(keys)}")
        lines = text.splitlines(keepends=True)
        at = next(at for at, line in enumerate(lines) if str(found) in line)
        if len(api_keys.parse(lines[at], str(file))) != 1:
            raise ConfigError(f"{file} has more on the line of {name!r}: change it by hand")
        lines[at] = line_of(lines[at], found)
        changed = "".join(lines)
        left = api_keys.parse(changed, str(file))
        _write(held, changed)
        return len(left)


def _write(held: IO[str], text: str) -> None:
    """In place, for the file may be mounted as such. At no moment is there less in it than there will be: if we die,
    what is too much is no key, and the file is refused."""
    held.seek(0)
    held.write(text)
    held.truncate()
    held.flush()
    os.fsync(held.fileno())


def _there(keys: tuple[ApiKey, ...]) -> str:
    return f"there are {', '.join(key.name for key in keys)}" if keys else "there are none"


def which_file(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name it; the command gets `file`."""

    @wraps(command)
    def given(file: Path | None, data_dir: Path, **rest: object) -> None:
        if file is None:
            data_dir = data_dir.expanduser()
            data_dir.mkdir(parents=True, exist_ok=True)
        command(file=file or data_dir / FILE, **rest)

    decorated: Callable[..., None] = given
    for option in (
        click.option(
            "--data-dir", default="data", show_default=True, type=click.Path(path_type=Path),
            help=f"Of an `antiphon up`, whose keys are in its file {FILE}.",
        ),
        click.option(
            "--file", type=click.Path(path_type=Path), envvar="ANTIPHON_AUTH__KEYS_FILE", show_envvar=True,
            help="The file of another deployment.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def own_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The options that give a key its own."""
    number = click.IntRange(0, api_keys.LARGEST_LIMIT)
    decorated = click.option(
        "--starts-per-minute", type=number, metavar="N",
        help="Conversations and ephemeral keys that it may begin in a minute; 0: any number.",
    )(command)  # fmt: skip
    return click.option("--sessions", type=number, metavar="N", help="Conversations at once; 0: any number.")(
        decorated
    )


@click.group()
def keys() -> None:
    """Make API keys, list them, limit them, and take them back. Servers that run obey at once.

    \b
      antiphon keys new phone-bridge
      antiphon keys new trial --sessions 2 --starts-per-minute 10
      antiphon keys new phone-bridge --hash      (for ANTIPHON_AUTH__KEYS)
      antiphon keys limit trial --sessions 5
      antiphon keys list
      antiphon keys remove phone-bridge

    A key without limits of its own has those of the settings (ANTIPHON_AUTH__KEY_SESSIONS,
    ANTIPHON_AUTH__KEY_STARTS_PER_MINUTE).
    """


@keys.command()
@click.argument("name")
@click.option("--hash", "hash_only", is_flag=True, help="Write no file: show what goes into a variable.")
@own_limits
@which_file
def new(name: str, hash_only: bool, file: Path, sessions: int | None, starts_per_minute: int | None) -> None:
    """Make a key of this name: it is shown once, on stdout, and its hash added to the file.

    \b
      export ANTIPHON_API_KEY=$(antiphon keys new me)
    """
    if hash_only:
        key, secret = api_keys.new_key(name)
        key = replace(key, sessions=sessions, starts_per_minute=starts_per_minute)
        click.echo(secret)
        click.echo(f"this key is shown once; for ANTIPHON_AUTH__KEYS, by commas, its hash:\n{key}", err=True)
        return
    click.echo(add(file, name, sessions, starts_per_minute))
    click.echo(f"this key is shown once; {file} has its hash, under the name {name}", err=True)


@keys.command("limit")
@click.argument("name")
@own_limits
@which_file
def limit_(name: str, file: Path, sessions: int | None, starts_per_minute: int | None) -> None:
    """Give a key other limits; one that is not named is the settings' own from then on."""
    limit(file, name, sessions, starts_per_minute)
    click.echo(f"{name}: {_shown(next(key for key in read(file) if key.name == name))}", err=True)


def _shown(key: ApiKey) -> str:
    return " ".join(key.limits) or "the settings' limits"


@keys.command("list")
@which_file
def list_(file: Path) -> None:
    """List the names of the keys, with the limits that they have of their own."""
    for key in read(file) if file.exists() else ():
        click.echo(" ".join((key.name, *key.limits)))


@keys.command("remove")
@click.argument("name")
@which_file
def remove_(name: str, file: Path) -> None:
    """Take a key back, and with it the ephemeral keys that were made with it. Conversations under way go on."""
    left = remove(file, name)
    click.echo(f"{name} is taken back", err=True)
    if not left:
        click.echo(
            f"no key is left in {file}: a server that has no others asks for none now, of its own machine, "
            "and with ANTIPHON_AUTH__OPEN=true of nobody",
            err=True,
        )
