"""A web process as its requests see it: one runtime, however many come first, and what it says without Redis."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest
from prometheus_client import generate_latest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as dial

from config.redis_keys import WEB
from tasks import beats
from tasks.streams import connect
from tests.house import ROOT, WEB_PORTS
from tests.redis_server import Server
from web.vitals import Vitals

#: Under gevent's patches, as gunicorn runs it: what talks to Redis lets others run.
FIRST_REQUESTS = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent
from web.runtime import runtime
asking = [gevent.spawn(runtime) for _ in range(8)]
gevent.joinall(asking, timeout=20)
print(len({id(one.value) for one in asking if one.value is not None}), sum(one.value is None for one in asking))
"""


def test_requests_that_come_together_get_the_same_runtime(server: Server) -> None:
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": server.url(0),
        "ANTIPHON_MEDIA_URL": server.url(1),
    }
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split() == ["1", "0"], ran.stdout + ran.stderr


#: Nothing listens there.
NOWHERE = "redis://127.0.0.1:1/0"

HEALTH = """
import gevent.monkey
gevent.monkey.patch_all()
from web.app import app
answer = app.test_client().get("/v1/health")
print(answer.status_code, answer.json["ok"], answer.json["stt_up"], answer.json["error"])
"""


def test_health_without_redis_is_an_answer_and_no_failure() -> None:
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": NOWHERE,
        "ANTIPHON_MEDIA_URL": NOWHERE,
    }
    ran = subprocess.run(
        [sys.executable, "-c", HEALTH],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.startswith("503 False False Redis does not answer"), ran.stdout + ran.stderr


@contextmanager
def gunicorn(state_url: str, media_url: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A web server that listens, and nobody has asked for anything; its port."""
    port = next(port for port in WEB_PORTS if free(port))
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": state_url,
        "ANTIPHON_MEDIA_URL": media_url,
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:web.gunicorn", "-b", f"127.0.0.1:{port}", "web.app:app"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if "Booting worker" in line:
                break
        yield child, port
    finally:
        child.kill()
        child.wait()
        child.communicate()


def free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def eventually(so: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.server
def test_a_web_process_that_starts_without_redis_tells_its_clients_to_come_again_and_ends_when_told() -> None:
    with gunicorn(NOWHERE, NOWHERE) as (child, port):
        with pytest.raises(ConnectionClosed) as closed, dial(f"ws://127.0.0.1:{port}/v1/realtime") as client:
            client.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        with pytest.raises(HTTPError) as answered:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/voices", timeout=20)
        assert answered.value.code == 503
        assert json.load(answered.value)["error"] == "Redis does not answer: ConnectionError"
        began_s = time.monotonic()
        child.terminate()
        assert child.wait(20) == 0
        assert time.monotonic() - began_s < 4, "its worker had to be killed"


@pytest.mark.server
def test_a_web_process_is_seen_before_anybody_asks_it_for_something(server: Server) -> None:
    state = connect(server.url(0))
    for name in beats.workers(state, WEB):
        beats.retire(state, WEB, name)
    with gunicorn(server.url(0), server.url(1)):
        eventually(lambda: len(beats.workers(state, WEB)) == 1)
    state.close()


#: A client comes back to the process that still has its earlier connection, which then ends.
COMES_BACK = """
import gevent.monkey
gevent.monkey.patch_all()
import time
from config import redis_keys as keys
from config.settings import load
from tasks import fleet
from tasks.streams import connect
from web.admission import Admission
settings = load()
state, media = connect(settings.redis_url), connect(settings.media_url)
state.delete(keys.reserved(), keys.waiting(), keys.waiting_until())
admission = Admission(settings, "web-test", state, media)
admission._seen_s = time.monotonic()  # nobody but this test says how much room there is
admission.capacity = fleet.Capacity(0, "stt")
earlier, later = admission.ask("sid", first=True), admission.ask("sid", first=True)
admission.capacity = fleet.Capacity(1, "stt")
later.place = admission.again(later)
earlier.place = admission.again(earlier)
earlier.give_back(over=False)
print(earlier.place, later.place, [ticket is later for ticket in admission._held])
"""


def test_the_end_of_an_earlier_connection_costs_the_later_one_no_place(server: Server) -> None:
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": server.url(0),
        "ANTIPHON_MEDIA_URL": server.url(1),
    }
    ran = subprocess.run(
        [sys.executable, "-c", COMES_BACK],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split() == ["0", "0", "[True]"], ran.stdout + ran.stderr


def test_one_server_that_is_away_hides_nothing_that_the_other_says(server: Server) -> None:
    state, nowhere = connect(server.url(0)), connect(NOWHERE)
    state.lpush("llm", b"a task")
    seen = {"llm": {"workers": 7, "slots": 70, "free": 35}}
    try:
        Vitals({"media": nowhere, "state": state}, lambda: seen, list, lambda: 0, 600).look()
        said = generate_latest().decode()
        assert 'antiphon_queue_length{queue="llm"} 1.0' in said
        assert 'antiphon_slots_free{stage="llm"} 35.0' in said
    finally:
        state.delete("llm")
