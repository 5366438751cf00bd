"""What an engine needs to be built in tests: options, made when they are asked for, and the marker of the run that has
its packages; and what the contract may ask of it. The one place where a new engine joins the contract tests: an engine
that is not named here is built with no options, in the plain run, and held to all of it.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests import smollm, tiny_kokoro


@dataclass(frozen=True)
class Case:
    """How to build one engine in tests."""

    options: Callable[[], dict[str, Any]] = field(default=dict)
    """Its options; tiny weights are made here."""
    marker: str = "model"
    """torch: `make test-kyutai`; vllm: `make test-vllm`; model: `make test`."""
    understands: bool = True
    """stt: whether speech becomes words, and a pause after it an end; random weights know neither."""
    audible: bool = True
    """tts: whether the first frame of a reply is sound already; random weights may be silent."""
    reply_words: int = 600
    """tts: a very long reply, for engines that would take minutes for 600 words."""


def _kyutai_tts() -> dict[str, Any]:
    from tests import tiny_kyutai  # needs torch, which only its run has

    return {
        "model": str(tiny_kyutai.tts()),
        "voices_dir": str(tiny_kyutai.voices()),
        "device": "cpu",
        "threads": 1,
        "temperature": 0,
    }


def _kyutai_stt() -> dict[str, Any]:
    from tests import tiny_kyutai  # needs torch, which only its run has

    return {"model": str(tiny_kyutai.stt()), "device": "cpu", "threads": 1}


def _pocket() -> dict[str, Any]:
    from tests import tiny_pocket  # needs torch and pocket-tts

    return tiny_pocket.options()


@cache
def _kokoro() -> dict[str, Any]:
    return tiny_kokoro.write(Path(tempfile.mkdtemp(prefix="antiphon-kokoro-")))


def _mixed() -> dict[str, Any]:
    return {"engines": {"kokoro": {"options": _kokoro()}, "null": {"options": _null_tts()}}}


def _null_tts() -> dict[str, Any]:
    return {"first_audio_after_s": 0.001, "speed_x_realtime": 500.0}


CASES: dict[tuple[str, str], Case] = {
    ("stt", "kyutai"): Case(_kyutai_stt, marker="torch", understands=False),
    ("tts", "kyutai"): Case(_kyutai_tts, marker="torch", understands=False, audible=False, reply_words=60),
    ("tts", "pocket"): Case(_pocket, marker="torch", understands=False),
    ("tts", "kokoro"): Case(_kokoro),
    ("tts", "mixed"): Case(_mixed),
    ("tts", "null"): Case(_null_tts),
    ("llm", "vllm"): Case(smollm.options, "vllm"),
}


def case(stage: str, engine: str) -> Case:
    """How to build it."""
    return CASES.get((stage, engine), Case())
