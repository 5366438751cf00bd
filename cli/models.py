"""`antiphon models`: which weights a profile takes, whether they are there and right, and how they get there."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import click

from cli.weight_pull import Access
from cli.weight_pull import pull as fetch
from cli.weight_store import State, Weight, sha256, weights_of
from config import catalogue
from config.catalogue import Model, PyPi
from config.errors import ConfigError
from config.redis_keys import STAGES
from config.settings import Settings, load

#: Exit status of `check` when something is not as it should be.
NOT_RIGHT = 1

#: More files than this are counted, not named.
FEW = 3

#: Text of a size that nobody told us.
UNKNOWN = "size unknown"


def of_profile(settings: Settings, optional: bool = True) -> list[Model]:
    """The models that the engines of a profile take, and who clones voices there; each once.

    Without what is `optional`: those that no worker starts without.
    """
    found: dict[str, Model] = {}
    choices = {stage: getattr(settings, stage) for stage in STAGES} | {"voices": settings.voices.choice}
    for stage, choice in choices.items():
        found |= {one.id: one for one in catalogue.wanted(stage, choice.engine, choice.options, optional)}
    return list(found.values())


def chosen(settings: Settings, ids: Sequence[str], everything: bool) -> list[Model]:
    """By name, or all there are, or those of the profile; each once."""
    if ids and everything:
        raise ConfigError("either names of models, or --all")
    if everything:
        return list(catalogue.models().values())
    return [catalogue.model(one) for one in dict.fromkeys(ids)] if ids else of_profile(settings)


def spared(settings: Settings, ids: Sequence[str], everything: bool) -> set[str]:
    """Ids of the profile's models that its engines do without; none where somebody chose by name."""
    return (
        set()
        if ids or everything
        else _ids(of_profile(settings)) - _ids(of_profile(settings, optional=False))
    )


@click.group()
def models() -> None:
    """List, fetch and check the weights of models.

    Without names: those of the profile (ANTIPHON_PROFILE, or --profile).
    """


