"""A web process from its start: what it says without Redis, and that it is seen before anybody asks for something."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as dial

from config.redis_keys import WEB
from tasks import beats
from tasks.streams import connect
from tests.house import ROOT
from tests.redis_server import Server

#: Nothing listens there.
NOWHERE = "redis://127.0.0.1:1/0"

#: For a machine under load.
DEADLINE_S = 20.0

#: Gunicorn kills a worker that has not ended 5 s after it was told to.
ENDS_S = 4.0


@contextmanager
def gunicorn(state: str, media: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A web server with one worker, of which nobody has asked anything; its address."""
    child = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:web.gunicorn", "-b", "127.0.0.1:0", "web.app:app"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "ANTIPHON_PROFILE": "null", "ANTIPHON_REDIS_URL": state, "ANTIPHON_MEDIA_URL": media},
    )  # fmt: skip
    try:
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said += line
            if "Booting worker" in line:
                break
        listening = re.search(r"Listening at: http://(\S+)", said)
        assert listening is not None, said
        yield child, listening[1]
    finally:
        child.kill()
        child.communicate()


@pytest.mark.server
def test_without_redis_clients_are_told_to_come_again_and_it_ends_when_it_is_told() -> None:
    with gunicorn(NOWHERE, NOWHERE) as (child, address):
        with pytest.raises(ConnectionClosed) as closed, dial(f"ws://{address}/v1/realtime") as client:
            client.recv(timeout=DEADLINE_S)
        assert closed.value.rcvd is not None, "no close frame"
        assert closed.value.rcvd.code == 1012
        with pytest.raises(HTTPError) as answered:
            urllib.request.urlopen(f"http://{address}/v1/voices", timeout=DEADLINE_S)
        assert answered.value.code == 503
        told = json.load(answered.value)["error"]
        assert (told["code"], told["message"]) == (
            "redis_away",
            "Redis does not answer: ConnectionError; try again in a few seconds",
        )
        began_s = time.monotonic()
        child.terminate()
        assert child.wait(DEADLINE_S) == 0
        assert time.monotonic() - began_s < ENDS_S, "its worker had to be killed"


@pytest.mark.server
def test_it_is_seen_before_anybody_asks_it_for_something(server: Server) -> None:
    state = connect(server.url(0))
    for name in beats.workers(state, WEB):
        beats.retire(state, WEB, name)
    with gunicorn(server.url(0), server.url(1)):
        deadline_s = time.monotonic() + DEADLINE_S
        while not beats.workers(state, WEB):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    state.close()
