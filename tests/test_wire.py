"""Plain connections to Redis, against a real server."""

import socket
import threading

import pytest
import redis

from tasks.wire import IDLE, Wire, Wires


def kill_all(client: redis.Redis) -> None:
    """Every connection but that of the caller."""
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_answers_come_in_order_and_an_error_stands_in_its_place(media: redis.Redis) -> None:
    wire = Wire(media)
    asked = [
        ("SET", "wire", b"\x00\xff"),
        ("LPUSH", "wire", 1),
        ("GET", "wire"),
        ("INCRBYFLOAT", "wire:n", 1.5),
    ]
    stored, refused, value, number = wire.ask(asked)
    assert (stored, value, number) == (b"OK", b"\x00\xff", b"1.5")
    assert isinstance(refused, redis.ResponseError)
    assert str(refused).startswith("WRONGTYPE")


def test_more_than_the_sockets_hold_passes_in_one_round_trip(media: redis.Redis) -> None:
    big = bytes(300_000)
    assert Wire(media).ask([("ECHO", big)] * 20) == [big] * 20


def test_a_broken_connection_is_made_again_once(media: redis.Redis) -> None:
    wire = Wire(media)
    wire.ask([("PING",)])
    kill_all(media)
    assert wire.ask([("PING",)]) == [b"PONG"]
    kill_all(media)
    with pytest.raises(redis.ConnectionError):
        wire.ask([("PING",)], again=False)
    assert not wire.open
    assert wire.ask([("PING",)], again=False) == [b"PONG"]


def test_what_was_not_taken_of_one_talk_is_not_taken_for_the_next(media: redis.Redis) -> None:
    wire = Wire(redis.Redis(connection_pool=_hasty(media)))
    with pytest.raises(redis.TimeoutError):
        wire.ask([("BLPOP", "wire:nothing", 1), ("ECHO", "old")], again=False)
    assert wire.ask([("ECHO", "new")]) == [b"new"]


def _hasty(client: redis.Redis) -> redis.ConnectionPool:
    return redis.ConnectionPool(**{**client.connection_pool.connection_kwargs, "socket_timeout": 0.05})


def test_nobody_at_the_address_is_an_error_of_redis() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = redis.Redis(port=taken.getsockname()[1], protocol=2)
        with pytest.raises(redis.ConnectionError):
            Wire(nobody).ask([("PING",)])


def test_what_the_server_says_by_itself_comes_whole_and_a_quiet_server_is_no_error(
    media: redis.Redis,
) -> None:
    wire = Wire(media)
    wire.send([("SUBSCRIBE", "wire:news")])
    assert [said[0] for said in wire.arrivals(1.0)] == [b"subscribe"]
    assert wire.arrivals(0.001) == []
    big = bytes(200_000)  # more than one read
    media.publish("wire:news", big)
    media.publish("wire:news", b"end")
    heard = []
    while len(heard) < 2:
        heard += wire.arrivals(1.0)
    assert [said[2] for said in heard] == [big, b"end"]
    media.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    with pytest.raises(redis.ConnectionError):
        wire.arrivals(1.0)


def test_users_at_once_have_a_connection_each_and_leave_it_to_the_next(media: redis.Redis) -> None:
    wires = Wires(media)
    first, second = wires.take(), wires.take()
    assert first is not second
    wires.give_back(first)
    assert wires.take() is first


def test_threads_share_them_without_mixing_their_answers(media: redis.Redis) -> None:
    wires, wrong = Wires(media), []

    def talk(name: str) -> None:
        for number in range(200):
            said = f"{name}-{number}".encode()
            if wires.ask([("ECHO", said)]) != [said]:
                wrong.append(said)

    threads = [threading.Thread(target=talk, args=(f"{place}",)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(wires._idle) <= min(8, IDLE)


def test_who_listens_on_a_connection_that_another_broke_is_told(media: redis.Redis) -> None:
    wire = Wire(media)
    wire.ask([("PING",)])
    wire.close()
    with pytest.raises(redis.ConnectionError):
        wire.arrivals(0.1)
