"""What an engine needs to be built in tests: options, made when they are asked for, and the marker of the run that has
its packages. An engine that is not named here is built with none, in the plain run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests import smollm


@dataclass(frozen=True)
class Case:
    """How to build one engine in tests."""

    options: Callable[[], dict[str, Any]] = field(default=dict)
    """Its options; tiny weights are made here."""
    marker: str = "model"
    """torch: `make test-kyutai`; vllm: `make test-vllm`; model: `make test`."""
    understands: bool = True
    """Whether what it says means anything; random weights do not."""


CASES: dict[tuple[str, str], Case] = {
    ("llm", "vllm"): Case(smollm.options, "vllm"),
}


def case(stage: str, engine: str) -> Case:
    """How to build it."""
    return CASES.get((stage, engine), Case())
