"""What is made of many measurements: percentiles, spreads, and counts of small durations. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

#: Durations are counted in tenths of a millisecond: ten times finer than anything is judged.
TALLY_MS = 0.1


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all reach: nearest rank, never an average of two.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[_rank(share, len(values))]


def _rank(share: float, count: int) -> int:
    return max(0, math.ceil(share * count - 1e-9) - 1)


@dataclass(frozen=True)
class Spread:
    """How a figure is distributed; all None where there was nothing to measure."""

    count: int = 0
    mean: float | None = None
    median: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    worst: float | None = None

    @property
    def data(self) -> dict[str, float | None]:
        """For JSON."""
        return asdict(self)


SHARES = (0.5, 0.9, 0.95, 0.99, 1.0)


def spread(values: Iterable[float | None]) -> Spread:
    """Of all values that are there; the higher the worse."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return Spread()
    at = [known[_rank(share, len(known))] for share in SHARES]
    return Spread(len(known), math.fsum(known) / len(known), *at)


def spread_down(values: Iterable[float | None]) -> Spread:
    """The lower the worse: p95 is what 95 % of all reach or exceed."""
    turned = spread(None if value is None else -value for value in values)
    at = [None if value is None else -value for value in list(turned.data.values())[1:]]
    return Spread(turned.count, *at)


Tally = dict[int, int]
"""Tenths of a millisecond → how often."""


def count(tally: Tally, seconds: float) -> None:
    """One more; what is negative counts as 0."""
    key = max(0, round(1000 * seconds / TALLY_MS))
    tally[key] = tally.get(key, 0) + 1


def add(tally: Tally, more: Mapping[int, int]) -> None:
    """All of the other, too."""
    for key, number in more.items():
        tally[key] = tally.get(key, 0) + number


def spread_of(tally: Mapping[int, int]) -> Spread:
    """In ms, to a tenth."""
    total = sum(tally.values())
    if not total:
        return Spread()
    mean = math.fsum(key * number for key, number in tally.items()) / total
    at = [_at(tally, _rank(share, total)) * TALLY_MS for share in SHARES]
    return Spread(total, mean * TALLY_MS, *at)


def _at(tally: Mapping[int, int], rank: int) -> int:
    passed = 0
    for key in sorted(tally):
        passed += tally[key]
        if passed > rank:
            return key
    return 0
