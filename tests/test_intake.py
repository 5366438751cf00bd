"""Input on its way to Redis: gathered, kept while Redis is away, and found again when it comes back empty."""

from collections.abc import Callable

import gevent
import pytest
import redis

from config import redis_keys as keys
from config.messages import Clear, Command, Commit, InEntry, Played, decode_command, decode_in, encode
from tasks.streams import Inputs, RedisError
from web.intake import BACKLOG_ITEMS, Intake

Batch = tuple[list[tuple[str, InEntry]], list[tuple[str, Command]]]


class Line:
    """Takes what the intake sends; away as long as it is told to be."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.away = 0
        self.why = RedisError()

    def append(self, entries: list[tuple[str, InEntry]], told: list[tuple[str, Command]]) -> None:
        if self.away:
            self.away -= 1
            raise self.why
        self.batches.append((entries, told))


def until(true: Callable[[], bool]) -> None:
    with gevent.Timeout(2.0):
        while not true():
            gevent.sleep(0.001)


def test_a_burst_leaves_together_and_in_order() -> None:
    line = Line()
    intake = Intake(line.append)
    burst: list[tuple[str, InEntry]] = [(f"s{place}", Commit(place)) for place in range(5)]
    for sid, entry in burst:
        intake.add(sid, entry)
    intake.tell("worker", Played("s0", 1, 2))
    until(lambda: bool(line.batches))
    assert line.batches == [(burst, [("worker", Played("s0", 1, 2))])]


def test_a_word_to_a_worker_needs_no_input_to_go_with() -> None:
    line = Line()
    Intake(line.append).tell("worker", Played("s", 1, 2))
    until(lambda: bool(line.batches))
    assert line.batches == [([], [("worker", Played("s", 1, 2))])]


def test_what_did_not_leave_leaves_again_with_what_sessions_still_know_and_words_are_lost() -> None:
    line = Line()
    line.away = 1
    intake = Intake(line.append)
    earlier, new = Commit(1), Commit(2)
    intake.add_source("s", lambda: [earlier, new])
    intake.add("s", new)
    intake.add("other", Clear(3))
    intake.tell("worker", Played("s", 1, 2))
    until(lambda: bool(line.batches))
    assert line.batches == [([("other", Clear(3)), ("s", earlier), ("s", new)], [])]


def test_where_sessions_know_too_much_for_the_backlog_each_of_them_keeps_its_newest() -> None:
    line = Line()
    line.away = 3
    intake = Intake(line.append)
    said = {f"s{number}": [Commit(pos) for pos in range(BACKLOG_ITEMS // 8)] for number in range(16)}
    for sid, entries in said.items():
        intake.add_source(sid, lambda entries=entries: entries)  # type: ignore[misc]
        intake.add(sid, entries[-1])
    until(lambda: bool(line.batches))
    ((sent, _),) = line.batches
    for sid, entries in said.items():
        assert [entry for of, entry in sent if of == sid] == entries[-BACKLOG_ITEMS // 16 :]


def test_an_intake_that_waits_says_so_once_and_once_that_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    line.away = 3
    Intake(line.append).add("s", Commit(1))
    until(lambda: bool(line.batches))
    waits, goes_on = [record.getMessage() for record in caplog.records]
    assert waits == "input: waits for Redis: RedisError"
    assert goes_on.startswith("input: goes on, after 0.")


def test_a_server_that_is_full_is_not_sent_what_it_has_once_more() -> None:
    line = Line()
    line.away, line.why = 2, RedisError("OOM command not allowed when used memory > 'maxmemory'.")
    intake = Intake(line.append)
    earlier, new = Commit(1), Commit(2)
    intake.add_source("s", lambda: [earlier, new])
    intake.add("s", new)
    until(lambda: bool(line.batches))
    assert line.batches == [([("s", new)], [])]


def stored(media: redis.Redis, sid: str) -> list[InEntry]:
    return [decode_in(fields[b"d"]) for _, fields in media.xrange(keys.audio_in(sid))]


def test_streams_are_written_in_order_and_have_a_last_day(
    media: redis.Redis, new_sid: Callable[[], str]
) -> None:
    inputs, first, second = Inputs(media, keep_s=30), new_sid(), new_sid()
    inputs.append([(first, Commit(1)), (second, Clear(2)), (first, Commit(3))])
    inputs.append([(first, Commit(4))])
    assert stored(media, first) == [Commit(1), Commit(3), Commit(4)]
    assert stored(media, second) == [Clear(2)]
    assert 50 <= media.ttl(keys.audio_in(first)) <= 60
    assert 50 <= media.ttl(keys.audio_in(second)) <= 60


def test_workers_are_told_along_with_it(media: redis.Redis, sid: str) -> None:
    Inputs(media, keep_s=30).append([(sid, Commit(1))], [(f"w-{sid}", Played(sid, 1, 5))])
    ((_, fields),) = media.xrange(keys.control(f"w-{sid}"))
    assert decode_command(fields[b"d"]) == Played(sid, 1, 5)
    assert stored(media, sid) == [Commit(1)]


def test_a_server_that_came_back_empty_is_told_again_when_a_stream_dies(media: redis.Redis, sid: str) -> None:
    inputs = Inputs(media, keep_s=30)
    inputs.append([(sid, Commit(1))])
    media.delete(keys.audio_in(sid))
    media.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    inputs.append([(sid, Commit(2))], [("w", Played(sid, 1, 5))])
    assert stored(media, sid) == [Commit(2)]
    assert media.ttl(keys.audio_in(sid)) > 0


def test_a_stream_that_cannot_be_written_is_an_error(media: redis.Redis, sid: str) -> None:
    media.set(keys.audio_in(sid), encode(Commit(1)))
    try:
        Inputs(media, keep_s=30).append([(sid, Commit(1))])
    except RedisError as error:
        assert str(error).startswith("WRONGTYPE")
    else:
        raise AssertionError("it was passed off as stored")


def test_what_cannot_be_sent_costs_itself_and_nobody_s_input_after_it() -> None:
    sent: list[Batch] = []

    def append(entries: list[tuple[str, InEntry]], told: list[tuple[str, Command]]) -> None:
        encode(entries)
        sent.append((entries, told))

    intake = Intake(append)
    intake.add("a", Commit(1 << 70))  # no number that msgpack knows
    until(lambda: not intake._running)
    intake.add("b", Commit(2))
    until(lambda: bool(sent))
    assert sent == [([("b", Commit(2))], [])]
