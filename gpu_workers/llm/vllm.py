"""A Hugging Face model by vLLM. Settings and needs are known without it; it is imported when the engine is built."""

import os
from typing import Any

from gpu_workers.language import weights_check
from gpu_workers.language.vllm_settings import Settings, built_for_cpus, needs

__all__ = ["Settings", "build", "needs"]


def build(settings: Settings, slots: int) -> Any:
    """The engine, its model not yet loaded. ConfigError when its folder is not whole."""
    folder = settings.folder
    if folder is not None:
        weights_check.check(folder)
    # vLLM is set up by the environment, before its first import, and its own processes inherit it
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # nobody is told what runs here
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork would copy the locks of our threads
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if cpu := built_for_cpus():
        # the core computes by itself then; it would wait for a worker process by spinning, half a core for nothing
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["OMP_NUM_THREADS"] = str(settings.cpu_threads)
    from gpu_workers.language.vllm_engine import VllmLlm

    return VllmLlm(settings, slots, str(folder or settings.model), cpu=cpu)
