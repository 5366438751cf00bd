"""Names of environment variables: which of them are settings, and slips, which pydantic lets pass in silence. Pure."""

import types
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

PREFIX = "ANTIPHON_"

#: Between a section and its field.
DELIMITER = "__"

#: Holds the run id in the environment of every process of an `antiphon up`.
RUN = "ANTIPHON_RUN"

#: No settings, and known all the same: that, the stack files' image, and what clients send.
OTHERS = (RUN, "ANTIPHON_IMAGE", "ANTIPHON_VERSION", "ANTIPHON_API_KEY")

#: How alike two names must be to be taken for one another (difflib's ratio).
ALIKE = 0.85


@dataclass(frozen=True)
class Slip:
    """A variable that looks like a setting and is none."""

    name: str
    remedy: str

    def __str__(self) -> str:
        """One line for whoever set it."""
        return f"{self.name} names no setting, and changes nothing; {self.remedy}"


def ours(names: Iterable[str]) -> list[str]:
    """Those that are meant for us."""
    return sorted(name for name in names if name.upper().startswith(PREFIX))


def slips(names: Iterable[str], model: type[BaseModel]) -> Iterator[Slip]:
    """names: of the environment's variables; model: of the settings."""
    mine = [name for name in ours(names) if name.upper() not in OTHERS]
    known, open_ended = known_names(model) if mine else (set(), set())
    for name in mine:
        if not _is_known(name.upper(), known, open_ended):
            yield Slip(name, _nearest(name.upper(), known))


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


def known_names(model: type[BaseModel]) -> tuple[set[str], set[str]]:
    """All variables that are read; and those below which any name may stand, as options of engines."""
    known, open_ended = set(OTHERS), set[str]()
    for path, field in _fields(model, PREFIX):
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
