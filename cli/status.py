"""`antiphon status`: the fleet, queues, sessions and Redis servers of a deployment, once or again and again."""

import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from cli import columns, fleet_picture, local_run
from cli.local_run import Run
from cli.servers import Where, answering, which_deployment
from config.errors import ConfigError

#: Something is down or unfit, or nothing runs.
NOT_WELL = 1

#: How often `--watch` looks.
LOOK_S = 1.0

#: Cursor to the top; to the end of a line, and of the screen, nothing is left of what stood there.
HOME, LINE_END, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

#: Another screen, and back to the one before, so that what stood there is not lost.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@click.command()
@which_deployment
@click.option("--watch", is_flag=True, help="Look again each second, until Ctrl-C; on a terminal only.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one document.")
def status(where: Where, watch: bool, as_json: bool) -> None:
    """Show a deployment: processes, workers with their slots, queues, sessions, Redis, versions.

    By default that of the `antiphon up` on this machine, else name its state server:

    \b
      antiphon status
      antiphon status --watch --redis-url redis://:password@redis-state:6379/0

    Exits 0 if all is well, 1 if something is down or nothing runs, 2 if it could not look.
    """
    if watch and as_json:
        raise click.UsageError("either --watch or --json")
    if watch and sys.stdout.isatty():
        _watch(lambda: _look(where)[0])
        return
    if where.state_url is None and local_run.look(where.data_dir) is None:
        _say_nothing_runs(where, as_json)
        sys.exit(NOT_WELL)
    said, document = _look(where)
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(said))
    sys.exit(0 if document["well"] else NOT_WELL)


def _say_nothing_runs(where: Where, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"well": False, "troubles": [f"nothing runs on {where.data_dir}"]}, indent=2))
        return
    click.echo(f"nothing runs on {where.data_dir}")
    click.echo("(another directory: --data-dir; a deployment elsewhere: --redis-url)", err=True)


def _look(where: Where) -> tuple[list[str], dict[str, object]]:
    """Lines and document. Raises ConfigError when Redis does not answer."""
    run = None if where.state_url else local_run.look(where.data_dir)
    state_url, media_url = where.urls()
    if state_url is None:
        return [*_run_lines(run), "its Redis is not up"], {"well": False, **_run_document(run)}
    picture = _take(state_url, media_url)
    found = fleet_picture.troubles(picture, socket.gethostname())
    if run:
        found = [*(f"{process.name} is down" for process in run.processes if not process.pid), *found]
    said = [*_run_lines(run), *fleet_picture.lines(picture), *(f"! {trouble}" for trouble in found)]
    return said, fleet_picture.document(picture, found) | _run_document(run)


def _take(state_url: str, media_url: str | None) -> fleet_picture.Picture:
    urls = (state_url,) if media_url is None else (state_url, media_url)
    with answering(*urls) as (state, *others):
        return fleet_picture.take(state, *others)


def _run_lines(run: Run | None) -> list[str]:
    if run is None:
        return []
    return [
        f"up (pid {run.pid}) runs on {run.root}",
        *(f"  {process}" for process in run.processes),
        "",
    ]


def _run_document(run: Run | None) -> dict[str, object]:
    if run is None:
        return {}
    told = {
        one.name: {"pid": one.pid, "age_s": round(one.age_s, 1), "bytes": one.bytes} for one in run.processes
    }
    return {"up": {"pid": run.pid, "data_dir": str(run.root), "processes": told}}


def _watch(look: Callable[[], Sequence[str]]) -> None:
    """Until Ctrl-C. A Redis that does not answer is no end: it may come back."""
    sys.stdout.write(ENTER)
    try:
        with suppress(KeyboardInterrupt):
            while True:
                began_s = time.monotonic()
                try:
                    said = look()
                except ConfigError as error:
                    said = [f"! {error}"]
                room = shutil.get_terminal_size()
                lines = [time.strftime("%H:%M:%S"), *troubles_first(said)]
                sys.stdout.write(screen(lines, room.columns, room.lines))
                sys.stdout.flush()
                time.sleep(max(0.0, LOOK_S - (time.monotonic() - began_s)))
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def troubles_first(said: Sequence[str]) -> list[str]:
    """A screen may end before the last line, and what is wrong must be on it."""
    troubles = [line for line in said if line.startswith("! ")]
    return [*troubles, "", *(line for line in said if not line.startswith("! "))]


def screen(lines: Sequence[str], width: int, height: int) -> str:
    """What draws them over what stood there before, without a flicker. What does not fit is left out."""
    shown = [f"{columns.cut(line, width)}{LINE_END}" for line in lines[: max(1, height)]]
    return HOME + "\r\n".join(shown) + BELOW
