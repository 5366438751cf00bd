"""`antiphon replay`: decides a recorded session again, shows how it went, and compares."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from config.settings import SAMPLE_RATE
from web.actions import Action
from web.happenings import Happening
from web.record import (
    Change,
    End,
    Header,
    Line,
    RecordError,
    Step,
    fields_of,
    is_header,
    read_action,
    read_happening,
    read_lines,
    read_rules,
    read_turn,
)
from web.rules import Rules
from web.turn import advance
from web.turn_state import Turn

#: This version decides otherwise than the recording says.
DIFFERS = 1

#: Fields that hold session samples, and are shown as seconds.
PLACES = frozenset({"at", "to", "start", "pos"})

#: Longest text shown.
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Decided:
    """One step, as it was and as it is now."""

    line: int
    at: int
    before: Turn
    """As this version has it."""
    recorded: Turn
    """As the recording has it."""
    happening: Happening
    then: tuple[Action, ...]
    now: tuple[Action, ...]
    after: Turn


class Replay:
    """Goes through a recording from file line `first` on; earlier ones only tell the state there."""

    def __init__(self, recording: bytes, first: int = 1) -> None:
        self._recording = recording
        self._first = first
        self.whole = False
        """It has an end, so nothing of it is missing."""
        self.cut: list[int] = []
        """Lines that were cut off: a process died in the middle of them, or the disk was full."""

    def steps(self) -> Iterator[Decided]:
        """Every step, decided again. Raises RecordError."""
        turn: Turn | None = None
        known: dict[str, Any] = {}
        rules, order = Rules(), 0
        for number, line in self._lines():
            self.whole = isinstance(line, End)
            with _named(number):
                match line:
                    case None:
                        self.cut.append(number)
                    case Header():
                        known, order, turn = dict(line.turn), 0, read_turn(line.turn)
                        rules = read_rules(line.rules)
                    case Change():
                        rules = read_rules(line.rules)
                    case End():
                        _require(line.steps == order, f"there were {line.steps} steps, here are {order}")
                    case Step():
                        order += 1
                        _require(line.order == order, f"step {order} is missing, this is step {line.order}")
                        known |= line.before
                        step = _decide(number, line, turn, read_turn(known), rules)
                        turn = step.after if number >= self._first else None
                        if turn is not None:
                            yield step

    def _lines(self) -> Iterator[tuple[int, Line | None]]:
        """From the newest header on that stands before what is wanted; what is before it may be broken."""
        raw = self._recording.split(b"\n")
        if not is_header(next(filter(None, raw), b"")):
            raise RecordError("line 1 is no header: this is not a recording")
        headers = [number for number, line in enumerate(raw, 1) if is_header(line)]
        begin = max((number for number in headers if number <= self._first), default=headers[0])
        yield from read_lines(raw, begin)


@contextmanager
def _named(line: int) -> Iterator[None]:
    """An error names the line."""
    try:
        yield
    except RecordError as error:
        raise RecordError(f"line {line}: {error}") from error


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RecordError(otherwise)


def _decide(number: int, line: Step, turn: Turn | None, recorded: Turn, rules: Rules) -> Decided:
    before = recorded if turn is None else turn
    happening = read_happening(line.happened)
    then = tuple(read_action(written) for written in line.decided)
    after, now = advance(before, happening, rules)
    return Decided(number, line.at, before, recorded, happening, then, tuple(now), after)


# --- plain words


def difference(step: Decided) -> str:
    """What this version has otherwise than the recording; empty if nothing."""
    if step.before != step.recorded:
        pairs = [
            f"{name} was {was!r} and is {value!r}"
            for (name, was), value in zip(
                fields_of(step.recorded).items(), fields_of(step.before).values(), strict=True
            )
            if was != value
        ]
        return f"before it, {'; '.join(pairs)}"
    if step.then != step.now:
        return f"then: {_all(step.then)}; now: {_all(step.now)}"
    return ""


def _all(actions: Sequence[Action]) -> str:
    return ", ".join(map(in_words, actions)) or "nothing"


def in_words(thing: Happening | Action) -> str:
    """A happening or an action by its name and what it says."""
    name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(thing).__name__).lower()
    said = [
        _field(field, value, name) for field, value in fields_of(thing).items() if value not in (False, "")
    ]
    return " ".join([name, *said])


def _field(field: str, value: Any, thing: str) -> str:
    """A field's name, unless the thing's name says it, and its value."""
    name = field.replace("_", " ")
    if value is True:
        return name
    if field in PLACES and isinstance(value, int):
        value = _seconds(value)
    elif isinstance(value, str):
        value = repr(value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…")
    return str(value) if name in thing.split() else f"{name} {value}"


def _seconds(samples: int) -> str:
    return f"{samples / SAMPLE_RATE:.2f} s"


def _shown(step: Decided) -> str:
    phases = step.before.phase.name, step.after.phase.name
    moved = f"  {phases[0]} → {phases[1]}" if phases[0] != phases[1] else ""
    decided = f"  → {_all(step.now)}" if step.now else ""
    return f"{_seconds(step.at):>10}  {in_words(step.happening)}{moved}{decided}"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--from-line", default=1, show_default=True, type=click.IntRange(min=1),
    help="Begin at this line of the file, in the state that was recorded there.",
)  # fmt: skip
@click.option("--verbose", is_flag=True, help="Show also what changed nothing.")
def replay(file: Path, from_line: int, verbose: bool) -> None:
    """Decide a recorded session again: every pause, interruption and reply, by today's rules of turn-taking.

    Shows how it went. Exits 0 if all decisions are as recorded, 1 at the first that is not, 2 if FILE cannot be read.
    """
    again, count = Replay(_read(file), from_line), 0
    for count, step in enumerate(again.steps(), 1):  # noqa: B007 - the last is told below
        if verbose or step.now or step.before.phase is not step.after.phase:
            click.echo(_shown(step))
        if differs := difference(step):
            click.echo(f"line {step.line}, {_seconds(step.at)}: {in_words(step.happening)}: {differs}")
            sys.exit(DIFFERS)
    click.echo(f"{count} steps, all decided as recorded")
    for line in again.cut:
        click.echo(f"line {line} is cut off: its process died, or the disk was full", err=True)
    if not again.whole:
        click.echo("the recording has no end: its process died, or still writes", err=True)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}") from error
