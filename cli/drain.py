"""`antiphon drain`: a worker finishes its replies, hands its sessions over, and ends; told, and watched if wanted."""

import sys
import time
from collections.abc import Callable, Sequence

import click

from cli.servers import Where, which_deployment
from config.errors import ConfigError
from config.redis_keys import WEB
from tasks import fleet
from tasks.fleet import Member

#: It was still there at the deadline.
NOT_ENDED = 1

#: How often is looked whether it has ended: its heartbeat changes no more often.
LOOK_S = 0.5


@click.command()
@click.argument("worker")
@which_deployment
@click.option("--wait", is_flag=True, help="Until it has ended; exit status 1 if it has not by --timeout.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, type=click.FloatRange(1, 3600), metavar="S",
    help="The longest wait. A worker gives replies 20 s, then hands them over.",
)  # fmt: skip
def drain(worker: str, where: Where, wait: bool, timeout_s: float) -> None:
    """Let WORKER, by its name in `antiphon status`, finish its replies, hand its sessions over, and end.

    It takes nothing more from now on. What supervises it (`antiphon up`, Docker) may start a new one in its place.

    \b
      antiphon drain gpu-3-417 --wait
    """
    with where.both() as (state, media):
        if not fleet.drain(state, media, worker):
            raise ConfigError(unknown(worker, fleet.look(state)))
        click.echo(f"{worker} is told to drain")
        if not wait:
            return

        def look() -> list[Member]:
            return [member for member in fleet.look(state) if member.name == worker]

        ended = watch(look, time.monotonic() + timeout_s, click.echo)
    if not ended:
        click.echo(f"{worker} has not ended within {timeout_s:.0f} s; `antiphon status` shows it", err=True)
        sys.exit(NOT_ENDED)


def unknown(name: str, members: Sequence[Member]) -> str:
    """Nobody of that name works: who does."""
    if any(member.name == name for member in members):
        return f"{name} is a web process; stop it by SIGTERM: it sends its clients on to the others"
    there = ", ".join(sorted({f"{m.name} ({m.stage})" for m in members if m.stage != WEB and not m.refused}))
    return f"there is no worker {name!r}; there are: {there or 'none'}"


def watch(look: Callable[[], list[Member]], deadline_s: float, say: Callable[[str], object]) -> bool:
    """Whether it has ended by the monotonic deadline; changes are said. Raises RedisError."""
    began_s = time.monotonic()
    drained, before = False, ""
    while time.monotonic() < deadline_s:
        members = look()
        if not members or (drained and not any(member.draining for member in members)):
            again = "; a new worker has taken its name" if members else ""
            say(f"it has ended after {time.monotonic() - began_s:.1f} s{again}")
            return True
        drained = drained or any(member.draining for member in members)
        now = progress(members)
        if now != before:
            before = now
            say(now)
        time.sleep(LOOK_S)
    return False


def progress(members: Sequence[Member]) -> str:
    """What it has to finish."""
    if not any(member.draining for member in members):
        return "it has not noticed yet"
    return "it finishes its replies and hands its sessions over: " + ", ".join(
        member.stage for member in members
    )
