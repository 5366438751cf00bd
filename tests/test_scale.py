"""Advice on replicas: up at once, down after a quiet time, the same from every web process; and what follows it."""

import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from bench.scale import POLICIES, Scope, days, rules
from bench.scale_day import Curve
from config.settings import load
from config.tuning import AdmissionSettings, ReplicaSettings, ScaleSettings
from config.versions import VERSION
from tasks import beats, queues
from tasks.leases import Reservations
from tests.house import ROOT, open_house
from web import scale
from web.scale import Advice, Demand, QueueLoad, Sessions, advise, demand
from web.scaling import Scaling

RULES = ScaleSettings(quiet_s=60.0, tts=ReplicaSettings(least=1, most=8))
SHARES = AdmissionSettings()
NOBODY = Sessions(0)

#: A memory that reaches back far enough, of a time in which nothing was needed.
CALM = {98: 0.0, 99: 0.0}


def advised(
    load: QueueLoad,
    sessions: Sessions = NOBODY,
    recent: dict[int, float] = CALM,
    rules: ScaleSettings = RULES,
) -> Advice:
    """For the queue tts, in the piece of time 100."""
    now = demand("tts", load, sessions, rules, SHARES)
    return advise("tts", now, load, {**recent, 100: now.seats}, 100, rules, 10)


@pytest.mark.parametrize(
    ("load", "sessions", "expected"),
    [
        pytest.param(QueueLoad(2, 20, 15), NOBODY, Advice(2, "slots"), id="a quarter free is enough"),
        pytest.param(QueueLoad(2, 20, 16), NOBODY, Advice(3, "slots"), id="less than a quarter free: one more"),
        pytest.param(QueueLoad(2, 20, 20, queued=40), NOBODY, Advice(8, "slots"), id="a queue counts as seats"),
        pytest.param(QueueLoad(2, 20, 0), Sessions(30), Advice(3, "slots"), id="sessions count by admission's share"),
        pytest.param(QueueLoad(2, 20, 0), Sessions(30, 30), Advice(5, "slots"), id="those in the line, too"),
        pytest.param(
            QueueLoad(4, 40, 4, queued=1, oldest_s=2.0), NOBODY, Advice(5, "oldest task"),
            id="a task that waits although there are slots: a quarter more",
        ),
        pytest.param(
            QueueLoad(4, 40, 4), Sessions(20, late_replies=3), Advice(5, "late audio"), id="late audio: the same"
        ),
        pytest.param(QueueLoad(0, 0, 0), NOBODY, Advice(1, "least"), id="never fewer than the least"),
        pytest.param(
            QueueLoad(8, 80, 80, queued=20), NOBODY, Advice(8, "most; 14 are needed"), id="never more than the most"
        ),
        pytest.param(QueueLoad(0, 0, 0, queued=12), NOBODY, Advice(2, "slots"), id="without workers, by the settings"),
        pytest.param(QueueLoad(4, 40, 4), NOBODY, Advice(1, "slots"), id="a quiet time with little to do: fewer"),
    ],
)  # fmt: skip
def test_workers_follow_what_is_seen(load: QueueLoad, sessions: Sessions, expected: Advice) -> None:
    assert advised(load, sessions) == expected


def test_what_was_needed_in_the_quiet_time_is_kept() -> None:
    assert advised(QueueLoad(4, 40, 4), recent={98: 0.0, 99: 29.0}) == Advice(4, "quiet time")


def test_what_was_needed_before_it_is_forgotten() -> None:
    assert advised(QueueLoad(4, 40, 4), recent={97: 29.0, 98: 0.0}).replicas == 1


def test_a_worker_that_would_be_missed_by_the_next_few_sessions_stays() -> None:
    assert advised(QueueLoad(3, 30, 14)) == Advice(3, "quiet time")
    assert advised(QueueLoad(3, 30, 13)) == Advice(2, "slots")


def test_workers_that_still_start_are_not_called_off_while_the_burst_is_remembered() -> None:
    assert advised(QueueLoad(2, 20, 20), recent={98: 0.0, 99: 50.0}) == Advice(7, "quiet time")


def test_with_nothing_remembered_nobody_is_sent_away() -> None:
    assert advised(QueueLoad(6, 60, 4), recent={}) == Advice(6, "quiet time")


def test_late_audio_asks_for_no_more_listeners() -> None:
    assert demand("stt", QueueLoad(4, 40, 4), Sessions(4, late_replies=9), RULES, SHARES).why == "slots"


