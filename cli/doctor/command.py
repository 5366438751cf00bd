"""The command: which checks there are, and how what they found is shown."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from cli import gpu_plan, local_run, metrics_ports, programs
from cli.doctor import machine, surroundings, variables
from cli.doctor.finding import Check, Finding, Verdict, ok, run
from cli.servers import Where, which_deployment
from config.errors import ConfigError
from config.settings import Settings, load
from web.metric_folder import MEMORY

#: Something must be mended.
FAILED = 1

#: All checks together.
PATIENCE_S = 2.8

#: Before that, engines are given up, which is no failure: some import much.
BEFORE_S = 0.3

#: With `--gpu`, as long as `antiphon up` would ask.
PLAN_DEADLINE_S = 2 * gpu_plan.NEEDS_DEADLINE_S + 10

COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}

#: Hosts that are this machine.
HERE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Situation:
    """What is checked."""

    settings: Settings
    where: Where
    host: str
    port: int
    wanted: gpu_plan.Wanted | None
    patience_s: float


@click.command()
@which_deployment
@click.option("--profile", help="The engines: embedded, gpu, null, or another file of config/profiles.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the web is to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@click.option(
    "--gpu", "wanted", callback=gpu_plan.gpus_option, metavar="0 | 0,1,2 | stt=0,…",
    help="Plan these GPUs as `antiphon up --gpu` does, which asks the engines and takes longer.",
)  # fmt: skip
@click.option(
    "--patience",
    "patience_s",
    default=PATIENCE_S,
    show_default=True,
    type=click.FloatRange(0.5, 600),
    metavar="S",
    help="A check that is not through by then has failed.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one document.")
def doctor(
    where: Where,
    profile: str | None,
    host: str,
    port: int,
    wanted: gpu_plan.Wanted | None,
    patience_s: float,
    as_json: bool,
) -> None:
    """Check this machine and its surroundings for a profile, and say how to mend what is wrong.

    Loads no model and changes nothing. Exits 0 if nothing failed (warnings may stand), 1 if something did, 2 if it
    could not run.

    \b
      antiphon doctor
      antiphon doctor --profile gpu --gpu 0,1,2 --redis-url redis://:password@redis-state:6379/0 --media-url …
    """
    checks: dict[str, Check] = {
        "python": machine.python,
        "variables": lambda: variables.check(os.environ),
        "codecs": surroundings.codecs,
    }
    try:
        settings = load(profile)
    except ConfigError as error:
        mistake = str(error)

        def broken() -> Iterator[Finding]:
            raise ConfigError(mistake)

        checks["settings"] = broken
    else:
        checks |= checks_of(Situation(settings, where, host, port, wanted, patience_s))
    found = run(checks, patience_s if wanted is None else PLAN_DEADLINE_S)
    _show(found, as_json)
    sys.exit(FAILED if any(one.verdict is Verdict.FAIL for one in found) else 0)


def checks_of(about: Situation) -> Mapping[str, Check]:
    """Those that need settings, in the order in which they are shown."""
    settings, where = about.settings, about.where
    urls = where.urls()
    patience_s = about.patience_s - BEFORE_S if about.wanted is None else gpu_plan.NEEDS_DEADLINE_S
    return {
        "settings": lambda: [ok("settings", f"profile {settings.profile!r} and what overrides it are valid")],
        "redis": lambda: surroundings.redis(urls),
        "voices": lambda: surroundings.characters(settings),
        "models": lambda: surroundings.weights(settings),
        "engines": lambda: surroundings.engines(settings, about.wanted, patience_s),
        "ports": lambda: _ports(about),
        "files": lambda: [machine.files(settings.stt.slots)],
        "kernel": lambda: machine.kernel(_redis_is_here(urls[0])),
        "disk": lambda: _disks(settings, where.data_dir),
        "metrics": lambda: [machine.metrics_folder(MEMORY)],
    }


def _ports(about: Situation) -> Iterator[Finding]:
    running = local_run.look(about.where.data_dir)
    holders = [one.pid for one in running.processes if one.pid] if running else []
    yield from machine.ports({about.port: "web"}, about.host, holders)
    settings = about.settings
    names = list(programs.serving(settings, {}))
    if settings.metrics_port:
        wanted = {settings.metrics_port + at: f"metrics of {name}" for at, name in enumerate(names)}
        yield from machine.ports(wanted, settings.metrics_host, holders)
    else:
        first = metrics_ports.first_of_row(
            settings.metrics_port, settings.metrics_host, len(names), about.port
        )
        if first:
            yield ok(
                "ports", f"{first} to {first + len(names) - 1} of {settings.metrics_host} (metrics) are free"
            )


def _redis_is_here(state_url: str | None) -> bool:
    """Where none is named, `antiphon up` starts it on this machine."""
    return state_url is None or urlsplit(state_url).hostname in HERE


def _disks(settings: Settings, data_dir: Path) -> Iterator[Finding]:
    mend = "make room, or choose another --data-dir"
    yield machine.disk("disk", data_dir, machine.DATA_BYTES, machine.LEAST_BYTES, mend)
    if missing := surroundings.missing_bytes(settings):
        mend = "make room, or set ANTIPHON_MODELS_DIR"
        yield machine.disk("disk", settings.models_dir.expanduser(), missing, missing, mend)


def _show(found: Sequence[Finding], as_json: bool) -> None:
    counts = Counter(one.verdict for one in found)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "counts": {verdict.value: counts[verdict] for verdict in Verdict},
                    "findings": [one.document() for one in found],
                },
                indent=2,
            )
        )
        return
    for line in lines(found):
        click.echo(line)
    click.echo(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """A line for each finding, and one below it that says how to mend it."""
    width = max(len(one.check) for one in found)
    for one in found:
        yield f"{click.style(f'{one.verdict:<4}', fg=COLOURS[one.verdict])}  {one.check:<{width}}  {one.what}"
        if one.remedy:
            yield f"{'':<4}  {'':<{width}}  → {one.remedy}"
