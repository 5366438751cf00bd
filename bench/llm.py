"""Language-model engines side by side: first token, speed, how soon a cancelled reply frees its slot."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import at_most, show, spread
from bench.llm_run import TURNS, Found, Plan
from bench.machine import ROOT
from bench.report import Bar, Section, Table
from bench.server import BenchFailed

#: The venv of `make test-vllm`, and the model that it made.
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = ROOT / "build" / "models" / "smollm2-hf"

#: Those that say when a slot is free.
ENGINES = ("vllm", "llama")

FIRST_TOKEN_MS, FREED_MS = 300, 100

#: A model that is not measured by then never will be.
DEADLINE_S = 1200.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    conversations: int = 4
    turns: int = len(TURNS)
    cancels: int = 20


def options(engine: str) -> dict[str, Any]:
    """SmolLM2-135M for each of them, one thread each; the reasons stand at the settings."""
    if engine != "vllm":
        return {}
    return {
        "model": str(MODEL),
        "dtype": "bfloat16",
        "max_model_len": 1536,
        "kv_cache_mb": 512,
        "max_num_batched_tokens": 128,
        "enforce_eager": True,
        "repetition_penalty": 1.05,
        "min_p": 0.2,
        "top_p": 0.9,
    }


def measure(engines: Sequence[str], size: Size, python: Path, say: Callable[[str], None]) -> Section:
    """Each engine in a process of its own, one after the other."""
    found: dict[str, Found] = {}
    for engine in engines:
        say(f"llm: {engine}, {size.conversations} conversations")
        plan = Plan(engine, options(engine), size.conversations, size.turns, size.cancels)
        found[engine] = run(plan, python if engine == "vllm" else Path(sys.executable))
    return _section(found, size.conversations, size.turns)


def run(plan: Plan, python: Path) -> Found:
    """One engine. Raises BenchFailed."""
    if plan.engine == "vllm" and not (python.exists() and (MODEL / "config.json").exists()):
        raise BenchFailed("vLLM and its model are made by `make test-vllm`")
    command = [str(python), "-m", "bench.llm_run", msgspec.json.encode(plan).decode()]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{plan.engine} took longer than {DEADLINE_S:.0f} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise BenchFailed(f"{plan.engine}: {done.stderr.strip()[-600:]}")
    return msgspec.json.decode(lines[-1], type=Found)


def _section(found: Mapping[str, Found], conversations: int, turns: int) -> Section:
    packages = {name: number for one in found.values() for name, number in one.packages.items()}
    return Section(
        "llm",
        "Language models side by side",
        _bars(found["vllm"], conversations) if "vllm" in found else (),
        [_table(found, conversations)],
        [
            "SmolLM2-135M-Instruct for both: llama.cpp from its Q4_1 file (5 bits a weight), vLLM from the same "
            "rounded weights in bfloat16. Each engine in a process of its own, one after the other, the same prompts: "
            f"{conversations} conversations that all ask at the same moment, {turns} turns each, answers of up to "
            "40 tokens. First tokens count from the second turn on.",
            "Cancelled: from the end of the iterator until the engine holds the request no more, while the other "
            "conversations go on. Loop late: of our asyncio loop in the engine's process, looked at every 5 ms.",
            "Packages: " + ", ".join(f"{name} {number}" for name, number in packages.items()) + ".",
        ],
        {engine: msgspec.to_builtins(one) for engine, one in found.items()},
    )


def _bars(vllm: Found, conversations: int) -> Sequence[Bar]:
    first, freed = spread(vllm.first_token_ms).p95, spread(vllm.freed_ms).p95
    return [
        Bar(
            f"vLLM, {conversations} at once: first token, p95", f"≤ {FIRST_TOKEN_MS} ms", f"{show(first)} ms",
            at_most(first, FIRST_TOKEN_MS),
        ),
        Bar("vLLM: cancelled → slot free, p95", f"≤ {FREED_MS} ms", f"{show(freed)} ms", at_most(freed, FREED_MS)),
    ]  # fmt: skip


def _table(found: Mapping[str, Found], conversations: int) -> Table:
    rows: dict[str, Callable[[Found], float | None]] = {
        f"first token, {conversations} at once, median ms": lambda one: spread(one.first_token_ms).median,
        f"first token, {conversations} at once, p95 ms": lambda one: spread(one.first_token_ms).p95,
        "first turn of all, p95 ms": lambda one: spread(one.cold_ms).p95,
        "first token, alone, median ms": lambda one: spread(one.alone_ms).median,
        "first token, alone, p95 ms": lambda one: spread(one.alone_ms).p95,
        f"tokens a second, {conversations} at once": lambda one: one.tokens_per_s,
        "tokens a second, alone": lambda one: one.alone_tokens_per_s,
        "cancelled → slot free, median ms": lambda one: spread(one.freed_ms).median,
        "cancelled → slot free, p95 ms": lambda one: spread(one.freed_ms).p95,
        "loop late, p95 ms": lambda one: spread(one.loop_late_ms).p95,
        "start and warm-up, s": lambda one: one.ready_s,
        "memory (RSS) with children, MB": lambda one: one.rss_mb,
    }
    engines = list(found)
    ratio = len(engines) == 2
    lines = []
    for name, figure in rows.items():
        values = [figure(one) for one in found.values()]
        cells = [show(value) for value in values]
        if ratio:
            first, second = values
            cells.append(show(first / second, 2) if first is not None and second else "–")
        lines.append((name, *cells))
    return Table(("", *engines, *(["/".join(engines)] if ratio else [])), lines)
