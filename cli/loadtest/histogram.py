"""Histograms of Prometheus: read from a page of metrics, subtracted, and asked for quantiles. Pure.

A histogram only knows how many values lie in each bucket. So a quantile is given as the bucket that holds it, and the
value inside is a guess: linear between the bucket's ends, as Prometheus' own `histogram_quantile` does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Quantile:
    """Lies in (low, high]; `guess` is interpolated. `high` is infinite beyond the last bucket."""

    low: float
    high: float
    guess: float


@dataclass(frozen=True)
class Histogram:
    """`counts[bound]`: values at most `bound`."""

    counts: Mapping[float, float]
    total: float
    """Sum of all values."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.counts.get(math.inf, 0))

    @property
    def mean(self) -> float | None:
        """Exact, unlike quantiles."""
        return self.total / self.count if self.count else None

    def __sub__(self, before: "Histogram") -> "Histogram":
        """What came since `before`."""
        counts = {bound: count - before.counts.get(bound, 0.0) for bound, count in self.counts.items()}
        return Histogram(counts, self.total - before.total)

    def since(self, before: "Histogram") -> "Histogram":
        """What came since `before`; all of it, if the server was started again and counts from nothing."""
        more = self - before
        return self if any(count < 0 for count in more.counts.values()) else more

    def __add__(self, other: "Histogram") -> "Histogram":
        """Of two processes, together; their buckets are the same, or one has none yet."""
        bounds = {*self.counts, *other.counts}
        counts = {bound: self.counts.get(bound, 0.0) + other.counts.get(bound, 0.0) for bound in bounds}
        return Histogram(counts, self.total + other.total)

    def quantile(self, share: float) -> Quantile | None:
        """The bucket that holds the value which `share` of all do not exceed; None without values."""
        if not self.count:
            return None
        wanted = share * self.count
        low, below = 0.0, 0.0
        for bound, count in sorted(self.counts.items()):
            if count >= wanted and count > below:
                inside = (wanted - below) / (count - below)
                return Quantile(low, bound, low + inside * (bound - low) if math.isfinite(bound) else low)
            low, below = bound, count
        return None


def read(page: str, name: str, **labels: str) -> Histogram:
    """The histogram of that name and labels; one without values where it does not stand."""
    counts: dict[float, float] = {}
    total = 0.0
    for family in text_string_to_metric_families(page):
        if family.name != name:
            continue
        for sample in family.samples:
            said = dict(sample.labels)
            bound = said.pop("le", None)
            if said != labels:
                continue
            if sample.name == f"{name}_bucket" and bound is not None:
                counts[float(bound)] = sample.value
            elif sample.name == f"{name}_sum":
                total = sample.value
    return Histogram(counts, total)
