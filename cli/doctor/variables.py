"""Environment variables that look like settings and are none: slips, which pydantic lets pass in silence. Pure."""

import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from cli import leash, run_processes
from cli.doctor.finding import Finding, ok, warn
from config.settings import Settings

PREFIX = "ANTIPHON_"

#: Between a section and its field.
DELIMITER = "__"

#: No settings, and known all the same: who belongs to whom under `antiphon up`, and the stack files' image.
OTHERS = (run_processes.MARK, leash.HOLDER, "ANTIPHON_IMAGE", "ANTIPHON_VERSION", "ANTIPHON_API_KEY")

#: How alike two names must be to be taken for one another (difflib's ratio).
ALIKE = 0.85


def check(names: Iterable[str]) -> Iterator[Finding]:
    """names: of the environment's variables."""
    ours = sorted(name for name in names if name.upper().startswith(PREFIX))
    known, open_ended = known_names()
    unknown = [name for name in ours if not _is_known(name.upper(), known, open_ended)]
    for name in unknown:
        yield warn(
            "variables", f"{name} names no setting, and changes nothing", _nearest(name.upper(), known)
        )
    if not unknown:
        yield ok("variables", f"{len(ours)} set, each of which names a setting")


def check_options(stage: str, environment: Mapping[str, str], known: Collection[str]) -> Iterator[Finding]:
    """Variables that set options which the stage's engine does not know. known: those it does."""
    base = f"{PREFIX}{stage.upper()}{DELIMITER}OPTIONS"
    given = {
        name: name.upper().removeprefix(base + DELIMITER).partition(DELIMITER)[0].lower()
        for name in environment
        if name.upper().startswith(base + DELIMITER)
    }
    for name, option in given.items():
        if option not in known:
            nearest = get_close_matches(option, known, 1, 0)
            mend = f"the nearest is {base}{DELIMITER}{nearest[0].upper()}" if nearest else "it has none"
            yield warn("variables", f"{name}: the engine of {stage} has no such option", mend)


def _nearest(name: str, known: Collection[str]) -> str:
    """Of the names in as many parts."""
    depth = name.count(DELIMITER)
    among = sorted(one for one in known if one.count(DELIMITER) == depth) or sorted(known)
    if alike := get_close_matches(name, among, 1, ALIKE):
        return f"did you mean {alike[0]}?"
    nearest = max(among, key=lambda one: SequenceMatcher(None, name, one).ratio())
    return f"remove it, or mend its name (the nearest is {nearest})"


def _is_known(name: str, known: Collection[str], open_ended: Iterable[str]) -> bool:
    return name in known or any(name.startswith(start + DELIMITER) for start in open_ended)


def known_names() -> tuple[set[str], set[str]]:
    """All variables that are read; and those below which any name may stand, as options of engines."""
    known, open_ended = set(OTHERS), set[str]()
    for path, field in _fields(Settings, PREFIX):
        known.add(path)
        if get_origin(_plain(field.annotation)) is dict:
            open_ended.add(path)
    return known, open_ended


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        aliases = field.validation_alias
        if isinstance(aliases, AliasChoices):
            yield from ((str(alias).upper(), field) for alias in aliases.choices)
            continue
        path = f"{prefix}{name.upper()}"
        yield path, field
        section = _plain(field.annotation)
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from _fields(section, path + DELIMITER)


def _plain(annotation: Any) -> Any:
    """Without `| None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(one for one in get_args(annotation) if one is not types.NoneType)
    return annotation
