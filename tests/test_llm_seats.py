"""Sessions find their prompt cache again."""

import asyncio

import pytest

from gpu_workers.language.seats import Seats


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_a_session_gets_its_own_seat_again():
    async def story():
        seats = Seats(3)
        a, b = await seats.take("a"), await seats.take("b")
        seats.give_back(b)
        seats.give_back(a)
        assert a != b
        assert await seats.take("b") == b and await seats.take("a") == a

    run(story())


def test_a_new_session_gets_the_seat_left_longest_ago():
    async def story():
        seats = Seats(2)
        first, second = await seats.take("a"), await seats.take("b")
        seats.give_back(second)
        seats.give_back(first)
        assert await seats.take("c") == second

    run(story())


@pytest.mark.parametrize("session", ["a", "c"], ids=["its own seat", "any seat"])
def test_who_finds_none_waits_for_one(session):
    async def story():
        seats = Seats(2)
        seat = await seats.take("a")
        await seats.take("b")
        assert not seats.idle(session)
        waiting = asyncio.create_task(seats.take(session))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        seats.give_back(seat)
        assert await waiting == seat

    run(story())


def test_requests_without_a_session_share_nothing():
    async def story():
        seats = Seats(2)
        assert await seats.take("") != await seats.take("")

    run(story())