def test_a_pressed_queue_does_not_grow_while_its_new_worker_starts() -> None:
    pressed = QueueLoad(4, 40, 4, queued=1, oldest_s=5.0)
    first = demand("tts", pressed, NOBODY, RULES, SHARES)
    assert advised(pressed, recent={98: 0.0, 99: first.seats}).replicas == 5


def test_rules_that_leave_no_slot_to_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="must leave slots to be used"):
        ScaleSettings(free_share=0.9, spare_share=0.2)
    with pytest.raises(ValueError, match="least must not be more than most"):
        ReplicaSettings(least=3, most=2)


# --- a day


def test_through_a_day_it_follows_without_flapping_and_better_than_simple_policies() -> None:
    scope = Scope(days=1, curve=Curve(day=60, bursts_h=(8.5,), begin_h=6.0, end_h=14.0))
    found = {name: days(name, scope)[0] for name in POLICIES}
    ours, of_the_moment, thresholds = found.values()
    assert ours.sessions > 2000
    assert ours.refused_share <= 0.01
    assert ours.displaced == 0
    assert ours.flaps <= 4
    assert ours.changes * 3 < min(of_the_moment.changes, thresholds.changes)
    assert ours.refused_share <= min(of_the_moment.refused_share, thresholds.refused_share)
    assert ours.worker_hours < 2 * ours.least_hours


def test_a_day_with_no_quiet_time_flaps() -> None:
    """The claim above could fail."""
    scope = Scope(days=1, curve=Curve(day=60, begin_h=9.0, end_h=12.0))
    assert days("of the moment, without a quiet time", scope)[0].flaps > 20
    assert rules().quiet_s > 0


# --- several web processes, one memory


@pytest.fixture
def fresh(server: Any) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    """Databases that no other test uses; a queue's names are the same for all."""
    with server.client(11) as state, server.client(12) as media:
        state.flushdb()
        media.flushdb()
        yield state, media


def scaling(fresh: tuple[redis.Redis, redis.Redis]) -> Scaling:
    state, media = fresh
    return Scaling(load("null"), state, media, Reservations(state, 60_000, 3000))


def beat(state: redis.Redis, stage: str, *, slots: int, free: int) -> None:
    beats.beat(state, stage, f"{stage}-host-1", {"slots": slots, "free": free, "speaks": VERSION}, 60)


def test_every_web_process_gives_the_same_answer_and_all_remember(
    fresh: tuple[redis.Redis, redis.Redis],
) -> None:
    state, _ = fresh
    one, other = scaling(fresh), scaling(fresh)
    now_s = 1_800_000_000.0
    for stage in ("stt", "llm", "tts"):
        beat(state, stage, slots=10, free=0)
    busy = one.look(now_s)
    assert other.look(now_s + 1)["tts"] == busy["tts"] == 2
    beat(state, "tts", slots=10, free=10)
    later = other.look(now_s + 300)
    assert (later["tts"], later["why"]["tts"]) == (2, "quiet time")
    assert one.look(now_s + 700)["tts"] == 1
    assert busy["seen"]["tts"] == {"replicas": 1, "slots": 10, "taken": 10, "queued": 0, "oldest_s": 0.0}


def test_late_replies_of_all_web_processes_count_for_a_minute(fresh: tuple[redis.Redis, redis.Redis]) -> None:
    _, media = fresh
    for reply in (1, 2, 2):
        queues.note_late_reply(media, "s1", reply)
    assert scaling(fresh).look()["seen"]["sessions"]["late_replies"] == 2
    assert queues.late_replies(media, 4_000_000_000.0) == 0


@pytest.mark.server
@pytest.mark.slow
def test_a_server_advises_a_flat_number_for_each_queue(tmp_path: Path) -> None:
    with open_house(tmp_path, workers=1, env={"ANTIPHON_SCALE__LLM__LEAST": "2"}) as house:
        said = json.loads(house.get("/v1/scale"))
        assert (said["stt"], said["llm"], said["tts"]) == (1, 2, 1)
        assert said["why"]["llm"] == "least"
        assert said["seen"]["stt"]["slots"] == 256


# --- the script that follows


