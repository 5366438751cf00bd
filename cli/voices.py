"""`antiphon voices`: whether voices.yaml is right and who of it can be talked to, and having it read again."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from cli import columns
from cli.data_dir import holder
from config import voices as characters
from config.errors import ConfigError
from config.settings import Settings, load
from web.roles import Role, cast

#: The file has a mistake, or nobody of it can be talked to.
NOT_RIGHT = 1


@click.group()
def voices() -> None:
    """Check voices.yaml, and have it read again.

    \b
      antiphon voices check
      antiphon voices check drafts/voices.yaml --profile gpu
      antiphon voices reload
    """


@dataclass(frozen=True)
class Report:
    """What is known of a voices file."""

    path: Path
    mistake: str
    """The first: with file and line, and how to mend it. Empty: there is none."""
    roles: Sequence[Role]

    @property
    def silent(self) -> list[Role]:
        """Characters that should be there and that nobody can talk to."""
        return [role for role in self.roles if role.unavailable and role.character.good]

    @property
    def right(self) -> bool:
        """Somebody can be talked to, and the file has no mistake."""
        return not self.mistake and any(not role.unavailable for role in self.roles)


def report(path: Path, settings: Settings) -> Report:
    """Reads the file; asks no engine, and loads none."""
    try:
        return Report(path, "", cast(characters.load(path), settings))
    except ConfigError as error:
        return Report(path, str(error), ())


@voices.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--profile", help="Whose engines must have the voices; by default ANTIPHON_PROFILE, or embedded."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one document.")
def check(file: Path | None, profile: str | None, as_json: bool) -> None:
    """Check a voices file (by default that of the settings): its shape, and each character's voice for the profile.

    Exits 1 at a mistake, which is named by its line, or if nobody of it can be talked to.

    \b
      antiphon voices check drafts/voices.yaml --profile gpu
    """
    settings = load(profile)
    found = report(file or settings.voices_file, settings)
    click.echo(json.dumps(document(found), indent=2) if as_json else "\n".join(lines(found, settings)))
    sys.exit(0 if found.right else NOT_RIGHT)


def lines(found: Report, settings: Settings) -> list[str]:
    """For people: a line for each character."""
    if found.mistake:
        return [found.mistake]
    rows = [
        (
            "silent" if role.unavailable else "ok",
            role.character.name,
            role.character.language,
            role.character.instructions.type,
            role.unavailable or role.voice,
        )
        for role in found.roles
    ]
    talk = sum(not role.unavailable for role in found.roles)
    return [
        *columns.table(("", "CHARACTER", "LANGUAGE", "INSTRUCTIONS", "VOICE"), rows),
        f"{found.path}: {len(rows)} characters, {talk} can be talked to with profile {settings.profile!r}",
    ]


def document(found: Report) -> dict[str, object]:
    """For JSON."""
    return {
        "file": str(found.path),
        "right": found.right,
        "mistake": found.mistake or None,
        "characters": [
            {
                "name": role.character.name,
                "language": role.character.language,
                "instructions": role.character.instructions.type,
                "voice": role.voice or None,
                "unavailable": role.unavailable or None,
            }
            for role in found.roles
        ],
    }


@voices.command()
@click.option(
    "--data-dir", default="data", show_default=True, type=click.Path(path_type=Path),
    help="Of the `antiphon up` that shall read its characters again.",
)  # fmt: skip
def reload(data_dir: Path) -> None:
    """Have the `antiphon up` on this machine read its voices file again; sessions that run keep their characters.

    It says on its terminal whether it did. With a mistake in the file everything stays as it was: check it before. In
    containers: docker kill --signal HUP CONTAINER, for each of web's.

    \b
      antiphon voices reload --data-dir /srv/antiphon
    """
    root = data_dir.expanduser().resolve()
    pid = holder(root)
    if pid is None:
        raise ConfigError(f"nothing runs on {root}; name the directory of `antiphon up` by --data-dir")
    os.kill(pid, signal.SIGHUP)
    click.echo(f"up (pid {pid}) is told to read its characters again")
