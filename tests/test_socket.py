"""A client's socket: what it takes, what it answers, and how it ends. Over a pair of real sockets, under gevent."""

import ctypes
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import gevent
import pytest
from gevent import socket as gevent_socket
from simple_websocket import Server
from websockets.frames import Frame, Opcode

from web.fair_share import FairShare
from web.frames import BINARY, CLOSE, PING, PONG, TEXT
from web.socket import LINGER_S, ClientGone, ClientSocket

LIMIT, SPILL = 1000, 200_000

#: A client that is silent for so long is gone.
SILENT_S = 0.2

#: <asm-generic/socket.h>, and the instruction of <linux/bpf_common.h> that ends a filter: so many bytes are taken.
SO_ATTACH_FILTER, BPF_RET = 26, 0x06


@dataclass
class Accepted:
    """What is used of simple-websocket's server after its handshake."""

    sock: Any
    connected: bool = True


class Line:
    """Both ends: ours, and a client that writes frames."""

    def __init__(self, share: FairShare | None = None) -> None:
        self.client, theirs = self.pair()
        self.client.settimeout(5)
        self.accepted = Accepted(theirs)
        self.ours = ClientSocket(
            cast(Server, self.accepted), message_bytes=LIMIT, spill_bytes=SPILL, silent_s=SILENT_S,
            share=share or FairShare(1.0, 10.0, time.monotonic()),
        )  # fmt: skip
        self.heard: list[str] = []
        self.reader = gevent.spawn(lambda: self.heard.extend(self.ours.messages()))

    def pair(self) -> tuple[Any, Any]:
        """The client's end, and ours."""
        return gevent_socket.socketpair()

    def say(self, opcode: int, payload: bytes = b"") -> None:
        self.client.sendall(Frame(Opcode(opcode), payload).serialize(mask=True))

    def all_answers(self) -> bytes:
        """Everything until the end of the connection."""
        said = b""
        while data := self.client.recv(65_536):
            said += data
        return said

    def leave(self) -> None:
        self.client.shutdown(gevent_socket.SHUT_WR)
        self.reader.join(5)