def _which(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments by which all three commands choose models."""
    command = click.option("--all", "everything", is_flag=True, help="Every model of the catalogue.")(command)
    command = click.option("--profile", help="Those that this profile takes.")(command)
    return click.argument("ids", nargs=-1, metavar="[MODEL]...")(command)


@models.command("list")
@_which
@click.option("--json", "as_json", is_flag=True, help="For programs: one document.")
def list_(ids: tuple[str, ...], profile: str | None, everything: bool, as_json: bool) -> None:
    """Show models, where they come from, and what is there. Sizes are compared, contents not: see check."""
    settings = load(profile)
    weights = weights_of(chosen(settings, ids, everything), settings.models_dir.expanduser())
    without = spared(settings, ids, everything)
    if as_json:
        document = [
            _document(model, list(files)) | {"optional": model.id in without}
            for model, files in groupby(weights, lambda one: one.model)
        ]
        click.echo(json.dumps(document, indent=2))
        return
    for model, files in groupby(weights, lambda one: one.model):
        for line in described(model, list(files), optional=model.id in without):
            click.echo(line)


def described(model: Model, weights: Sequence[Weight], *, optional: bool = False) -> Iterator[str]:
    """A model in a few lines; its files only where they are not all there."""
    states = {weight.state() for weight in weights}
    state = states.pop() if len(states) == 1 else State.PARTIAL
    yield f"{model.id:18} {state:8} {megabytes(model):>12}  {model.what}"
    yield f"{'':18} from {model.source}; code {model.licences.code}; weights {model.licences.weights}"
    if unpinned := [weight.file.name for weight in weights if not weight.file.sha256]:
        named = ", ".join(unpinned) if len(unpinned) <= FEW else f"{len(unpinned)} of {len(weights)} files"
        yield f"{'':18} not pinned by us: {named}"
    if optional:
        yield f"{'':18} optional: the profile does without it"
    if state is not State.PRESENT:
        yield f"{'':18} {remedy(model)}"


def megabytes(model: Model) -> str:
    """What its files take together."""
    sizes = [file.size for file in model.files]
    known = sum(size or 0 for size in sizes) / 1e6
    if None not in sizes:
        return f"{known:.1f} MB"
    return f"> {known:.1f} MB" if known else UNKNOWN


def remedy(model: Model) -> str:
    """The command that makes it right."""
    if isinstance(model.source, PyPi):
        return f"install it: {model.source.install}"
    return f"fetch it: antiphon models pull {model.id}"


def _document(model: Model, weights: Sequence[Weight]) -> dict[str, Any]:
    files = [
        {
            "name": weight.file.name,
            "path": str(weight.path) if weight.path else None,
            "state": str(weight.state()),
            "size": weight.file.size,
            "sha256": weight.sha256,
            "pinned": weight.file.sha256 is not None,
        }
        for weight in weights
    ]
    return {**model.model_dump(mode="json", exclude={"files"}), "files": files}


@models.command()
@_which
@click.option("--from", "hub", help="Another address of the hub, or of a mirror of it (setting hub_url).")
def pull(ids: tuple[str, ...], profile: str | None, everything: bool, hub: str | None) -> None:
    """Fetch what is missing or wrong, and go on with what was broken off. Nothing that comes is ever run."""
    settings = load(profile)
    models_dir = settings.models_dir.expanduser()
    weights = weights_of(chosen(settings, ids, everything), models_dir)
    for model in dict.fromkeys(weight.model.id for weight in weights if weight.model.installed):
        _say_installed(catalogue.model(model), [one for one in weights if one.model.id == model])
    own = settings.hub_token is not None and hub in (None, settings.hub_url)
    token = settings.hub_token.get_secret_value() if own and settings.hub_token else None
    fetched = fetch(weights, models_dir, Access(hub or settings.hub_url, token, _progress))
    there = sum(not weight.model.installed for weight in weights) - len(fetched)
    click.echo(f"{len(fetched)} files fetched, {there} were there, in {models_dir}")


def _say_installed(model: Model, weights: Sequence[Weight]) -> None:
    if any(weight.state() is State.MISSING for weight in weights):
        click.echo(f"{model.id}: comes in a Python package, which is not installed; {remedy(model)}")
    else:
        click.echo(f"{model.id}: comes in a Python package, and is installed")


@contextmanager
def _progress(label: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, one line elsewhere."""
    with click.progressbar(length=size, label=f"{label} ({size / 1e6:.1f} MB)") as bar:
        yield bar.update


@models.command()
@_which
@click.pass_context
def check(ctx: click.Context, ids: tuple[str, ...], profile: str | None, everything: bool) -> None:
    """Read every file and compare its checksum. Exit status 1 where one is missing or wrong."""
    settings = load(profile)
    models = chosen(settings, ids, everything)
    without = spared(settings, ids, everything)
    right = wrong = 0
    for model, files in groupby(weights_of(models, settings.models_dir.expanduser()), lambda one: one.model):
        weights = list(files)
        if model.id in without and all(weight.state() is State.MISSING for weight in weights):
            click.echo(f"absent {model.id}: nothing needs it; {remedy(model)}")
            continue
        for weight in weights:
            verdict = judged(weight)
            right, wrong = right + (verdict is None), wrong + (verdict is not None)
            click.echo(f"{'wrong' if verdict else 'right':6} {model.id}/{weight.file.name}{verdict or ''}")
    click.echo(f"{right} of {right + wrong} files are right")
    if wrong:
        ctx.exit(NOT_RIGHT)


def _ids(models: Sequence[Model]) -> set[str]:
    return {model.id for model in models}


def judged(weight: Weight) -> str | None:
    """What is wrong with a file and how to mend it; None: it is right."""
    mend = f"; {remedy(weight.model)}"
    if weight.path is None or not weight.path.is_file():
        return f": not there{mend}"
    if weight.sha256 is None:
        return f": nobody knows what it should be{mend}, which asks the hub"
    there = weight.path.stat().st_size
    if weight.file.size not in (None, there):
        return f": {there} bytes at {weight.path}, and not {weight.file.size}{mend}"
    try:
        found = sha256(weight.path)
    except OSError as error:
        return f": {weight.path} cannot be read ({error.strerror or error})"
    return None if found == weight.sha256 else f": sha256 {found} at {weight.path}, not {weight.sha256}{mend}"
