"""Plays many dialogues in virtual time on a few processes, and scores them there."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from bench.machine import ROOT
from bench.turns import score, virtual
from bench.turns.dialogue import Category, Rendered
from bench.turns.score import TurnFound
from bench.turns.virtual import Known, TurnPlayed
from bench.turns.virtual_models import Library, Memo
from config.tuning import TurnSettings
from gpu_workers.stt.embedded import Settings

#: What models said of what; `make clean` removes it.
MEMO = ROOT / "build" / "turns" / "models.sqlite"

PROCESSES = 2

#: Dialogues on their way to the processes; each is some megabytes of sound.
AHEAD = 6

#: The bench leaves the machine to whoever else wants it: a thread's CPU time does not grow when it waits.
NICENESS = 10

Say = Callable[[str], None]


@dataclass(frozen=True)
class TurnSeen:
    """A turn under one set of rules: what became of it, what was understood, and what the deciding side knew."""

    found: TurnFound
    script: tuple[str, ...]
    """The phrases."""
    spans_ms: tuple[tuple[float, float], ...]
    """Where each sounds, from the first one's first sample."""
    understood: tuple[str, ...]
    """One for each part in which it was taken."""
    known: tuple[Known, ...] = ()
    """Only of the first set of rules."""

    @property
    def said(self) -> str:
        """All of it."""
        return " ".join(self.script)


@dataclass(frozen=True)
class DialogueSeen:
    """A dialogue under each set of rules."""

    name: str
    category: Category
    voice: str
    noise_db: float | None
    by_rules: tuple[tuple[TurnSeen, ...], ...]


@dataclass(frozen=True)
class _Work:
    """What a process needs to begin."""

    settings: tuple[TurnSettings, ...]
    engine: Settings
    memo: Path


#: Of this process; set when it begins.
_mine: list[tuple[_Work, Library]] = []


def play_all(
    dialogues: Iterable[Rendered],
    settings: Sequence[TurnSettings],
    engine: Settings,
    say: Say,
    memo: Path = MEMO,
) -> Iterator[DialogueSeen]:
    """Each dialogue under each of the settings, in order."""
    work = _Work(tuple(settings), engine, memo)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _begin, (work,)) as pool:
        waiting: deque[Future[DialogueSeen]] = deque()
        done = count(1)
        for rendered in dialogues:
            waiting.append(pool.submit(_play, rendered))
            if len(waiting) >= AHEAD:
                yield _told(waiting.popleft().result(), next(done), say)
        while waiting:
            yield _told(waiting.popleft().result(), next(done), say)


def _told(seen: DialogueSeen, number: int, say: Say) -> DialogueSeen:
    turns = seen.by_rules[0]
    cut = sum(turn.found.cut_off for turn in turns)
    pauses = sum(pause.counts for turn in turns for pause in turn.found.pauses)
    delays = ", ".join("–" if turn.found.delay_ms is None else f"{turn.found.delay_ms:.0f}" for turn in turns)
    say(f"turns: {number} {seen.name}: {cut} of {pauses} pauses cut off, ends after {delays} ms")
    return seen


def _begin(work: _Work) -> None:
    os.nice(NICENESS)
    _mine.append((work, Library(work.engine, Memo(work.memo))))


def _play(rendered: Rendered) -> DialogueSeen:
    work, library = _mine[0]
    return see(rendered, work.settings, library, work.engine)


def see(
    rendered: Rendered, settings: Sequence[TurnSettings], library: Library, engine: Settings
) -> DialogueSeen:
    """One dialogue, in this process."""
    played = virtual.play(rendered, settings, library, engine)
    by_rules = tuple(
        tuple(
            _seen(turn, [phrase.text for phrase in script], first=not number)
            for turn, script in zip(turns, rendered.dialogue.turns, strict=True)
        )
        for number, turns in enumerate(played)
    )
    about = rendered.dialogue
    return DialogueSeen(about.name, about.category, about.voice, about.noise_db, by_rules)


def _seen(turn: TurnPlayed, script: Sequence[str], *, first: bool) -> TurnSeen:
    spans = tuple((turn.ms(phrase.begin), turn.ms(phrase.end)) for phrase in turn.phrases)
    known = tuple(turn.known) if first else ()
    return TurnSeen(score.judge(turn.phrases, turn.ends), tuple(script), spans, tuple(turn.texts), known)
