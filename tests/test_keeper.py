"""Whose leases a worker renews, and whom it takes for an orphan: on a real server, round by round."""

from config.messages import Listen
from config.settings import load
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
