"""A session's mailbox: order, bounds, and who wakes whom."""

import time

import gevent

from web.dialects.base import ClearInput, CommitInput, Configure, CreateReply
from web.mailbox import Gap, Mailbox

#: Longer than any of these tests takes.
LONG_S = 5.0


def test_letters_come_in_order_and_all_at_once() -> None:
    box = Mailbox(10)
    letters = [Configure(), CommitInput(), ClearInput()]
    for letter in letters:
        box.post(letter)
    assert box.take(LONG_S) == letters
    assert box.take(0.0) == []


def test_a_letter_wakes_the_one_who_waits() -> None:
    box = Mailbox(10)
    reader = gevent.spawn(box.take, LONG_S)
    gevent.sleep(0)
    box.post(Configure())
    box.post(CommitInput())
    assert reader.get(timeout=20) == [Configure(), CommitInput()]


def test_a_letter_that_can_wait_comes_with_the_next_or_when_patience_ends() -> None:
    box = Mailbox(10)
    reader = gevent.spawn(box.take, LONG_S)
    gevent.sleep(0)
    box.post(Configure(), wake=False)
    gevent.sleep(0)
    assert not reader.ready()
    box.post(CommitInput())
    assert reader.get(timeout=20) == [Configure(), CommitInput()]
    later = gevent.spawn(box.take, 0.001)
    gevent.sleep(0)
    box.post(ClearInput(), wake=False)
    assert later.get(timeout=20) == [ClearInput()]


def test_what_finds_no_room_leaves_a_gap_after_what_found_some() -> None:
    box = Mailbox(2)
    for letter in (Configure(), CommitInput(), ClearInput(), CreateReply()):
        box.post(letter)
    assert box.take(LONG_S) == [Configure(), CommitInput(), Gap()]
    assert box.take(0.0) == []


def test_a_gap_alone_is_reason_to_look() -> None:
    box = Mailbox(0)
    box.post(Configure())
    assert box.take(LONG_S) == [Gap()]


def test_who_can_wait_gets_room_when_there_is_some() -> None:
    box = Mailbox(1)
    box.post(Configure())
    writer = gevent.spawn(box.put, CommitInput(), LONG_S)
    gevent.sleep(0)
    assert not writer.ready()
    assert box.take(LONG_S) == [Configure()]
    assert writer.get(timeout=20) is True
    assert box.take(0.0) == [CommitInput()]


def test_who_waits_in_vain_is_told() -> None:
    box = Mailbox(1)
    box.post(Configure())
    assert box.put(CommitInput(), 0.0) is False
    assert box.take(0.0) == [Configure()]


def test_a_reader_that_is_killed_is_switched_to_no_more() -> None:
    """What was to wake it must not wake it out of another wait."""
    box, woken = Mailbox(10), []

    def read() -> None:
        try:
            box.take(LONG_S)
        finally:
            began = time.monotonic()
            gevent.sleep(0.05)
            woken.append(time.monotonic() - began)

    reader = gevent.spawn(read)
    gevent.sleep(0)
    reader.kill(block=False)
    box.post(Configure())
    reader.join(timeout=20)
    assert woken[0] >= 0.045


def test_a_full_mailbox_of_letters_that_can_wait_is_read_when_patience_ends() -> None:
    box = Mailbox(1)
    reader = gevent.spawn(box.take, 0.01)
    gevent.sleep(0)
    box.post(Configure(), wake=False)
    box.post(CommitInput(), wake=False)
    assert reader.get(timeout=20) == [Configure(), Gap()]


def test_who_finds_no_room_is_told_after_a_while() -> None:
    box = Mailbox(0)
    assert not box.put(Configure(), 0.01)


def test_the_wait_for_room_begins_when_the_box_is_not_held_any_more() -> None:
    box, held = Mailbox(1), [True]
    box.post(Configure())
    writer = gevent.spawn(box.put, CommitInput(), 0.02, lambda: held[0])
    assert not gevent.wait([writer], timeout=0.1), "it was told although nobody could take its letters"
    held[0] = False
    box.take(0.0)
    assert writer.get(timeout=20)
    assert box.take(0.0) == [CommitInput()]
