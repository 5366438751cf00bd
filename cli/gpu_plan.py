"""Which worker gets which GPU under `antiphon up --gpu`, and whether all of them fit: known before anything starts."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import click
import msgspec

from cli.programs import ROOT, Place, interpreter, worker_names
from config.engine_choice import EngineChoice
from config.errors import ConfigError
from config.gpu_names import GPU_NAME
from config.redis_keys import STAGES
from config.settings import Settings
from gpu_workers.engine import Needs
from tasks import gpus
from tasks.gpus import Gpu
from tasks.needs import MUST_MEND
from tasks.placement import Ask, check_room

#: An engine tells its needs without loading weights, but not without importing its packages from a cold disk.
NEEDS_DEADLINE_S = 120.0

FORMS = (
    "give one GPU for all stages (0), one for each of stt, llm and tts (0,1,2), or name them "
    "(stt=0,llm=1,tts=1); a stage that is named twice has its workers on both in turn"
)

#: The GPUs of each stage, in the order in which its workers take them.
Wanted = Mapping[str, tuple[str, ...]]


def gpus_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Wanted | None:
    """`0`, `0,1,2` or `stt=0,llm=1,tts=1`. Raises BadParameter."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not any("=" in part for part in parts):
        if len(parts) not in (1, len(STAGES)):
            raise click.BadParameter(f"{value!r}: {FORMS}")
        parts = [f"{stage}={parts[at % len(parts)]}" for at, stage in enumerate(STAGES)]
    wanted: dict[str, tuple[str, ...]] = {}
    for part in parts:
        stage, _, name = (piece.strip() for piece in part.partition("="))
        if stage not in STAGES or not GPU_NAME.fullmatch(name):
            raise click.BadParameter(f"{part!r}: {FORMS}")
        wanted[stage] = (*wanted.get(stage, ()), name)
    return wanted


class NoAnswer(ConfigError):
    """An engine did not say in time what it needs."""

    code = "engine_silent"


@dataclass(frozen=True)
class Plan:
    """Who goes where."""

    places: Mapping[str, Place] = field(default_factory=dict)
    """By the worker's name; who is not in it needs no GPU or was given none."""
    table: Sequence[str] = ()
    """What the operator is told of it."""


def plan(
    settings: Settings, wanted: Wanted, counts: Mapping[str, int], environment: Mapping[str, str]
) -> Plan:
    """Asks NVML and the engines. Raises ConfigError when a GPU is not there, or what is to run on it does not fit."""
    there = {name: gpus.look(name) for names in wanted.values() for name in names}
    require_one_name(there.values())
    asked = ask(settings, {stage: {} for stage in wanted}, environment)
    users = [ask for ask in asked.values() if ask.wants_gpu]
    if not users:
        named = ", ".join(map(str, asked.values()))
        raise ConfigError(f"--gpu: none of these needs a GPU: {named} (profile {settings.profile!r})")
    seated = _seat(users, wanted, counts)
    lone = _alone(settings, seated, environment)
    asked |= ask(settings, lone, environment)
    for gpu in there.values():
        check_room([asked[stage] for stage in seated.get(gpu.name, {}).values()], gpu)
    places = {
        worker: Place(name, lone.get(stage, {}))
        for name, on in seated.items()
        for worker, stage in on.items()
    }
    lines = [line for gpu in there.values() for line in _lines(gpu, seated.get(gpu.name, {}), asked)]
    return Plan(places, lines)


def require_one_name(there: Iterable[Gpu]) -> None:
    """Raises ConfigError when a GPU goes by two names: who is there by one would not count by the other."""
    names: dict[str, str] = {}
    for gpu in there:
        if (other := names.setdefault(gpu.uuid, gpu.name)) != gpu.name:
            raise ConfigError(
                f"--gpu: {other} and {gpu.name} are one {gpu.model}; call it the same each time"
            )


