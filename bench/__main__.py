"""`python -m bench`: all parts, or one; tables on the terminal, docs/benchmarks.md, JSON."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec

from bench import codecs, events, llm, machine, metrics_cost, plumbing, ready, recovery, report, scale, voice
from bench.fuzz import run as fuzz
from bench.machines import run as machines
from bench.report import Section
from bench.steps import run as steps
from bench.turns import run as turns
from bench.turns.dialogue import Category
from config.errors import AntiphonError

DOCUMENT = machine.ROOT / "docs" / "benchmarks.md"

#: A bar was missed.
MISSED = 1


def _say(line: str) -> None:
    click.echo(line, err=True)


def _numbers(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[int, ...]:
    """`1,16,64`. Raises BadParameter."""
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r}: give numbers from 1 on, such as 1,16,64")
    return tuple(int(part) for part in parts)


def _finding(command: Callable[..., Section]) -> Callable[..., None]:
    """Options that every part has, and what is done with its findings."""

    @click.option("--write", is_flag=True, help="Put the findings into docs/benchmarks.md.")
    @click.option("--json", "json_file", type=click.Path(path_type=Path), help="All figures, as JSON.")
    @wraps(command)
    def run(write: bool, json_file: Path | None, **options: Any) -> None:
        here = machine.look()
        _tell(here, [command(**options)], write, json_file)

    return run


def _tell(here: machine.Machine, sections: Sequence[Section], write: bool, json_file: Path | None) -> None:
    """Ends the program: with status 1 if a bar was missed."""
    for section in sections:
        click.echo(f"\n{section.markdown}")
    bars = [bar for section in sections for bar in section.bars]
    click.echo("\n" + "\n".join(bar.line for bar in bars))
    if write:
        report.save(DOCUMENT, here.header, here.stamp, sections)
        _say(f"written to {DOCUMENT}")
    if json_file is not None:
        found = {section.name: {"bars": section.bars, "data": section.data} for section in sections}
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": asdict(here), **found})))
    sys.exit(0 if all(bar.reached for bar in bars) else MISSED)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A smoke test: every part, a few turns; figures say nothing.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="All figures, as JSON.")
@click.pass_context
def main(ctx: click.Context, quick: bool, json_file: Path | None) -> None:
    """Measure everything and write docs/benchmarks.md, or, with a command, one part of it."""
    if ctx.invoked_subcommand is not None:
        return
    here = machine.look()
    scope = voice.Scope.quick() if quick else voice.Scope()
    parts: list[tuple[str, Callable[[], Section]]] = [
        ("ready", lambda: ready.measure(1 if quick else ready.STARTS, _say)),
        ("voice", lambda: voice.measure(scope, _say)),
        (
            "plumbing",
            lambda: plumbing.measure((1, 4) if quick else (1, 16, 64, 128), 10.0 if quick else 40.0, _say),
        ),
        ("codecs", lambda: codecs.measure(2.0 if quick else codecs.SECONDS, _say)),
        ("json", lambda: events.measure(2.0 if quick else events.SECONDS, _say)),
        ("recovery", lambda: recovery.measure(1 if quick else recovery.KILLS, _say)),
        ("scale", lambda: scale.measure(scale.Scope(1) if quick else scale.Scope(), _say)),
        ("machines", lambda: machines.measure(machines.Scope.quick() if quick else machines.Scope(), _say)),
        ("steps", lambda: steps.measure(steps.Scope((4,), 5.0, 10.0) if quick else steps.Scope(), _say)),
    ]
    _tell(here, [_one(name, part) for name, part in parts], not quick, json_file)


def _one(name: str, part: Callable[[], Section]) -> Section:
    """A part that fails costs the others nothing."""
    try:
        return part()
    except AntiphonError as error:
        _say(f"{name}: {error}")
        return report.failed(name, name.capitalize(), str(error))


@main.command(name="voice")
@click.option("--turns", default=40, show_default=True, type=click.IntRange(min=1), help="Of the one talker.")
@click.option("--talkers", default="1,3", show_default=True, callback=_numbers, help="How many at once.")
@click.option(
    "--turns-together", default=8, show_default=True, type=click.IntRange(min=1), help="Of each of several."
)
@click.option("--interruptions", default=8, show_default=True, type=click.IntRange(min=0))
@click.option("--recordings/--no-recordings", default=True, help="Word error rate on the human recordings.")
@_finding
def voice_command(
    turns: int, talkers: tuple[int, ...], turns_together: int, interruptions: int, recordings: bool
) -> Section:
    """Time to the answer with real models, barge-in, word error rate."""
    return voice.measure(voice.Scope(turns, talkers, turns_together, interruptions, recordings), _say)


@main.command(name="plumbing")
@click.option(
    "--sessions", default="1,16,64,128", show_default=True, callback=_numbers, help="How many at once."
)
@click.option("--seconds", default=40.0, show_default=True, type=click.FloatRange(min=5), help="Of each run.")
@_finding
def plumbing_command(sessions: tuple[int, ...], seconds: float) -> Section:
    """What everything but the models costs: latency, CPU, memory."""
    return plumbing.measure(sessions, seconds, _say)


@main.command(name="codecs")
@click.option(
    "--seconds", default=codecs.SECONDS, show_default=True, type=click.FloatRange(min=1), help="Of speech."
)
@_finding
def codecs_command(seconds: float) -> Section:
    """What each audio format costs, at the workers and in the web."""
    return codecs.measure(seconds, _say)


@main.command(name="json")
@click.option(
    "--seconds", default=events.SECONDS, show_default=True, type=click.FloatRange(min=1), help="Of a session."
)
@_finding
def json_command(seconds: float) -> Section:
    """What reading and writing events costs in each dialect."""
    return events.measure(seconds, _say)


@main.command(name="metrics")
@click.option("--sessions", default="16,64", show_default=True, callback=_numbers, help="How many at once.")
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(min=5), help="Of each run.")
@_finding
def metrics_command(sessions: tuple[int, ...], seconds: float) -> Section:
    """What counting and measuring costs, as a share of all CPU time."""
    return metrics_cost.measure(sessions, seconds, _say)


@main.command(name="ready")
@click.option("--starts", default=ready.STARTS, show_default=True, type=click.IntRange(min=1))
@_finding
def ready_command(starts: int) -> Section:
    """How soon a server is there, and its memory."""
    return ready.measure(starts, _say)


@main.command(name="recovery")
@click.option(
    "--kills", default=recovery.KILLS, show_default=True, type=click.IntRange(min=1), help="Of each kind."
)
@_finding
def recovery_command(kills: int) -> Section:
    """What a user notices of a worker killed in mid-turn."""
    return recovery.measure(kills, _say)


@main.command(name="steps")
@click.option("--slots", default="64,256", show_default=True, callback=_numbers, help="Of the worker.")
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(min=2), help="Of each run.")
@click.option("--opus/--no-opus", default=True, help="The largest size with Opus, too.")
@_finding
def steps_command(slots: tuple[int, ...], seconds: float, opus: bool) -> Section:
    """What the loop round the engines costs, and who is late when steps are scarce."""
    return steps.measure(steps.Scope(slots, seconds, opus=opus), _say)


@main.command(name="machines")
@click.option(
    "--sessions", default=8, show_default=True, type=click.IntRange(min=1), help="How many at once."
)
@click.option(
    "--seconds", default=36.0, show_default=True, type=click.FloatRange(min=25), help="Of each scenario."
)
@_finding
def machines_command(sessions: int, seconds: float) -> Section:
    """Several machines: delay, loss, links that are cut, more workers, wrong clocks. Linux, as root."""
    return machines.measure(machines.Scope(sessions, seconds), _say)


def _engines(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    """`vllm,llama`. Raises BadParameter."""
    names = tuple(part.strip() for part in value.split(","))
    if wrong := [name for name in names if name not in llm.ENGINES]:
        raise click.BadParameter(f"{wrong[0]!r}: there are {', '.join(llm.ENGINES)}")
    return names


@main.command(name="llm")
@click.option(
    "--engines", default="vllm,llama", show_default=True, callback=_engines, help="One after the other."
)
@click.option("--conversations", default=4, show_default=True, type=click.IntRange(1, 64), help="At once.")
@click.option("--turns", default=llm.Size.turns, show_default=True, type=click.IntRange(2, llm.Size.turns))
@click.option("--cancels", default=20, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--vllm-python",
    default=llm.VLLM_PYTHON,
    type=click.Path(path_type=Path),
    help="Of a venv with vLLM; default: what make test-vllm makes.",
)
@_finding
def llm_command(
    engines: tuple[str, ...], conversations: int, turns: int, cancels: int, vllm_python: Path
) -> Section:
    """Language models side by side: first token, speed, cancelling."""
    return llm.measure(engines, llm.Size(conversations, turns, cancels), vllm_python, _say)


def _categories(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[Category, ...] | None:
    """`plain,short`. Raises BadParameter."""
    if value is None:
        return None
    known = {str(name): name for name in get_args(Category)}
    names = [part.strip() for part in value.split(",")]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r}: there are {', '.join(known)}")
    return tuple(known[name] for name in names)


@main.command(name="turns")
@click.option(
    "--seed", default="A", show_default=True, type=click.Choice(["A", "B"]), help="B is for reports."
)
@click.option("--only", callback=_categories, help="Categories, such as plain,hesitation.")
@click.option("--sweep", is_flag=True, help="Under more and less patient rules, too.")
@click.option("--virtual-only", is_flag=True, help="The ends of turns alone, in virtual time.")
@click.option("--live-only", is_flag=True, help="A whole server alone, in real time.")
@click.option("--quick", is_flag=True, help="Two dialogues of each category; figures say nothing.")
@_finding
def turns_command(
    seed: Literal["A", "B"],
    only: tuple[Category, ...] | None,
    sweep: bool,
    virtual_only: bool,
    live_only: bool,
    quick: bool,
) -> Section:
    """Turn-taking on scripted dialogues: cut-offs, delays, interruptions, what was kept as heard."""
    if virtual_only and live_only:
        raise click.UsageError("--virtual-only and --live-only exclude each other")
    return turns.measure(turns.Scope(seed, only, sweep, not live_only, not virtual_only, quick), _say)


@main.command(name="scale")
@click.option(
    "--days", default=5, show_default=True, type=click.IntRange(min=1), help="Days to live through."
)
@_finding
def scale_command(days: int) -> Section:
    """How well /v1/scale follows a day's load, in virtual time."""
    return scale.measure(scale.Scope(days), _say)


@main.command(name="fuzz")
@click.option("--seconds", default=fuzz.Scope.seconds, show_default=True, type=click.FloatRange(min=5))
@click.option("--hostile", default=fuzz.Scope.hostile, show_default=True, type=click.IntRange(min=1))
@click.option("--innocent", default=fuzz.Scope.innocent, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=fuzz.Scope.seed, show_default=True, type=int, help="Of what the hostile do.")
@click.option("--trick", default="", help="The only one that is done; without: all of them.")
@_finding
def fuzz_command(seconds: float, hostile: int, innocent: int, seed: int, trick: str) -> Section:
    """Hostile clients beside innocent ones: nothing dies, nobody else is harmed, memory stays flat."""
    return fuzz.measure(fuzz.Scope(seconds, hostile, innocent, seed, trick), _say)


if __name__ == "__main__":
    main()
