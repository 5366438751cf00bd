"""`antiphon recordings`: the recordings there are, the end of old ones, and of one that somebody wants deleted."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from cli import columns
from config.errors import ConfigError
from config.settings import load
from web.record_folder import Recorded, erase_all, of, recorded

#: There is no such recording.
UNKNOWN = 1

#: Clients see it before the id.
PREFIX = "sess_"

DAY_S = 86_400.0

HEAD = ("SESSION", "LAST CHANGE", "SIZE", "FILES")

folder_option = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where they are; else as the settings say (ANTIPHON_RECORD_DIR).",
)


@click.group()
def recordings() -> None:
    """List, delete and prune what was recorded of sessions whose clients consented.

    \b
      antiphon recordings list
      antiphon recordings delete sess_5f3a
      antiphon recordings prune --days 7
    """


def _folder(named: Path | None) -> Path:
    folder = named or load().record_dir
    if folder is None:
        raise ConfigError("nothing is recorded here: ANTIPHON_RECORD_DIR is not set; or name a --folder")
    return folder


def _erase(files: Iterable[Recorded]) -> int:
    try:
        return erase_all(file.path for file in files)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be deleted: {error.strerror}") from error


@recordings.command("list")
@folder_option
def list_(folder: Path | None) -> None:
    """Show what there is, the newest last: words and decisions (.jsonl), and sound.

    \b
      antiphon recordings list --folder /var/lib/antiphon/recordings
    """
    sessions: dict[str, list[Recorded]] = {}
    for file in recorded(_folder(folder)):
        sessions.setdefault(file.session, []).append(file)
    now_s = time.time()
    newest = {sid: max(file.changed_s for file in files) for sid, files in sessions.items()}
    rows = [
        (
            sid,
            columns.seconds(max(0.0, now_s - newest[sid])),
            f"{sum(file.bytes for file in sessions[sid]) / 1e6:.2f} MB",
            " ".join(sorted(file.path.name.removeprefix(sid) for file in sessions[sid])),
        )
        for sid in sorted(sessions, key=lambda sid: newest[sid])
    ]
    for line in [*(columns.table(HEAD, rows) if rows else ()), f"{len(rows)} sessions"]:
        click.echo(line)


@recordings.command()
@click.argument("sid")
@folder_option
def delete(sid: str, folder: Path | None) -> None:
    """Delete all that was recorded of session SID.

    \b
      antiphon recordings delete sess_5f3a
    """
    deleted = _erase(of(_folder(folder), sid.removeprefix(PREFIX)))
    if not deleted:
        click.echo(
            f"there is no recording of {sid!r}; `antiphon recordings list` shows those there are", err=True
        )
        sys.exit(UNKNOWN)
    click.echo(f"{deleted} files were deleted")


@recordings.command()
@click.option(
    "--days", type=click.FloatRange(min=0), help="Older than these; else as the settings say (record_days)."
)
@folder_option
def prune(days: float | None, folder: Path | None) -> None:
    """Delete recordings that were not changed for so many days. The web does so by itself where record_days is set.

    \b
      antiphon recordings prune --days 7
    """
    kept = days if days is not None else load().record_days
    if kept is None:
        raise ConfigError("say how old: --days, or ANTIPHON_RECORD_DAYS")
    before_s = time.time() - kept * DAY_S
    deleted = _erase(file for file in recorded(_folder(folder)) if file.changed_s < before_s)
    click.echo(f"{deleted} files were deleted")
