"""A session as lines of JSON: what happened, under which rules, and what was decided. Pure: text to lines, and back.

A recording is a header, then steps and changes of the rules in their order, then an end. Where a session went on in
another process, or was allowed again to be recorded, another header follows. Every line names the fields of what it
holds, so people can read it too.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, get_args

import msgspec

from config.errors import AntiphonError
from config.settings import SAMPLE_RATE
from web.actions import Action
from web.happenings import Happening
from web.rules import Rules
from web.turn_state import Phase, Turn

#: Raised when a line changes its meaning.
VERSION = 1

HAPPENINGS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Happening)}
ACTIONS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Action)}

Named = tuple[str, dict[str, Any]]


class RecordError(AntiphonError):
    """A recording that cannot be read; the message says which line, and what is wrong with it."""

    code = "bad_recording"


class Header(msgspec.Struct, tag_field="line", tag="header", kw_only=True):
    """A recording begins, or goes on."""

    version: int
    sample_rate: int = SAMPLE_RATE
    began_s: float | None = None
    """Unix time of the first step, about."""
    rules: dict[str, Any]
    turn: dict[str, Any]


class Change(msgspec.Struct, tag_field="line", tag="rules", kw_only=True):
    """From here on other rules hold."""

    rules: dict[str, Any]


class Step(msgspec.Struct, tag_field="line", tag="step", kw_only=True):
    """Something happened at session sample `at`, and this was decided."""

    order: int
    """From 1, without holes, since the header."""
    at: int
    before: dict[str, Any] = {}
    """What of the turn's state is not as it was before the last step."""
    happened: Named
    decided: list[Named] = []


class End(msgspec.Struct, tag_field="line", tag="end", kw_only=True):
    """Nothing was lost: so many steps in all, since the header."""

    steps: int


Line = Header | Change | Step | End

encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Line)
_HEADER = re.compile(rb'\s*{\s*"line"\s*:\s*"header"')


# --- what is known to what is written


def fields_of(thing: Any) -> dict[str, Any]:
    """The fields of a fact, happening, action, turn or rules, in JSON's types; of an enumeration the name."""
    names = getattr(thing, "__struct_fields__", None) or [field.name for field in dataclasses.fields(thing)]
    return {name: _plain(getattr(thing, name)) for name in names}


def named(thing: Any) -> Named:
    """A happening or an action."""
    return type(thing).__name__, fields_of(thing)


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else msgspec.to_builtins(value)


# --- and back


def is_header(raw: bytes) -> bool:
    """Whether a line, which need not be whole, looks like a header."""
    return _HEADER.match(raw) is not None


def read_lines(recording: Sequence[bytes], first: int) -> Iterator[tuple[int, Line | None]]:
    """The lines from number `first` on, each with its number; the last is what follows the last newline.

    None: one that was cut off, for its process died in the middle of it, or the disk was full; it is the last, or the
    next is a header. Raises RecordError.
    """
    whole = [(number, raw) for number, raw in enumerate(recording[first - 1 :], first) if raw]
    for (number, raw), (_, after) in zip(whole, [*whole[1:], (0, b"")], strict=True):
        try:
            line: Line = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            if (after and is_header(after)) or (not after and recording[-1]):
                yield number, None
                continue
            raise RecordError(f"line {number} is not of a recording: {error}") from error
        if isinstance(line, Header) and (line.version, line.sample_rate) != (VERSION, SAMPLE_RATE):
            raise RecordError(
                f"line {number}: this recording is of version {line.version} at {line.sample_rate} Hz; "
                f"known is version {VERSION} at {SAMPLE_RATE} Hz"
            )
        yield number, line


def read_happening(written: Named) -> Happening:
    """Raises RecordError."""
    return _thing(HAPPENINGS, "happening", written)  # type: ignore[no-any-return]


def read_action(written: Named) -> Action:
    """Raises RecordError."""
    return _thing(ACTIONS, "decision", written)  # type: ignore[no-any-return]


def read_rules(written: Mapping[str, Any]) -> Rules:
    """Raises RecordError."""
    return _built(Rules, "rules", written)  # type: ignore[no-any-return]


def read_turn(written: Mapping[str, Any]) -> Turn:
    """Raises RecordError."""
    phase = Phase.__members__.get(str(written.get("phase")))
    if phase is None:
        raise RecordError(f"there is no phase {written.get('phase')!r} in this version")
    return _built(Turn, "turn", {**written, "phase": phase.value})  # type: ignore[no-any-return]


def _thing(known: Mapping[str, Any], what: str, written: Named) -> Any:
    name, values = written
    if name not in known:
        raise RecordError(f"this version knows no {what} {name!r}")
    return _built(known[name], name, values)


def _built(kind: Any, what: str, values: Mapping[str, Any]) -> Any:
    """An instance; a field more or less is another version's, and a default would only hide it."""
    tuple_like = issubclass(kind, msgspec.Struct)
    names = kind.__struct_fields__ if tuple_like else [field.name for field in dataclasses.fields(kind)]
    if odd := sorted(set(names) ^ set(values)):
        raise RecordError(f"{what} of another version: it differs in {', '.join(odd)}")
    shape = [kind.__struct_config__.tag, *(values[name] for name in names)] if tuple_like else dict(values)
    try:
        return msgspec.convert(shape, kind)
    except msgspec.ValidationError as error:
        raise RecordError(f"{what} does not fit: {error}") from error