@contextmanager
def answering(status: int, body: Any, heard: Callable[[], object] = bool) -> Iterator[str]:
    """A server that answers this, and tells each time that it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/scale"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def follow(tmp_path: Path) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs the script once: status, output, what Docker was told. That has three replicas of all; `gone` is not there,
    `moving` is being updated.
    """
    told = tmp_path / "told"
    fake = tmp_path / "docker"
    fake.write_text(
        f"""#!/bin/sh
echo "$@" >> {told}
case "$*" in
    *shop_gone) echo "Status: Error: no such service: shop_gone, Code: 1" >&2; exit 1 ;;
    *inspect*shop_moving) echo 3 updating ;;
    *inspect*) echo 3 completed ;;
esac
"""
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)

    def run(url: str, *options: str) -> tuple[int, str, list[str]]:
        ran = subprocess.run(
            [sys.executable, ROOT / "deploy/swarm/autoscale", "--url", url, "--stack", "shop", "--once", *options],
            check=False, capture_output=True, text=True, timeout=20, env={**os.environ, "PATH": f"{tmp_path}:/bin"},
        )  # fmt: skip
        lines = told.read_text().splitlines() if told.exists() else []
        return ran.returncode, ran.stdout + ran.stderr, [line for line in lines if " scale " in line]

    return run


def test_the_script_scales_what_differs(follow: Callable[..., tuple[int, str, list[str]]]) -> None:
    with answering(200, {"stt": 3, "llm": 2, "tts": 5, "why": {"tts": "slots"}}) as url:
        status, output, told = follow(url)
    assert (status, told) == (0, ["service scale --detach shop_llm=2", "service scale --detach shop_tts=5"])
    assert "shop_tts: 3 -> 5 (slots)" in output


def test_a_service_that_is_missing_is_named_and_the_others_are_scaled(
    follow: Callable[..., tuple[int, str, list[str]]],
) -> None:
    with answering(200, {"stt": 4, "gone": 2, "tts": 5}) as url:
        status, output, told = follow(url, "--queues", "stt,gone,unheard,tts")
    assert (status, told) == (1, ["service scale --detach shop_stt=4", "service scale --detach shop_tts=5"])
    assert re.search(r"shop_gone stays as it is: docker service inspect .*no such service: shop_gone", output)
    assert re.search(r"shop_unheard stays as it is: http\S+ says nothing of unheard", output)


def test_a_service_that_is_being_updated_is_let_alone(
    follow: Callable[..., tuple[int, str, list[str]]],
) -> None:
    """Swarm would forget the version that it may have to go back to."""
    with answering(200, {"moving": 4, "tts": 5}) as url:
        status, output, told = follow(url, "--queues", "moving,tts")
    assert (status, told) == (1, ["service scale --detach shop_tts=5"])
    assert "shop_moving stays as it is: it is just being updated" in output


def test_who_is_no_operator_is_told_where_operators_are_named(
    follow: Callable[..., tuple[int, str, list[str]]],
) -> None:
    with answering(403, {}) as url:
        assert "is this machine's address among OPERATORS?" in follow(url)[1]


def test_the_script_changes_nothing_when_told_so(follow: Callable[..., tuple[int, str, list[str]]]) -> None:
    with answering(200, {"stt": 9, "llm": 3, "tts": 3}) as url:
        status, output, told = follow(url, "--dry-run")
    assert (status, told) == (0, []) and "shop_stt: 3 -> 9" in output


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, {"error": "away"}), (200, b"<html>"), (200, {"tts": "many"}), (200, {"tts": True}), (200, [1])],
)
def test_the_script_changes_nothing_on_an_answer_that_makes_no_sense(
    status: int, body: Any, follow: Callable[..., tuple[int, str, list[str]]]
) -> None:
    with answering(status, body) as url:
        ended, output, told = follow(url)
    assert (ended, told) == (1, []) and "nothing is changed" in output


def test_the_script_says_once_what_it_cannot_do_for_a_while() -> None:
    asked = threading.Semaphore(0)
    with answering(503, {}, asked.release) as url:
        command = [sys.executable, str(ROOT / "deploy/swarm/autoscale"), "--url", url, "--every", "0.01"]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert all(asked.acquire(timeout=10) for _ in range(4))
        running.terminate()
        output, _ = running.communicate(timeout=10)
    assert output.count("nothing is changed") == 1


def test_the_demand_of_a_pressed_queue_is_never_less_than_its_seats() -> None:
    load = QueueLoad(1, 10, 10, queued=90, oldest_s=9.0)
    assert demand("tts", load, NOBODY, RULES, SHARES) == Demand(100, "slots")
    assert scale.workers(100, 10, 0.25) == 14
