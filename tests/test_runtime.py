"""A web process as its requests see it: one runtime, however many come first, and what it says without Redis."""

import os
import subprocess
import sys

from prometheus_client import generate_latest

from tasks.streams import connect
from tests.house import ROOT
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


def run(program: str, state: str, media: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with the null profile and these servers."""
    env = {
        **os.environ,
        "ANTIPHON_PROFILE": "null",
        "ANTIPHON_REDIS_URL": state,
        "ANTIPHON_MEDIA_URL": media,
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_requests_that_come_together_get_the_same_runtime(server: Server) -> None:
    ran = run(FIRST_REQUESTS, server.url(0), server.url(1))
    assert ran.stdout.split() == ["1", "0"], ran.stdout + ran.stderr


#: Nothing listens there.
NOWHERE = "redis://127.0.0.1:1/0"

HEALTH = """
import gevent.monkey
gevent.monkey.patch_all()
from web.app import app
answer = app.test_client().get("/v1/health")
print(answer.status_code, answer.json["ok"], answer.json["stt_up"], answer.json["error"]["message"])
"""


def test_health_without_redis_is_an_answer_and_no_failure() -> None:
    ran = run(HEALTH, NOWHERE, NOWHERE)
    assert ran.stdout.startswith("503 False False Redis does not answer"), ran.stdout + ran.stderr


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
    ran = run(COMES_BACK, server.url(0), server.url(1))
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
