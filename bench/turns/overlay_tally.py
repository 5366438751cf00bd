"""Sounds over replies, added up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Spread, spread
from bench.turns.dialogue import Category
from bench.turns.live_score import RESUME_S, OverlayFound

#: History that differs from what was heard by more words than this is wrong.
WORDS_OFF = 1


@dataclass(frozen=True)
class OverlayTally:
    """Some observations."""

    found: Sequence[OverlayFound]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.found)

    @property
    def missed(self) -> int:
        """Not cancelled in time: bad for an interruption."""
        return sum(not one.interrupted for one in self.found)

    @property
    def cancelled(self) -> int:
        """Bad for everything else."""
        return sum(one.cancelled_ms is not None for one in self.found)

    @property
    def silent(self) -> int:
        """Not cancelled, but silent for a moment."""
        return sum(one.cancelled_ms is None and one.silent_ms is not None for one in self.found)

    @property
    def back_late(self) -> int:
        """Those of them that came back later than a second after the sound."""
        return sum(
            one.cancelled_ms is None and one.resumed_ms is not None and one.resumed_ms > 1000 * RESUME_S
            for one in self.found
        )

    @property
    def last_packet(self) -> Spread:
        """Onset to the last audio received, ms."""
        return spread(one.last_packet_ms for one in self.found)

    @property
    def last_audible(self) -> Spread:
        """Onset to silence at a player that plays all it received, ms."""
        return spread(one.last_audible_ms for one in self.found)

    @property
    def told(self) -> Spread:
        """Onset to the word that the reply is held back, ms; only with our extensions."""
        return spread(one.muted_ms for one in self.found)

    @property
    def confirmed(self) -> Spread:
        """Onset to the reply's end as told, ms."""
        return spread(one.cancelled_ms for one in self.found)

    @property
    def histories(self) -> list[int]:
        """Words kept too many or too few, where it is known."""
        return [one.history_off for one in self.found if one.history_off is not None]

    @property
    def history_wrong(self) -> int:
        """By more than a word."""
        return sum(abs(off) > WORDS_OFF for off in self.histories)


def of(found: Sequence[OverlayFound], category: Category, extended: bool | None = None) -> OverlayTally:
    """Those of a category; `extended`: only such clients."""
    return OverlayTally(
        [one for one in found if one.category == category and (extended is None or one.extended == extended)]
    )


def others(found: Sequence[OverlayFound]) -> list[tuple[Category, OverlayTally]]:
    """What must not interrupt, by category, the worst first."""
    names = {one.category for one in found} - {"interruption"}
    parts = [(name, of(found, name)) for name in sorted(names)]
    return sorted(parts, key=lambda part: -part[1].cancelled / part[1].count)


def share(some: int, whole: int) -> float | None:
    """Per cent."""
    return 100 * some / whole if whole else None
