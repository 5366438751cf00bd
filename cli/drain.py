"""`antiphon drain`: a worker finishes its replies, hands its sessions over, and ends; told, and watched if wanted."""

import sys
import time
from collections.abc import Sequence

import click

from cli.servers import Where, which_deployment
from config.errors import ConfigError
from config.redis_keys import VOICES, WEB
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
        farewell = Farewell(worker)
        began_s = time.monotonic()
        while not farewell.over and time.monotonic() - began_s < timeout_s:
            time.sleep(LOOK_S)
            if said := farewell.note(fleet.look(state), time.monotonic() - began_s):
                click.echo(said)
    if not farewell.over:
        click.echo(f"{farewell.still()} after {timeout_s:.0f} s", err=True)
        sys.exit(NOT_ENDED)


def unknown(name: str, members: Sequence[Member]) -> str:
    """Nobody of that name works: who does."""
    if any(member.name == name for member in members):
        return f"{name} is a web process; stop it by SIGTERM: it sends its clients on to the others"
    there = ", ".join(sorted({f"{m.name} ({m.stage})" for m in members if m.stage != WEB and not m.refused}))
    return f"there is no worker {name!r}; there are: {there or 'none'}"


#: What holds a slot: one, and several.
HOLDERS = {
    "stt": ("session", "sessions"),
    "llm": ("reply", "replies"),
    "tts": ("reply", "replies"),
    VOICES: ("recording", "recordings"),
}


class Farewell:
    """How far a worker is that was told to drain, from what the fleet says of it. Pure."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._noticed = False
        self._left = ""
        self.over = False

    def note(self, members: Sequence[Member], after_s: float) -> str:
        """Takes a look at the fleet; what is new, in a line."""
        its = [member for member in members if member.name == self._worker]
        draining = [member.stage for member in its if member.draining]
        if not its or (self._noticed and not draining):
            self.over = True
            again = ", and a new worker has its name" if its else ""
            return f"{self._worker} has ended after {after_s:.1f} s{again}"
        if not draining:
            return ""
        before, self._left = self._left, left(its)
        if not self._noticed:
            self._noticed = True
            stages = ", ".join(draining)
            return f"it finishes its replies and hands its sessions over ({stages}){_after(self._left)}"
        return f"{after_s:.1f} s: {self._left}" if self._left != before else ""

    def still(self) -> str:
        """What is the matter with it."""
        if self._noticed:
            return f"{self._worker} still finishes its replies{_after(self._left)}"
        return f"{self._worker} has not noticed: its log may say why; SIGTERM does the same"


def left(its: Sequence[Member]) -> str:
    """What a worker that drains has still in hand; empty when it does not say, as one of an older release."""
    counts = [(member.stage, member.taken) for member in its if member.taken is not None]
    held = [f"{count} {HOLDERS[stage][count > 1]} of {stage}" for stage, count in counts if count]
    return f"{' and '.join(held) or 'nothing'} left" if counts else ""


def _after(said: str) -> str:
    return f": {said}" if said else ""
