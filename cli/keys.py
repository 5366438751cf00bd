"""`antiphon keys`: makes API keys, lists them, takes them back. Owns the file of their hashes, which the web reads."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """The file, for this program alone. Raises ConfigError."""
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


def add(file: Path, name: str) -> str:
    """Makes a key; only its hash is written down. Raises ConfigError, where the name is taken or is none."""
    key, secret = api_keys.new_key(name)
    with _opened(file) as held:
        text = held.read()
        if any(known.name == name for known in api_keys.parse(text, str(file))):
            raise ConfigError(
                f"{file} has a key {name!r} already; `antiphon keys remove {name}` takes it back"
            )
        begun = "" if text.endswith("\n") else "\n"
        held.write(f"{begun}{key}  # {time.strftime('%Y-%m-%d')}\n")
    return secret


def remove(file: Path, name: str) -> None:
    """Takes a key back. Raises ConfigError where there is none of this name."""
    with _opened(file) as held:
        text = held.read()
        keys = api_keys.parse(text, str(file))
        if all(key.name != name for key in keys):
            raise ConfigError(f"{file} has no key {name!r}; {_there(keys)}")
        left = "".join(
            line for line in text.splitlines(keepends=True) if not line.strip().startswith(f"{name}:")
        )
        if len(api_keys.parse(left, str(file))) != len(keys) - 1:
            raise ConfigError(f"{file} has more on the line of {name!r}: take it out by hand")
        held.seek(0)
        held.truncate()
        held.write(left)


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


@click.group()
def keys() -> None:
    """Make API keys, list them, and take them back. Servers that run obey at once.

    \b
      antiphon keys new phone-bridge
      antiphon keys new phone-bridge --hash      (for ANTIPHON_AUTH__KEYS)
      antiphon keys list
      antiphon keys remove phone-bridge
    """


@keys.command()
@click.argument("name")
@click.option("--hash", "hash_only", is_flag=True, help="Write no file: show what goes into a variable.")
@which_file
def new(name: str, hash_only: bool, file: Path) -> None:
    """Make a key of this name: it is shown once, on stdout, and its hash added to the file.

    \b
      export ANTIPHON_API_KEY=$(antiphon keys new me)
    """
    if hash_only:
        key, secret = api_keys.new_key(name)
        click.echo(secret)
        click.echo(f"this key is shown once; for ANTIPHON_AUTH__KEYS, by commas, its hash:\n{key}", err=True)
        return
    click.echo(add(file, name))
    click.echo(f"this key is shown once; {file} has its hash, under the name {name}", err=True)


@keys.command("list")
@which_file
def list_(file: Path) -> None:
    """List the names of the keys."""
    for key in read(file) if file.exists() else ():
        click.echo(key.name)


@keys.command("remove")
@click.argument("name")
@which_file
def remove_(name: str, file: Path) -> None:
    """Take a key back, and with it the ephemeral keys that were made with it. Conversations under way go on."""
    remove(file, name)
    click.echo(f"{name} is taken back", err=True)
