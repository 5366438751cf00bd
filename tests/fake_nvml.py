"""GPUs for tests: NVIDIA's library, as far as we call it, built from `fake_nvml.c`; all on this side of it is real."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing

#: A GPU as the library is told of it: model, total and free MiB, percent busy.
L40S, L4, FULL = "L40S:46068:45600:25", "L4:23034:22000:-", "T4:15360:100:99"


def built(folder: Path) -> Path:
    """The folder in which a process finds it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("a C compiler")
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([str(compiler), "-shared", "-fPIC", "-o", library, source], check=True)
    return folder


def machine(folder: Path, *gpus: str) -> dict[str, str]:
    """The environment of a process on a machine with these GPUs."""
    return {"LD_LIBRARY_PATH": str(folder), "NVML_GPUS": ",".join(gpus)}


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built once."""
    return built(tmp_path_factory.mktemp("nvml"))
