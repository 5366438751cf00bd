"""A worker's threads beside its loops, round by round: whose leases are renewed, which commands are passed on."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from celery.app.trace import trace_task

from config import redis_keys as keys
from config.messages import Cancel, Drain, Listen, encode
from config.redis_keys import ASKED, VOICES
from config.settings import load
from config.tuning import OwnershipSettings
from tasks import beats, control, fleet, queues, recordings, streams, worker
from tasks.control import ControlListener
from tasks.duties import listen
from tasks.leases import Emitter, Lease, Leases
from tasks.stage import Keeper, Stage, Ties
from tasks.stt_loop import Ear
from tasks.voices import Desk
from tests.house import ROOT

#: A database that no other test uses: what is kept there is spoilt.
SPOILT = 8


def test_a_session_without_a_web_process_is_forgotten_when_its_seat_is_over(state, media, new_sid):
    sid, leases = new_sid(), Leases(state, 1500)
    ties = Ties(load("null"), "me-1", state, media, leases, Emitter(media, 100, 60), lambda *_: None)
    stage = Stage("stt", ties, slots=1)
    keeper = Keeper([stage], ties, {})
    leases.create(sid, {"listen": b""}, 60)
    lease = leases.claim("stt", sid, "me-1")
    assert isinstance(lease, Lease)
    ear = Ear(lease, 0, listen=Listen("pcm16"))
    stage.loop.seats[sid, 0] = ear
    keeper._keep(stage)
    assert keeper._orphans and not ear.lost
    del stage.loop.seats[sid, 0]
    keeper._keep(stage)
    assert not keeper._orphans, "were it seated again, it would be given up at once"
    keeper.retire()


def test_a_heartbeat_says_what_is_left_while_it_drains(state, media):
    ties = Ties(
        load("null"), "me-1", state, media, Leases(state, 1500), Emitter(media, 100, 60), lambda *_: None
    )
    stage = Stage("tts", ties, slots=4)
    for _ in range(3):
        stage.loop.take_slot()
    stage.loop.drain()
    stage.loop.give_slot_back(0)
    keeper = Keeper([stage], ties, {})
    keeper._keep(stage)
    (seen,) = [one for one in fleet.look(state, ("tts",)) if one.name == "me-1"]
    assert (seen.slots, seen.free, seen.taken, seen.draining) == (4, 0, 2, True)
    keeper.retire()


@pytest.mark.parametrize(
    ("says", "taken"),
    [({"slots": 9, "free": 2}, 7), ({"slots": 9, "free": 0, "draining": 1}, None)],
    ids=["it works", "it drains, and free is 0 then"],
)
def test_of_a_worker_of_the_release_before_the_free_slots_say_what_is_taken(state, new_sid, says, taken):
    name = new_sid()
    beats.beat(state, "tts", name, {**fleet.introduction(), **says}, 60)
    (seen,) = [one for one in fleet.look(state, ("tts",)) if one.name == name]
    assert seen.taken == taken
    beats.retire(state, "tts", name)


@pytest.mark.parametrize(("stage", "lost"), [("stt", True), ("tts", True), ("llm", False)])
def test_slots_of_a_session_whose_web_process_is_long_gone_are_free_again(state, media, new_sid, stage, lost):
    """A voice that nobody hears is never spoken to its end; a reply is written to its end."""
    ties = Ties(
        load("null"), "me-1", state, media, Leases(state, 1500), Emitter(media, 100, 60), lambda *_: None
    )
    keeper, sid = Keeper([], ties, {}), new_sid()
    ties.leases.create(sid, {"listen": b""}, 60)
    lease = ties.leases.claim(stage, sid, "me-1")
    assert isinstance(lease, Lease)
    seat = Ear(lease, 0, listen=Listen("pcm16"))
    keeper._orphans[stage, sid] = time.monotonic() - ties.settings.ownership.orphan_s - 1
    keeper._note_orphan(seat, orphaned=True)
    assert seat.lost is lost


def test_work_that_finds_no_slot_goes_back_as_old_as_it_is(state, media, monkeypatch):
    back: list[tuple[object, ...]] = []
    ties = Ties(
        load("null"), "me-1", state, media, Leases(state, 1500), Emitter(media, 100, 60),
        lambda *task: back.append(task),
    )  # fmt: skip
    stage = Stage("stt", ties, slots=1)
    stage.loop.take_slot()
    monkeypatch.setattr("tasks.stage.SLOT_WAIT_S", 0.0)
    monkeypatch.setitem(worker.running, "stt", stage)
    trace_task(listen, "an-id", ("sid",), {}, {ASKED: 5.0}, app=listen.app)
    assert back == [("stt", "sid", 0, "", 5.0)]


def test_a_queue_is_as_old_as_the_work_that_was_sent_back_to_it(server):
    subprocess.run(
        [sys.executable, "-c", "from tasks import submit\nsubmit.again('llm', 'sid', 1, '', 5.0)"],
        env={**os.environ, "ANTIPHON_REDIS_URL": server.url(SPOILT)}, cwd=ROOT, check=True, timeout=60,
    )  # fmt: skip
    with server.client(SPOILT) as client:
        assert queues.queues(client, ("llm",)) == {"llm": (1, 5.0)}
        client.flushdb()


def test_a_command_that_cannot_be_read_keeps_no_other_from_its_loop(state, media, monkeypatch):
    ties = Ties(
        load("null"), "me-1", state, media, Leases(state, 1500), Emitter(media, 100, 60), lambda *_: None
    )
    stage = Stage("tts", ties, slots=1)
    monkeypatch.setitem(worker.running, "tts", stage)
    listener = ControlListener("me-1", media, worker.tell)
    listener._pass_on([b"of a later version", encode(Cancel("sid", 1))])
    assert stage.loop._commands.get(timeout=20) == Cancel("sid", 1)


def test_a_worker_drains_when_it_is_told_and_not_because_an_earlier_one_of_its_name_was(
    media, monkeypatch, new_sid
):
    name, signals, told = f"host-{new_sid()}", [], queue.SimpleQueue()
    monkeypatch.setattr(os, "kill", lambda pid, signal: signals.append((pid, signal)))
    streams.command(media, name, Drain())
    listener = ControlListener(name, media, told.put)
    listener.start()
    deadline_s = time.monotonic() + 5
    while told.empty() and time.monotonic() < deadline_s:  # from then on it listens
        streams.command(media, name, Cancel("sid", 1))
        threading.Event().wait(0.01)
    assert not signals, "a container that is started again has the name it had"
    for _ in range(2):
        streams.command(media, name, Drain())
    streams.command(media, name, Cancel("sid", 2))
    while told.get(timeout=20) != Cancel("sid", 2):
        pass
    assert signals == [(os.getpid(), signal.SIGTERM)], (
        "a second one would end it in the middle of its replies"
    )


def test_a_worker_hears_a_server_whose_clock_is_behind_that_of_the_one_before(media, new_sid):
    name = f"host-{new_sid()}"
    key, listener = keys.control(name), ControlListener(name, media, lambda _: None)
    media.xadd(key, {"d": encode(Drain())}, id="9000000000000-0")
    cursor = listener._from("")
    assert cursor == "9000000000000-0", "an earlier worker was meant"
    media.delete(key)
    assert listener._from(cursor) == "0"
    told = media.xadd(key, {"d": encode(Cancel("sid", 1))}).decode()
    assert listener._from(cursor) == told
    assert listener._from("1-0") == "1-0", "what was told meanwhile is read"


def test_voices_that_cannot_be_cloned_keep_no_stage_of_the_same_worker_from_its_start():
    assert worker.AntiphonStep._beside(load("null"), [VOICES]) == []


def test_a_desk_that_redis_does_not_let_close_keeps_no_later_step_of_a_stop_from_being_taken(
    server, monkeypatch
):
    with server.client(SPOILT) as client:
        client.flushdb()
        ties = Ties(
            load("null"),
            "me-1",
            client,
            client,
            Leases(client, 1500),
            Emitter(client, 100, 60),
            lambda *_: None,
        )
        flushes: list[str] = []
        tracer = SimpleNamespace(flush=lambda: flushes.append("now"))
        step = worker.AntiphonStep(SimpleNamespace())
        step._keeper, step._tracer = Keeper([Stage("stt", ties, slots=1)], ties, {}), tracer
        step._keeper.start()
        desk = Desk(ties.settings, "me-1", client, client, {})
        desk.start()
        monkeypatch.setattr(worker, "desks", [desk])
        beats.beat(client, "stt", "me-1", {}, 60)
        client.set(keys.workers(VOICES), "no list")
        step.stop(None)
        assert "me-1" not in beats.workers(client, "stt")
        assert flushes == ["now"]


def test_a_server_that_does_not_answer_is_given_up_before_the_loop_seems_to_hang():
    longest_s = 2 * streams.SOCKET_TIMEOUT_S + streams.CONNECT_TIMEOUT_S
    (shortest,) = OwnershipSettings.model_fields["step_deadline_s"].metadata
    assert longest_s <= 2 * shortest.gt, "no setting makes a worker end for that"
    assert recordings.BLOCK_S < streams.SOCKET_TIMEOUT_S
    assert control.BLOCK_MS / 1e3 < streams.SOCKET_TIMEOUT_S
