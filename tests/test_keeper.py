"""A worker's threads beside its loops, round by round: whose leases are renewed, which commands are passed on."""

import time

import pytest

from config.messages import Cancel, Listen, encode
from config.redis_keys import VOICES
from config.settings import load
from tasks import streams, worker
from tasks.leases import Emitter, Lease, Leases
from tasks.stage import Keeper, Stage, Ties
from tasks.stt_loop import Ear


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


def test_a_command_that_cannot_be_read_keeps_no_other_from_its_loop(state, media, monkeypatch):
    ties = Ties(
        load("null"), "me-1", state, media, Leases(state, 1500), Emitter(media, 100, 60), lambda *_: None
    )
    stage = Stage("tts", ties, slots=1)
    monkeypatch.setitem(worker.running, "tts", stage)
    worker.ControlListener._pass_on([b"of a later version", encode(Cancel("sid", 1))])
    assert stage.loop._commands.get(timeout=1) == Cancel("sid", 1)


def test_voices_that_cannot_be_cloned_keep_no_stage_of_the_same_worker_from_its_start():
    assert worker.AntiphonStep._beside(load("null"), [VOICES]) == []


def test_a_server_that_does_not_answer_is_given_up_before_the_loop_seems_to_hang():
    longest_s = 2 * streams.SOCKET_TIMEOUT_S + streams.CONNECT_TIMEOUT_S
    assert longest_s < 2 * load("null").ownership.step_deadline_s
    assert streams.BLOCK_S < streams.SOCKET_TIMEOUT_S
