"""The outbox on a real server: results travel while the loop goes on; what becomes of those that do not arrive."""

from collections.abc import Callable

import pytest
import redis

from config import redis_keys as keys
from config.messages import VoiceStarted, Words, decode_result
from tasks.leases import EMIT_AT_ONCE, Emitter, Lease, Stored
from tasks.outbox import Outbox
from tasks.seat import Seat
from tasks.streams import keep_media


class Desk:
    """One outbox, one seat."""

    def __init__(self, media: redis.Redis, sid: str) -> None:
        self.media = media
        self.key = keys.replay("stt", sid, 0)
        self.emitter = Emitter(media, keep_items=4000, ttl_s=600)
        self.outbox = Outbox(self.emitter)
        self.seat = Seat(Lease("stt", sid, "me", 1), slot=0)

    def add(self, *positions: int) -> None:
        for at in positions:
            self.outbox.add(self.seat, VoiceStarted(at))

    def stored(self) -> list[tuple[int, int]]:
        results = [decode_result(fields[b"d"]) for _, fields in self.media.xrange(self.key)]
        return [(result.seq, result.body.at) for result in results]

    def post_into_the_void(self) -> None:
        """The server stands still, and ends every connection before it comes to what was posted."""
        self.media.client_pause(60_000, all=False)
        self.outbox.post()
        self.media.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.media.client_unpause()


@pytest.fixture
def desk(server, new_sid: Callable[[], str]) -> Desk:
    return Desk(server.client(1), new_sid())


def test_what_was_posted_is_stored_in_order_without_waiting_for_answers(desk):
    for at in range(1, 6):
        desk.add(at)
        desk.outbox.post()
    desk.outbox.settle()
    assert desk.stored() == [(at, at) for at in range(1, 6)]


def test_more_than_one_call_of_the_script_keeps_the_order(desk):
    count = 2 * EMIT_AT_ONCE + 3
    desk.add(*range(1, count + 1))
    desk.outbox.flush()
    assert desk.stored() == [(at, at) for at in range(1, count + 1)]


def test_an_answer_that_never_came_makes_the_results_go_again(desk):
    desk.add(1, 2)
    desk.post_into_the_void()
    desk.add(3)
    with pytest.raises(redis.ConnectionError):
        desk.outbox.post()
    desk.outbox.flush()
    assert desk.stored() == [(1, 1), (2, 2), (3, 3)]


def test_what_is_queued_while_the_server_forgets_comes_once_and_in_its_place(desk):
    desk.add(1, 2)
    desk.outbox.flush()
    desk.media.delete(desk.key)
    desk.add(3)
    desk.outbox.post()
    desk.add(4)
    desk.outbox.post()
    desk.outbox.flush()
    assert desk.stored() == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_server_that_came_back_with_an_older_copy_is_sent_what_it_lacks(desk):
    desk.add(1)
    desk.outbox.flush()
    older = desk.media.dump(desk.key)
    desk.add(2, 3)
    desk.outbox.flush()
    desk.media.restore(desk.key, 0, older, replace=True)
    desk.add(4)
    with pytest.raises(redis.ResponseError, match="HOLE"):
        desk.outbox.flush()
    desk.outbox.flush()
    assert desk.stored() == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_server_that_forgot_the_script_is_told_it_again(desk):
    desk.add(1)
    desk.outbox.flush()
    desk.media.script_flush()
    desk.add(2)
    desk.outbox.post()
    desk.outbox.settle()
    assert desk.stored() == [(1, 1), (2, 2)]


def test_an_owner_that_was_displaced_learns_it_with_the_next_post(desk):
    desk.emitter.emit([_newer(desk)])
    desk.add(1)
    desk.outbox.post()
    assert not desk.seat.lost
    desk.add(2)
    desk.outbox.post()
    assert desk.seat.lost


def test_a_post_of_nothing_new_does_not_wait_for_an_answer_that_is_still_under_way(desk, monkeypatch):
    monkeypatch.setattr("tasks.outbox.TRAVEL_S", 3600.0)
    desk.emitter.emit([_newer(desk)])
    desk.add(1)
    desk.outbox.post()
    desk.outbox.post()
    assert not desk.seat.lost
    monkeypatch.setattr("tasks.outbox.TRAVEL_S", 0.0)
    desk.outbox.post()
    assert desk.seat.lost, "an answer is not left unread"


def test_one_result_that_cannot_be_stored_keeps_no_other_seat_from_its_own(desk, sid):
    desk.media.set(desk.key, "not a stream", ex=60)
    other = Seat(Lease("stt", sid, "me", 1), slot=1)
    desk.add(1)
    desk.outbox.add(other, VoiceStarted(1))
    with pytest.raises(redis.ResponseError):
        desk.outbox.flush()
    assert desk.media.xlen(keys.replay("stt", sid, 0)) == 1


def test_a_result_that_cannot_be_put_into_bytes_costs_its_own_seat_alone(desk, new_sid):
    broken = Seat(Lease("llm", new_sid(), "me", 1, 1), slot=1)
    desk.outbox.add(broken, Words(0, ["\ud83d"], 0.0))
    desk.add(1)
    desk.outbox.flush()
    assert broken.lost and not desk.seat.lost
    assert desk.stored() == [(1, 1)]
    desk.add(2)
    desk.outbox.flush()
    assert desk.stored() == [(1, 1), (2, 2)]


def test_nothing_to_send_asks_nothing_of_the_server():
    assert Emitter(redis.Redis(port=1), 10, 10).emit([]) == []


def _newer(desk: Desk):
    outbox = Outbox(desk.emitter)
    newer = Seat(Lease("stt", desk.seat.sid, "other", 2), slot=0)
    outbox.add(newer, VoiceStarted(9))
    return newer.lease, newer.said[0]


def test_every_result_has_its_own_answer(desk):
    lease, result = _newer(desk)
    assert desk.emitter.emit([(lease, result), (lease, result)]) == [Stored.NEW, Stored.ALREADY]


def test_what_was_told_to_die_soon_dies_though_somebody_still_speaks(desk):
    desk.add(*range(1, 17))
    desk.outbox.flush()
    assert desk.media.ttl(desk.key) > 500
    keep_media(desk.media, desk.seat.lease.sid, 30)
    desk.add(*range(17, 50))
    desk.outbox.flush()
    assert desk.media.ttl(desk.key) <= 30, "its session is over"
    keep_media(desk.media, desk.seat.lease.sid, 600)
    desk.add(*range(50, 100))
    desk.outbox.flush()
    assert desk.media.ttl(desk.key) > 500, "or goes on"


def test_a_new_owner_keeps_what_it_says(desk):
    desk.add(1)
    desk.outbox.flush()
    keep_media(desk.media, desk.seat.lease.sid, 30)
    later = Seat(Lease("stt", desk.seat.lease.sid, "another", 2), slot=0)
    desk.outbox.add(later, VoiceStarted(2))
    desk.outbox.flush()
    assert desk.media.ttl(desk.key) > 500
