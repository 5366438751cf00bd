"""Which of two builds of a framework `make` installs, told by what it would do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    """The project's recipes, and nothing else but what says that all is installed."""
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for stamp in ("bin/python", ".installed", ".installed-kokoro", ".installed-whisper", ".installed-dev"):
        (tmp_path / ".venv" / stamp).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def would(folder, *arguments):
    return subprocess.run(
        ["make", "-n", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("venv", "make", "variable", "cpu", "gpu"),
    [
        ("kyutai", "setup-kyutai", "TORCH", "requirements/torch-cpu.txt", "requirements/torch.txt"),
        ("vllm", "setup-vllm", "VLLM", "requirements/vllm-cpu.txt", "requirements/vllm.txt"),
    ],
)
def test_another_build_is_installed_when_it_is_named_and_then_stays(folder, venv, make, variable, cpu, gpu):
    installs = lambda lock, *arguments: f"-r {lock}" in would(folder, *arguments)  # noqa: E731
    assert installs(cpu, make) and installs(gpu, make, f"{variable}={gpu}")
    stamp = folder / f".venv-{venv}/.installed"
    stamp.parent.mkdir()
    for there in ("", cpu):
        stamp.write_text(there)
        assert not installs(cpu, make) and not installs(cpu, make, f"{variable}={cpu}")
        assert installs(gpu, make, f"{variable}={gpu}"), "not the CPU's, for being there"
    stamp.write_text(f"{gpu}\n")
    assert not installs(cpu, f"test-{venv}"), "tests leave a GPU's build alone"
    assert installs(cpu, make, f"{variable}={cpu}")
