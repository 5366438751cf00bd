"""WebSocket frames by hand, against two libraries that know the protocol: websockets writes, wsproto judges."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from web import frames
from web.frames import BINARY, CLOSE, CONTINUED, NO_CODE, PING, PONG, TEXT, FrameReader, Violation

LIMIT = 100_000


def from_client(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=mask)


def read(data: Iterable[bytes], limit: int = LIMIT) -> tuple[list[frames.Message], int | None]:
    """The messages, and the code of what was wrong or of the goodbye."""
    reader, messages = FrameReader(limit), []
    try:
        for piece in data:
            for message in reader.read(piece):
                messages.append(message)
                if message[0] == CLOSE:
                    return messages, frames.close_code(message[1])
                if message[0] == TEXT:
                    frames.text_of(message[1])
    except Violation as error:
        return messages, error.code
    return messages, None


def in_pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


CONTROL = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
TALK = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=400).map(str.encode)),
    st.tuples(st.just(BINARY), st.binary(max_size=400)),
)
CUTS = st.lists(st.integers(0, 100_000), max_size=6)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[frames.Message], bytes]:
    """What a client says, in parts with control frames in between, and its bytes."""
    said: list[frames.Message] = []
    wire = b""
    for opcode, payload in draw(st.lists(TALK, max_size=4)):
        parts = in_pieces(payload, draw(CUTS))
        for number, part in enumerate(parts):
            kind, last = (CONTINUED if number else opcode), number == len(parts) - 1
            wire += from_client(kind, part, fin=last)
            if not last:
                between = draw(st.lists(CONTROL, max_size=1))
                said += between
                wire += b"".join(from_client(*control) for control in between)
        said.append((opcode, payload))
    return said, wire


@given(conversations(), CUTS)
@settings(deadline=None)
def test_whatever_a_client_says_is_read_as_it_was_said_however_it_is_cut(
    conversation: tuple[list[frames.Message], bytes], cuts: list[int]
) -> None:
    said, wire = conversation
    assert read(in_pieces(wire, cuts)) == (said, None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_messages_of_all_lengths_pass_both_ways(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert read([from_client(BINARY, payload)]) == ([(BINARY, payload)], None)
    assert frames.frame(TEXT, payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def judged(wire: bytes) -> tuple[list[frames.Message], int | None]:
    """What wsproto reads."""
    connection = Connection(ConnectionType.SERVER)
    messages: list[frames.Message] = []
    parts: list[bytes] = []
    connection.receive_data(wire)
    for event in connection.events():
        if isinstance(event, TextMessage | BytesMessage):
            parts.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                messages.append((TEXT if isinstance(event, TextMessage) else BINARY, b"".join(parts)))
                parts = []
        elif isinstance(event, Ping | Pong):
            messages.append((PING if isinstance(event, Ping) else PONG, bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            return messages, int(event.code)
    return messages, None


@given(conversations(), st.integers(0, 1 << 20), st.integers(0, 7))
@settings(deadline=None, max_examples=300)
def test_a_wrong_bit_anywhere_is_judged_as_wsproto_judges_it(
    conversation: tuple[list[frames.Message], bytes], at: int, bit: int
) -> None:
    wire = bytearray(conversation[1] or from_client(TEXT, b"x"))
    wire[at % len(wire)] ^= 1 << bit
    theirs, their_code = judged(bytes(wire))
    ours, code = read([bytes(wire)], limit=1 << 63)
    ours = [message for message in ours if message[0] != CLOSE]
    if their_code == 1007:  # it looks into messages that are not whole yet, and does not see what comes after
        assert ours[: len(theirs)] == theirs
        return
    if code is not None and their_code is None:  # ours refuses by the header what it refuses by the payload
        their_code = judged(bytes(wire) + bytes(16))[1]
    assert (ours, code) == (theirs, their_code)


@given(st.binary(max_size=600), CUTS)
@settings(deadline=None)
def test_bytes_at_random_are_refused_or_wait_for_more_and_nothing_else(noise: bytes, cuts: list[int]) -> None:
    whole = read([noise])
    assert read(in_pieces(noise, cuts)) == whole
    assert whole[1] in (None, 1002, 1007, 1009)


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (from_client(TEXT, b"hi", mask=False), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (from_client(CONTINUED, b"more"), 1002),
        (from_client(TEXT, b"a", fin=False) + from_client(TEXT, b"b"), 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x8b\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x7e", 1002),
        (b"\x81\xfe\x00\x05", 1002),
        (b"\x81\xff" + bytes(6) + b"\x00\x05", 1002),
        (b"\x81\xff\xff" + bytes(7), 1002),
        (from_client(TEXT, b"\xff"), 1007),
        (from_client(CLOSE, b"\x03"), 1002),
        (from_client(CLOSE, b"\x03\xe8\xff"), 1007),
        (from_client(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (from_client(CLOSE, (999).to_bytes(2, "big")), 1002),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8, "big"), 1009),
        (from_client(TEXT, bytes(LIMIT), fin=False) + from_client(CONTINUED, b"x"), 1009),
    ],
    ids=[
        "no mask", "a reserved bit", "a part of nothing", "a message within another", "an unknown kind",
        "an unknown control frame", "a control frame in parts", "a long control frame", "a length too wide",
        "a length far too wide", "a negative length", "no UTF-8", "half a close code", "a reason that is no UTF-8",
        "a close code never sent", "no close code", "a frame too long, by its header", "parts too long together",
    ],
)  # fmt: skip
def test_what_breaks_the_rules_is_refused_with_its_code(wire: bytes, code: int) -> None:
    messages, found = read([from_client(TEXT, b"before"), wire])
    assert messages[0] == (TEXT, b"before")
    assert found == code


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 3000, 4999])
def test_a_clients_goodbye_gives_its_code(code: int) -> None:
    _, said = read([from_client(CLOSE, code.to_bytes(2, "big") + "tschüß".encode())])
    assert said == code


def test_a_goodbye_without_a_code_is_answered_without_one() -> None:
    assert frames.close_code(b"") == NO_CODE
    assert frames.close_frame(NO_CODE) == b"\x88\x00"


def test_a_long_reason_is_cut_between_signs() -> None:
    said = frames.close_frame(1008, "ü" * 100)
    assert len(said) <= 2 + frames.CONTROL_BYTES
    assert said[4:].decode() == "ü" * 61


def test_any_number_of_empty_parts_takes_no_memory() -> None:
    reader = FrameReader(LIMIT)
    list(reader.read(from_client(TEXT, b"a", fin=False) + 1000 * from_client(CONTINUED, b"", fin=False)))
    assert list(reader.read(from_client(CONTINUED, b"b"))) == [(TEXT, b"ab")]
    assert len(reader._parts) == 0


def test_a_message_in_tiny_parts_takes_no_more_memory_than_it_has_bytes() -> None:
    reader, parts = FrameReader(LIMIT), 20_000
    wire = from_client(TEXT, b"x", fin=False) + from_client(CONTINUED, b"x", fin=False) * parts
    tracemalloc.start()
    try:
        assert not list(reader.read(wire))
        assert tracemalloc.get_traced_memory()[0] < 4 * parts
    finally:
        tracemalloc.stop()
