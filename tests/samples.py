"""Samples of this process's own metrics, for tests that make them move."""

from prometheus_client import REGISTRY


class Change:
    """How a sample changed since this was made."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = self._now()

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0

    def __call__(self) -> float:
        return self._now() - self._before
