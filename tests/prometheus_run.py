"""A private Prometheus for one test: its own port and folder, ended with the test."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import promql
from tests.conftest import missing
from tests.ports import free_port
from tests.up_run import eventually


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        """Its HTTP API. Raises AssertionError with what it says when it does not like the question."""
        asked = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{asked}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def ready(self) -> bool:
        """It answers questions."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def series(self, query: str) -> list[dict[str, Any]]:
        """What a query gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=query)["result"]
        return found


@contextmanager
def running(folder: Path, configuration: dict[str, Any]) -> Iterator[Prometheus]:
    """One that scrapes twice a second, as long as the context lasts: a test cannot wait for a quarter of a minute."""
    if (program := promql.program("prometheus")) is None:
        missing("prometheus (tools/dev-packages)")
        return
    fast = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump({**configuration, "global": fast}))
    port = free_port()
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], stdout=log, stderr=log
        )
    try:
        eventually(Prometheus(port).ready)
        yield Prometheus(port)
    finally:
        child.terminate()
        child.wait(40)
