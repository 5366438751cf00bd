"""Between machines: one clock for all, connections that notice a dead link, a broker that cannot be reached."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from config.messages import Audio
from tasks import beats, streams
from tasks.shared_time import RECKON_ANEW_S, SharedTime
from tasks.shared_time import shared_time as ours

#: Two looks at one clock lie no further apart on a machine under load.
NEAR_S = 0.4


def off_by(
    seconds: float, *, round_trip_s: float = 0.002, at_s: float | None = None
) -> tuple[float, float, float]:
    """An answer of a server whose clock is so much ahead of ours."""
    asked_s = time.monotonic() if at_s is None else at_s
    now_s = time.time() + (asked_s - time.monotonic())
    return now_s + seconds + round_trip_s / 2, asked_s, asked_s + round_trip_s


def test_until_the_server_was_asked_our_own_clock_stands_for_its() -> None:
    assert abs(SharedTime().ahead_s) < NEAR_S


@pytest.mark.parametrize("seconds", [300.0, -300.0, 0.0])
def test_the_server_s_clock_is_followed_and_ours_known_to_be_off(seconds: float) -> None:
    shared = SharedTime()
    shared.learn(*off_by(seconds))
    assert abs(shared.now_s() - (time.time() + seconds)) < NEAR_S
    assert abs(shared.ahead_s + seconds) < NEAR_S


def test_a_slow_answer_does_not_replace_a_quick_one_until_that_is_old() -> None:
    shared = SharedTime()
    began_s = time.monotonic()
    shared.learn(*off_by(0.0, at_s=began_s))
    shared.learn(*off_by(0.8, round_trip_s=2.0, at_s=began_s))
    assert abs(shared.ahead_s) < NEAR_S
    shared.learn(*off_by(0.8, round_trip_s=2.0, at_s=began_s + RECKON_ANEW_S))
    assert abs(shared.ahead_s + 0.8) < NEAR_S


@pytest.mark.parametrize("seconds", [50.0, -50.0])
def test_another_server_s_clock_is_followed_at_once_though_it_answers_slower(seconds: float) -> None:
    shared = SharedTime()
    shared.learn(*off_by(0.0, round_trip_s=0.0002))
    shared.learn(*off_by(seconds, round_trip_s=0.003))
    assert abs(shared.ahead_s + seconds) < NEAR_S, "by the old one all its input would be trimmed, or none"


def test_a_clock_that_is_off_is_told_once_until_it_is_right_again(caplog: pytest.LogCaptureFixture) -> None:
    shared = SharedTime()
    for seconds in (300.0, 300.0, 0.0, -300.0):
        shared.learn(*off_by(seconds, round_trip_s=0.001))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "300.0 s behind" in said[0] and "300.0 s ahead of" in said[1], said


def test_input_is_trimmed_by_the_server_s_clock_however_wrong_ours_is(
    media: redis.Redis, sid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams.follow_clock(media)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # the year 2096, for this process alone
    inputs = streams.Inputs(media, keep_s=30)
    for pos in range(400):  # more than Redis keeps in one node, which it would trim as a whole
        inputs.append([(sid, Audio(pos, [bytes(640)], ours.now_s()))])
    assert media.xlen(f"in:{{{sid}}}") == 400


def test_a_worker_is_there_as_long_as_the_server_keeps_its_beat(
    state: redis.Redis, new_sid: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = new_sid()
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: 1.0)
        beats.beat(state, "stt", name, {"free": 1}, ttl_s=30)
    assert name in beats.workers(state, "stt")
    beats.retire(state, "stt", name)
    assert name not in beats.workers(state, "stt")


ASK = """
from tasks import submit
from tasks.streams import RedisError
submit.prefill("x")  # may be lost
try:
    submit.listen("x")
except RedisError as error:
    print("as Redis:", error)
"""


def test_a_broker_that_cannot_be_reached_is_told_as_redis_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        check=False,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "ANTIPHON_PROFILE": "null", "ANTIPHON_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("as Redis: the broker does not answer"), done.stderr[-2000:]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has it")
def test_a_link_that_carries_nothing_is_noticed_by_every_connection_to_redis(state: redis.Redis) -> None:
    with streams.connect(f"redis://{address(state)}") as client:
        connection = client.connection_pool.get_connection()
        options = {
            name: connection._sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        client.connection_pool.release(connection)
    probed_s = options["TCP_KEEPIDLE"] + options["TCP_KEEPINTVL"] * options["TCP_KEEPCNT"]
    assert probed_s == options["TCP_USER_TIMEOUT"] / 1000 <= 6


def address(client: redis.Redis) -> str:
    known = client.connection_pool.connection_kwargs
    return f":{known['password']}@{known['host']}:{known['port']}/0"