class FarLine(Line):
    """The same over TCP."""

    def pair(self) -> tuple[Any, Any]:
        with gevent_socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            client = gevent_socket.create_connection(listening.getsockname())
            return client, listening.accept()[0]

    def vanish(self) -> None:
        """As if the client's machine were gone: its kernel takes no packet any more, and so acknowledges none."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RET, 0, 0, 0))
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(drop_all))
        self.client.setsockopt(gevent_socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.client.close()
    line.reader.join(5)
    assert line.reader.dead


def goodbye(code: int, reason: str = "") -> bytes:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode()).serialize(mask=False)


def test_messages_come_whole_and_in_order(line: Line) -> None:
    line.say(TEXT, b"one")
    line.say(TEXT, "zwölf".encode())
    line.leave()
    assert line.heard == ["one", "zwölf"]


def test_a_client_that_vanishes_said_no_goodbye(line: Line) -> None:
    line.leave()
    assert (line.ours.open, line.ours.close_code, line.accepted.connected) == (False, 1006, False)


def test_a_goodbye_is_given_back_with_its_code(line: Line) -> None:
    line.say(CLOSE, (1000).to_bytes(2, "big") + b"done")
    assert line.all_answers() == goodbye(1000)
    assert line.ours.close_code == 1000


def test_a_ping_is_answered_between_messages(line: Line) -> None:
    line.say(PING, b"here?")
    assert line.client.recv(100) == Frame(Opcode(PONG), b"here?").serialize(mask=False)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (Frame(Opcode(TEXT), b"x" * (LIMIT + 1)).serialize(mask=True), 1009),
        (Frame(Opcode(BINARY), b"x").serialize(mask=True), 1003),
        (Frame(Opcode(TEXT), b"x").serialize(mask=False), 1002),
        (Frame(Opcode(TEXT), b"\xff").serialize(mask=True), 1007),
    ],
    ids=["too big", "binary", "not masked", "no UTF-8"],
)
def test_what_is_not_allowed_ends_the_session_with_a_reason(line: Line, said: bytes, code: int) -> None:
    line.client.sendall(said)
    answer = line.all_answers()
    assert int.from_bytes(answer[2:4], "big") == code
    assert len(answer) > 4
    assert line.ours.close_code == code


def test_several_texts_leave_in_order_as_messages_of_their_own(line: Line) -> None:
    line.ours.send(["one", "zwölf"])
    line.ours.close(1000)
    whole = b"".join(Frame(Opcode(TEXT), text.encode()).serialize(mask=False) for text in ("one", "zwölf"))
    assert line.all_answers() == whole + goodbye(1000)


def test_what_a_slow_client_does_not_take_follows_later_and_whole(line: Line) -> None:
    texts = [f"{number:05}" * 1000 for number in range(60)]
    line.ours.send(texts[:40])
    line.ours.send(texts[40:])
    gevent.spawn(line.ours.close, 1001)
    whole = b"".join(Frame(Opcode(TEXT), text.encode()).serialize(mask=False) for text in texts)
    assert line.all_answers() == whole + goodbye(1001)


def test_a_client_that_takes_nothing_is_disconnected(line: Line) -> None:
    with pytest.raises(ClientGone):
        for _ in range(100):
            line.ours.send(["x" * 50_000])
            gevent.sleep(0)
    assert not line.ours.open


def test_nothing_is_sent_after_a_goodbye(line: Line) -> None:
    line.ours.close(1001, "later")
    with pytest.raises(ClientGone):
        line.ours.send(["too late"])
    assert line.all_answers() == goodbye(1001, "later")


def test_a_client_that_is_just_speaking_reads_why_it_is_sent_away() -> None:
    line = FarLine()
    closing = gevent.spawn(line.ours.close, 1012, "elsewhere")
    gevent.sleep(0.01)
    for _ in range(20):
        line.say(TEXT, b"and another thing")
        gevent.sleep(0.001)
    assert line.client.recv(100) == goodbye(1012, "elsewhere")
    line.say(CLOSE, (1012).to_bytes(2, "big"))
    closing.join(LINGER_S / 2)
    assert closing.dead, "nobody waits for who has answered"
    assert (line.ours.open, line.ours.close_code, line.heard) == (False, 1012, [])
    line.client.close()


def test_who_is_sent_away_before_anybody_listened_to_it_reads_why() -> None:
    line = FarLine()
    line.reader.kill()  # before it began
    for _ in range(5):
        line.say(TEXT, b"hello?")
    closing = gevent.spawn(line.ours.close, 1013, "all places are taken")
    for _ in range(20):
        gevent.sleep(0.001)
        line.say(TEXT, b"hello?")
    assert line.client.recv(100) == goodbye(1013, "all places are taken")
    line.say(CLOSE, (1013).to_bytes(2, "big"))
    closing.join(LINGER_S / 2)
    assert not line.ours.open
    line.client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT and socket filters are Linux'")
def test_a_client_whose_machine_is_gone_is_noticed_as_soon_as_it_owes_an_acknowledgement() -> None:
    line = FarLine()
    try:
        line.vanish()
        line.ours.send(["are you there?"])
        line.reader.join(5)
        assert line.reader.dead
        assert (line.ours.open, line.ours.close_code) == (False, 1006)
    finally:
        line.client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux'")
@pytest.mark.parametrize("says", [b"", b"something before it goes"], ids=["in silence", "with words unread"])
@pytest.mark.parametrize("resets", [False, True], ids=["it closes", "it resets"])
def test_that_a_client_has_hung_up_is_known_before_anything_is_read(says: bytes, resets: bool) -> None:
    line = FarLine()
    line.reader.kill()  # before it began: nobody reads
    client, ours = line.client, line.ours
    client.sendall(says)
    assert not ours.hung_up
    if resets:
        client.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with gevent.Timeout(5):
        while not ours.hung_up:
            gevent.sleep(0.001)
    line.accepted.sock.close()


def test_of_a_socket_of_files_it_is_not_known(line: Line) -> None:
    assert not line.ours.hung_up


def ping_until(line: Line, over_s: float) -> None:
    """Pings several times within the time that a client may be silent."""
    ends_s = time.monotonic() + over_s
    while time.monotonic() < ends_s:
        line.ours.ping()
        gevent.sleep(SILENT_S / 4)


def test_a_client_that_answers_no_ping_is_gone_although_a_proxy_takes_what_is_sent(line: Line) -> None:
    ping_until(line, 2 * SILENT_S)
    assert (line.ours.open, line.ours.close_code) == (False, 1006)


def test_who_says_anything_is_there(line: Line) -> None:
    talking = gevent.spawn(lambda: [(line.say(TEXT, b"x"), gevent.sleep(SILENT_S / 4)) for _ in range(12)])
    ping_until(line, 2 * SILENT_S)
    assert line.ours.open
    talking.join()


def test_a_process_that_slept_blames_no_client(line: Line) -> None:
    ping_until(line, SILENT_S / 2)
    line.say(PONG, b"late")
    gevent.sleep(0.01)
    time.sleep(2 * SILENT_S)  # the whole process: nothing was asked meanwhile
    line.ours.ping()
    assert line.ours.open


def test_who_sends_without_end_leaves_others_their_turns():
    line = Line()
    line.reader.kill()
    for _ in range(200):
        line.say(TEXT, b"more")
    between = [0]

    def others() -> None:
        while True:
            between.append(0)
            gevent.sleep(0)

    waiting = gevent.spawn(others)
    for seen, _ in enumerate(line.ours.messages(), 1):
        busy_until = time.thread_time() + 0.001
        while time.thread_time() < busy_until:
            pass
        between[-1] += 1
        if seen == 200:
            break
    waiting.kill()
    assert max(between) <= 4, (
        "it works for 1 ms on each, and nobody waits longer than two and what is under way"
    )


def test_who_takes_more_than_a_share_is_read_more_slowly():
    share = FairShare(0.5, 0.001, time.monotonic())
    line = Line(share)
    line.reader.kill()
    for _ in range(10):
        line.say(TEXT, b"dear")
    began = time.monotonic()
    for number, _ in enumerate(line.ours.messages(), 1):
        share.charge(0.02)
        if number == 10:
            break
    assert time.monotonic() - began >= 9 * 0.02 / 0.5 - 0.01, "what was asked for takes half of the time"
