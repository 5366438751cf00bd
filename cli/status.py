"""`antiphon status`: what `antiphon up` runs on a data directory, by its pid files. Changes nothing."""

import sys
import time
from pathlib import Path

import click
import psutil

from cli.data_dir import DataDir, holder

#: The server does not run, or a part of it is down.
NOT_WELL = 1


@click.command()
@click.option(
    "--data-dir", default="data", show_default=True, type=click.Path(path_type=Path),
    help="The directory given to `antiphon up`.",
)  # fmt: skip
def status(data_dir: Path) -> None:
    """Show each process of a running server: its id, age and memory.

    Exits 0 if all of them live, 1 if one does not or nothing runs.
    """
    root = data_dir.expanduser().resolve()
    pid = holder(root)
    if pid is None:
        click.echo(f"nothing runs on {root}")
        sys.exit(NOT_WELL)
    click.echo(f"up (pid {pid}) runs on {root}")
    lines = {
        path.stem: _line(path)
        for path in sorted(DataDir(root, "", "").run.glob("*.pid"))
        if path.stem != "up"
    }
    for name, line in lines.items():
        click.echo(f"  {name:<6} {line or 'down'}")
    sys.exit(0 if lines and all(lines.values()) else NOT_WELL)


def _line(pid_file: Path) -> str | None:
    """None when the process is gone."""
    try:
        process = psutil.Process(int(pid_file.read_text()))
        family = [process, *process.children(recursive=True)] if pid_file.stem != "supervisord" else [process]
        memory = sum(member.memory_info().rss for member in family)
        return f"pid {process.pid}, {time.time() - process.create_time():.0f} s, {memory / 1e6:.0f} MB"
    except (OSError, ValueError, psutil.Error):
        return None
