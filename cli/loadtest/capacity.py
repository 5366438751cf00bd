"""The highest number of sessions that holds the targets: what to try next, from what was found so far. Pure.

Doubling until a number is too many, then halving what lies between. A number is too many if it missed twice, for one
miss may be the weather. Where the generator itself could not keep time, nothing is learned about the server, and the
search ends.
"""

from dataclasses import dataclass, field
from enum import Enum

#: Of the answer: a finer one would be noise.
TOLERANCE = 0.05


#: The answer of a search that was interrupted before any number held.
UNKNOWN = "unknown; interrupted before any number held"


class Verdict(Enum):
    """Of one run."""

    HELD = "held"
    MISSED = "missed"
    INVALID = "invalid"  #: the generator was the bottleneck


@dataclass
class Search:
    """Asks for runs by `wanted`, is told by `tell`."""

    start: int
    most: int
    """No more than so many are tried."""
    best: int = 0
    """The highest number that held."""
    too_many: int | None = None
    """The lowest that missed twice."""
    saturated_at: int | None = None
    """Where the generator gave up."""
    interrupted: bool = False
    """By Ctrl-C: what was found until then is a lower bound, and no more."""
    _missed_once: int | None = field(default=None, repr=False)

    @property
    def wanted(self) -> int | None:
        """How many sessions to try next; None: the search is over."""
        if self._missed_once is not None:
            return self._missed_once
        if self.saturated_at is not None or self.best >= self.most:
            return None
        if self.too_many is None:
            return min(self.most, max(1, self.start, 2 * self.best))
        if self.too_many - self.best <= max(1, int(TOLERANCE * self.best)):
            return None
        return (self.best + self.too_many) // 2

    def tell(self, sessions: int, verdict: Verdict) -> None:
        """What came of a run of the wanted number."""
        if verdict is Verdict.INVALID:
            self.saturated_at, self._missed_once = sessions, None
        elif verdict is Verdict.HELD:
            self.best, self._missed_once = max(self.best, sessions), None
        elif self._missed_once != sessions:
            self._missed_once = sessions
        else:
            self.too_many, self._missed_once = sessions, None

    def answer(self) -> str:
        """In words."""
        if self.interrupted:
            return (
                f"at least {self.best} sessions; interrupted before more was known" if self.best else UNKNOWN
            )
        if self.saturated_at is not None:
            return f"at least {self.best} sessions; the generator could not keep time at {self.saturated_at}"
        if self.too_many is None:
            return f"at least {self.best} sessions, the most that were tried"
        if not self.best:
            return f"not even {self.too_many} session{'s' * (self.too_many != 1)}"
        return f"{self.best} sessions; {self.too_many} are too many"
