"""The files of deploy/ and the Dockerfile as Docker reads them: variables filled in, overlays merged, lines joined."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from config.redis_keys import STAGES, VOICES
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
SWARM = ROOT / "deploy/swarm"
COMPOSE = ROOT / "deploy/compose"
STACK = SWARM / "stack.yml"
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE_FILES = [COMPOSE / "cpu.yml", COMPOSE / "gpu1.yml", COMPOSE / "gpu3.yml"]
#: On top of any of them.
COMPOSE_LLM_URL = COMPOSE / "llm-url.yml"
OVERLAYS = {path.name.split(".")[1]: path for path in sorted(SWARM.glob("stack.*.yml"))}

WORKERS = (*STAGES, VOICES)
OURS = ("web", *WORKERS, "flower")
REDIS = ("redis-state", "redis-media")

#: `${NAME:-default}` and `${NAME:?why it is needed}`, the only forms of variable in our files.
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+):([-?])([^}]*)\}")

#: What an operator must say of a stack.
SAID = {
    "PUBLIC_HOST": "voice.example.org",
    "GRAFANA_HOST": "grafana.example.org",
    "FLOWER_HOST": "flower.example.org",
    "OPERATORS": "192.0.2.0/24, 2001:db8::/32",
    "API_KEYS": f"tests:sha256:{'0' * 64}",
    "LLM_URL": "http://llm.example.org/v1",
    "LLM_MODEL": "a-model",
}


def read(path: Path, **variables: str) -> dict[str, Any]:
    """A file with these variables set, and the rest as it says."""

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        return variables.get(name) or (text if kind == "-" else SAID[name])

    return yaml.safe_load(VARIABLE.sub(value, path.read_text()).replace("$$", "$"))


def service(name: str, path: Path = STACK, **variables: str) -> dict[str, Any]:
    return read(path, **variables)["services"][name]


def required(path: Path) -> set[str]:
    """Variables without a default."""
    return {name for name, kind, _ in VARIABLE.findall(path.read_text()) if kind == "?"}


def sourced(path: Path) -> dict[str, str]:
    """What a shell finds in an env file."""
    read = subprocess.run(
        ["bash", "-c", f'set -a; . "{path}"; env -0'], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    named = set(re.findall(r"^([A-Z_]+)=", path.read_text(), re.MULTILINE))
    return {
        name: value
        for name, value in (line.split("=", 1) for line in read.stdout.split("\0") if "=" in line)
        if name in named
    }


def docker(*overlays: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`docker stack config` of the stack and what lies on top; no engine is asked."""
    if shutil.which("docker") is None:
        missing("the docker client")
    files = [part for path in (STACK, *(OVERLAYS[name] for name in overlays)) for part in ("-c", str(path))]
    return subprocess.run(
        ["docker", "stack", "config", *files], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], **variables},
    )  # fmt: skip


def merged(*overlays: str, **variables: str) -> dict[str, Any]:
    """The same, read."""
    done = docker(*overlays, **{**SAID, **variables})
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout.replace("$$", "$"))


def constant(path: str, name: str) -> Any:
    """A literal assigned in a module, without importing it."""
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m)", duration)
    assert found, duration
    return int(found[1]) * {"s": 1, "m": 60}[found[2]]


def mebibytes(size: str) -> float:
    """`512M`, `2G` as Docker has it, `512mb`, `2gb` as Redis."""
    found = re.fullmatch(r"(\d+)(m|g)b?", size.lower())
    assert found, size
    return int(found[1]) * {"m": 1, "g": 1024}[found[2]]


def tool(name: str) -> str:
    """A program of the development lock, or of the machine."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        missing(name)
    return str(found)


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and, before them, of those it stands on."""
    steps, begun = instructions(), False
    own: list[tuple[str, str]] = []
    for word, said in steps:
        if word == "FROM":
            begun = said.endswith(f" AS {name}")
            if begun and not said.startswith("${"):
                own += stage(said.split(" ")[0])
        if begun:
            own.append((word, said))
    return own
