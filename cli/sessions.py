"""`antiphon sessions`: the sessions there are, and the end of one. Nothing that anybody said."""

import json
import sys
import time
from dataclasses import asdict

import click

from cli import columns
from cli.servers import Where, which_deployment
from config.redis_keys import STAGES
from tasks import sessions as open_sessions
from tasks.leases import Holder
from tasks.sessions import Ending, Listed

#: There is no such session.
UNKNOWN = 1

#: Sessions that are looked at, at the most.
MOST = 100_000

#: Clients see it before the id.
PREFIX = "sess_"

#: Of a reason, so many characters reach the client: a close frame holds 123 bytes.
REASON_BYTES = 100

#: An end of which no client heard.
UNTOLD = "; nobody could be told why: its client is away, or its web process is of an earlier version"


@click.group()
def sessions() -> None:
    """List the sessions there are, or end one.

    \b
      antiphon sessions list
      antiphon sessions end sess_5f3a --reason "the server is updated"
      antiphon sessions end --key phone-bridge
    """


@sessions.command("list")
@which_deployment
@click.option(
    "--most",
    default=1000,
    show_default=True,
    type=click.IntRange(1, MOST),
    help="Look at no more than these.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one document.")
def list_(where: Where, most: int, as_json: bool) -> None:
    """Show open sessions, the oldest first: who serves each, since when, and what it does.

    \b
      antiphon sessions list --json | jq '.[] | select(.phase == "away") | .sid'
    """
    with where.both() as (state, _):
        found = open_sessions.listed(state, most)
    if as_json:
        click.echo(json.dumps([document(one) for one in found], indent=2))
        return
    for line in lines(found, time.time()):
        click.echo(line)
    if len(found) == most:
        click.echo(f"(there may be more than {most}: --most)", err=True)


HEAD = ("SESSION", "AGE", "DIALECT", "PHASE", "REPLIES", "VERSION", "KEY", "WEB", "WORKERS")


def lines(found: list[Listed], now_s: float) -> list[str]:
    """A table, and how many they are."""
    rows = [
        (
            one.sid,
            columns.seconds(max(0.0, now_s - one.since)) if one.since else columns.NONE,
            one.dialect or columns.NONE,
            one.phase,
            str(one.replies),
            str(one.version),
            one.key or columns.NONE,
            one.web or columns.NONE,
            ", ".join(f"{stage} {holder.owner}" for stage, holder in _at_work(one)) or columns.NONE,
        )
        for one in found
    ]
    return [*(columns.table(HEAD, rows) if rows else ()), f"{len(found)} sessions"]


def _at_work(one: Listed) -> list[tuple[str, Holder]]:
    return [(stage, one.holders[stage]) for stage in STAGES if stage in one.holders]


def document(one: Listed) -> dict[str, object]:
    """For JSON; `since` in Unix seconds."""
    said = asdict(one)
    said["holders"] = {stage: holder.owner for stage, holder in one.holders.items()}
    return said


@sessions.command()
@click.argument("sid", required=False)
@which_deployment
@click.option("--key", metavar="NAME", help="End all that were begun with this API key.")
@click.option(
    "--reason",
    default="an operator has ended this session",
    show_default=True,
    help="What its client is told.",
)
def end(sid: str | None, where: Where, key: str | None, reason: str) -> None:
    """End session SID for good: its client is told the reason and closed with 1008, and cannot resume it.

    \b
      antiphon sessions end sess_5f3a --reason "the server is updated"
      antiphon keys remove phone-bridge && antiphon sessions end --key phone-bridge
    """
    if (sid is None) == (key is None):
        raise click.UsageError("name a session, or --key of those that are to end")
    if len(reason.encode()) > REASON_BYTES:
        raise click.BadParameter(
            f"{len(reason.encode())} bytes; a close frame has room for {REASON_BYTES}", param_hint="--reason"
        )
    with where.both() as (state, media):
        if sid is None:
            found = [one.sid for one in open_sessions.listed(state, MOST) if one.key == key]
        else:
            found = [sid.removeprefix(PREFIX)]
        endings = [(one, open_sessions.end(state, media, one, reason)) for one in found]
    ended = [(one, ending) for one, ending in endings if ending is not Ending.UNKNOWN]
    for one, ending in ended:
        click.echo(f"{one} is ended" + UNTOLD * (ending is Ending.UNTOLD))
    if not ended:
        named = f"session {sid!r}, or it is over" if sid else f"session of the key {key!r}"
        click.echo(f"there is no {named}; `antiphon sessions list` shows those there are", err=True)
        sys.exit(UNKNOWN)
