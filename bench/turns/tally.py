"""Turns added up: a row of the table for each category. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.figures import Spread, spread
from bench.turns.dialogue import Category
from bench.turns.score import PAUSE_MS
from bench.turns.virtual_run import DialogueSeen, TurnSeen
from bench.wer import word_error_rate, words


@dataclass
class Tally:
    """Counts over many turns."""

    dialogues: int = 0
    turns: int = 0
    pauses: int = 0
    """Of 300 ms and more."""
    cut_off: int = 0
    cut_short: int = 0
    """Ends in shorter pauses and inside phrases."""
    missed: int = 0
    phantoms: int = 0
    delays_ms: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)

    def add(self, turn: TurnSeen) -> None:
        """One turn more."""
        found = turn.found
        self.turns += 1
        self.pauses += sum(pause.ms >= PAUSE_MS for pause in found.pauses)
        self.cut_off += found.cut_off
        self.cut_short += found.cut_short
        self.missed += found.missed
        self.phantoms += found.phantoms
        if found.delay_ms is not None:
            self.delays_ms.append(found.delay_ms)
        self.said.append(turn.said)
        self.understood.append(" ".join(turn.understood))

    @property
    def share(self) -> float | None:
        """Cut-offs of all pauses that count, in per cent; None: there was no such pause."""
        return 100 * self.cut_off / self.pauses if self.pauses else None

    @property
    def delay(self) -> Spread:
        """Of the turns whose end was seen."""
        return spread(self.delays_ms)

    @property
    def wer(self) -> float | None:
        """Over all turns joined."""
        said = " ".join(self.said)
        return word_error_rate(said, " ".join(self.understood)) if words(said) else None


@dataclass(frozen=True)
class Tallies:
    """All dialogues together, and by category, the worst first."""

    all: Tally
    by_category: Mapping[Category, Tally]


def tallies(dialogues: Iterable[DialogueSeen], rules: int = 0) -> Tallies:
    """Under the set of rules of that number."""
    whole = Tally()
    parts: dict[Category, Tally] = defaultdict(Tally)
    for dialogue in dialogues:
        for tally in (whole, parts[dialogue.category]):
            tally.dialogues += 1
            for turn in dialogue.by_rules[rules]:
                tally.add(turn)
    return Tallies(whole, dict(sorted(parts.items(), key=_badness)))


def _badness(part: tuple[Category, Tally]) -> tuple[float, float]:
    """Most cut-offs first; among equals the slowest."""
    tally = part[1]
    return -(tally.share or 0.0), -(tally.delay.median or 0.0)
