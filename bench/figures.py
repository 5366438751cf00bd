"""What is made of many measurements: percentiles, and words that show them. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Where a figure was never measured.
NONE = "–"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all reach: nearest rank, never an average of two.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(share * len(values) - 1e-9)
    return sorted(values)[max(0, rank - 1)]


@dataclass(frozen=True)
class Spread:
    """How a figure is distributed; all None where there was nothing to measure."""

    count: int
    median: float | None
    p90: float | None
    p95: float | None
    largest: float | None

    @property
    def cells(self) -> list[str]:
        """Median, p90, p95 and the largest, as a table shows them."""
        return [show(value) for value in (self.median, self.p90, self.p95, self.largest)]

    @property
    def data(self) -> dict[str, float | None]:
        """For JSON."""
        return {
            "count": self.count,
            "median": self.median,
            "p90": self.p90,
            "p95": self.p95,
            "max": self.largest,
        }


def spread(values: Iterable[float | None]) -> Spread:
    """Of all values that are there."""
    known = [value for value in values if value is not None]
    if not known:
        return Spread(0, None, None, None, None)
    at = [percentile(known, share) for share in (0.5, 0.9, 0.95, 1.0)]
    return Spread(len(known), at[0], at[1], at[2], at[3])


def show(value: float | None, digits: int = 0) -> str:
    """A number for a table; small ones get a digit more, where that says something."""
    if value is None:
        return NONE
    return f"{value:.{max(digits, 1) if 0 < abs(value) < 10 else digits}f}"


def at_most(value: float | None, bar: float) -> bool:
    """Whether a bar was reached; what was not measured reached none."""
    return value is not None and value <= bar
