"""Flower: it asks for its password, shows the queues to who has it, and lets Prometheus read without."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.redis_keys import STAGES, VOICES
from tests import redis_server
from tests.conftest import needs_redis
from tests.ports import free_port
from tests.up_run import eventually

ROOT = Path(__file__).parent.parent
PASSWORD = "let-me-in"

pytestmark = [pytest.mark.server, pytest.mark.slow]

Get = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def get() -> Iterator[Get]:
    """Asks a Flower that was started as in deploy/swarm/stack.yml: status and text."""
    executable = needs_redis()
    port = free_port()

    def ask(path: str, password: str | None = None) -> tuple[int, str]:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        if password is not None:
            user = base64.b64encode(f"antiphon:{password}".encode()).decode()
            asked.add_header("Authorization", f"Basic {user}")
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    with redis_server.running(executable) as server:
        urls = {"ANTIPHON_REDIS_URL": server.url(0), "ANTIPHON_MEDIA_URL": server.url(1)}
        said = {
            "ANTIPHON_PROFILE": "null",
            "FLOWER_BASIC_AUTH": f"antiphon:{PASSWORD}",
            "PYTHONPATH": str(ROOT),
        }
        command = ["celery", "-A", "tasks", "flower", "--address=127.0.0.1", f"--port={port}"]
        child = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **urls, **said},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            eventually(lambda: ask("/healthcheck")[0] == 200)
            yield ask
        finally:
            child.terminate()
            child.wait(40)


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/queues/length"])
def test_a_page_is_shown_to_who_has_the_password(get, path):
    assert get(path)[0] == 401
    assert get(path, "wrong")[0] == 401
    assert get(path, PASSWORD)[0] == 200


def test_the_queues_are_shown(get):
    queues = {*STAGES, VOICES}
    told = json.loads(get("/api/queues/length", PASSWORD)[1])["active_queues"]
    assert {one["name"]: one["messages"] for one in told} == dict.fromkeys(queues, 0)
    page = get("/broker", PASSWORD)[1]
    assert all(f'id="{queue}"' in page for queue in queues)


def test_prometheus_needs_no_password_and_learns_none(get):
    status, page = get("/metrics")
    assert (status, PASSWORD in page) == (200, False)
    assert "flower_worker_online" in page
