"""What an engine needs to be built in tests: options, made when they are asked for, and the marker of the run that has
its packages. An engine that is not named here is built with none, in the plain run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """How to build one engine in tests."""

    options: Callable[[], dict[str, Any]] = field(default=dict)
    """Its options; tiny weights are made here."""
    marker: str = "model"
    """torch: `make test-kyutai`; vllm: `make test-vllm`; model: `make test`."""
    understands: bool = True
    """Whether what it says means anything; random weights do not."""


def _kyutai_stt() -> dict[str, Any]:
    from tests import tiny_kyutai  # needs torch, which only its run has

    return {"model": str(tiny_kyutai.stt()), "device": "cpu", "threads": 1}


def _pocket() -> dict[str, Any]:
    from tests import tiny_pocket  # needs torch and pocket-tts

    return tiny_pocket.options()


CASES: dict[tuple[str, str], Case] = {
    ("stt", "kyutai"): Case(_kyutai_stt, marker="torch", understands=False),
    ("tts", "pocket"): Case(_pocket, marker="torch", understands=False),
}


def case(stage: str, engine: str) -> Case:
    """How to build it."""
    return CASES.get((stage, engine), Case())