def _seat(users: Sequence[Ask], wanted: Wanted, counts: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """By GPU: its workers, and the stage of each."""
    seated: dict[str, dict[str, str]] = {}
    for ask in users:
        names = wanted[ask.stage]
        for at, worker in enumerate(worker_names(ask.stage, counts)):
            seated.setdefault(names[at % len(names)], {})[worker] = ask.stage
    return seated


def _alone(
    settings: Settings, seated: Mapping[str, Mapping[str, str]], environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """By stage, as variables: the options of engines all of whose workers have a GPU of their own."""
    crowded = {stage for on in seated.values() if len(on) > 1 for stage in on.values()}
    stages = {stage for on in seated.values() for stage in on.values()} - crowded
    found = {stage: options_alone(stage, settings.stage(stage), environment) for stage in stages}
    return {stage: variables for stage, variables in found.items() if variables}


def options_alone(stage: str, choice: EngineChoice, environment: Mapping[str, str]) -> dict[str, str]:
    """`options_alone` of a profile as variables, but for what the operator has set by one."""
    base = f"ANTIPHON_{stage.upper()}__OPTIONS"
    said = {name.upper() for name in environment}
    said |= {f"{base}__{name}".upper() for name in json.loads(environment.get(base) or "{}")}
    variables = {f"{base}__{name}".upper(): value for name, value in choice.options_alone.items()}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in variables.items()
        if name not in said
    }


def ask(
    settings: Settings,
    variables: Mapping[str, Mapping[str, str]],
    environment: Mapping[str, str],
    deadline_s: float = NEEDS_DEADLINE_S,
) -> dict[str, Ask]:
    """What the engines of these stages ask for, by the interpreters that will run them, all at once. No weights are
    loaded. variables: of each stage, settings that hold for it alone. Raises ConfigError.
    """
    pythons = {stage: interpreter(stage, settings.stage(stage)) for stage in variables}
    asking = {
        stage: subprocess.Popen(
            [pythons[stage], "-m", "tasks.needs", stage],
            cwd=ROOT,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for stage, more in variables.items()
    }
    try:
        return {stage: _answer(settings, stage, process, deadline_s) for stage, process in asking.items()}
    finally:
        for process in asking.values():
            process.kill()
            process.communicate()


def _answer(settings: Settings, stage: str, process: subprocess.Popen[str], deadline_s: float) -> Ask:
    choice = settings.stage(stage)
    asking = Ask(stage, choice.engine, choice.slots, Needs())
    try:
        said, complaint = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{asking} does not say within {deadline_s:g} s what it needs") from None
    lines = complaint.strip().splitlines() or ["it ended without a word"]
    if process.returncode == MUST_MEND:
        raise ConfigError(lines[-1])
    if process.returncode:
        raise ConfigError(f"{asking} cannot say what it needs: {lines[-1]}")
    # what its packages print by the way stands above
    return replace(asking, needs=msgspec.json.decode(said.strip().splitlines()[-1], type=Needs))


def _lines(gpu: Gpu, workers: Mapping[str, str], asked: Mapping[str, Ask]) -> list[str]:
    """A GPU and the shares of its workers."""
    if not workers:
        return []
    lines = [f"{gpu}: {gpu.free_mb} of {gpu.total_mb} MB free"]
    for worker, stage in workers.items():
        ask = asked[stage]
        lines.append(f"  {worker:<6} {ask.engine:<10} {ask.slots:>4} slots {ask.mb_on(gpu):>7} MB")
    left_mb = gpu.free_mb - sum(asked[stage].mb_on(gpu) for stage in workers.values())
    return [*lines, f"  {'left':<29}{left_mb:>7} MB"]


def environment_of(settings: Settings) -> dict[str, str]:
    """What an engine is asked in: as the workers have it, but for the servers, which do not run yet."""
    return {**os.environ, "ANTIPHON_PROFILE": settings.profile}
