"""Opus in Ogg: what we write is read by others, what others write by us, and nothing damaged does harm."""

import io
import struct

import numpy as np
import opuslib
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from config.settings import SAMPLE_RATE
from web import ogg
from web.ogg import MAX_PACKET, PRE_SKIP, OggOpusReader, OggOpusWriter, page_crc
from web.packets import opus_samples

PACKET_SAMPLES = SAMPLE_RATE // 50

packets_of_any_size = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=40),
        st.sampled_from([b"\x08" * n for n in (254, 255, 256, 510, 1275, 20_000, MAX_PACKET)]),
    ),
    max_size=12,
)


def sound(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


def opus(pcm: np.ndarray) -> list[bytes]:
    encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
    return [
        encoder.encode_float(piece.tobytes(), PACKET_SAMPLES) for piece in pcm.reshape(-1, PACKET_SAMPLES)
    ]


def page(packet: bytes, flags: int, number: int, serial: int = 7) -> bytes:
    """A page as somebody else may write it: `packet` must fill whole segments if it is to go on."""
    lacing = b"\xff" * (len(packet) // 255) + (bytes([len(packet) % 255]) if len(packet) % 255 else b"")
    raw = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, number, 0, len(lacing)) + lacing + packet
    return raw[:22] + struct.pack("<I", page_crc(raw)) + raw[26:]


HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 24_000, 0, 0)


@given(
    packets=packets_of_any_size, cuts=st.lists(st.integers(1, 5000), max_size=30), per_call=st.integers(1, 5)
)
def test_packets_come_back_through_any_cut(packets, cuts, per_call):
    writer, reader = OggOpusWriter(5), OggOpusReader()
    stream = writer.head()
    for n in range(0, len(packets), per_call):
        stream += writer.pages(packets[n : n + per_call])
    read = []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        read += reader.read(piece)
        assert reader.trouble == ""
    assert read == packets


@given(
    data=st.data(),
    packets=st.lists(st.binary(min_size=20, max_size=60), min_size=12, max_size=12),
)
def test_damage_costs_the_damaged_pages_and_no_more(data, packets):
    writer, reader = OggOpusWriter(5), OggOpusReader()
    head = writer.head()
    pages = [writer.pages([packet]) for packet in packets]
    hurt = data.draw(st.integers(0, len(pages) - 3))
    at = data.draw(st.integers(0, len(pages[hurt]) - 1))
    flip = data.draw(st.integers(1, 255))
    stream = bytearray(b"".join(pages))
    stream[sum(map(len, pages[:hurt])) + at] ^= flip
    read = reader.read(head + bytes(stream))
    assert read == packets[:hurt] + packets[hurt + 1 :]
    assert reader.trouble


@given(
    st.lists(
        st.one_of(st.binary(max_size=300), st.just(b"OggS"), st.just(b"OggS\0\2" + b"\xff" * 40)), max_size=40
    )
)
def test_garbage_never_raises_and_is_not_kept(pieces):
    reader = OggOpusReader()
    for piece in pieces:
        reader.read(piece)
        assert len(reader._bytes) <= 27 + 255 + 255 * 255
    reader.read(b"\0" * 66_000)
    writer = OggOpusWriter(1)
    assert reader.read(writer.head() + writer.pages([b"sound"])) == [b"sound"]


def test_a_flood_of_damaged_pages_is_given_up_early(monkeypatch):
    looked = []
    monkeypatch.setattr(ogg, "page_crc", lambda page: looked.append(1) or -1)
    reader = OggOpusReader()
    reader.read((b"OggS" + bytes(22) + b"\x64") * 2000)
    assert len(looked) <= 2 * ogg.MAX_DAMAGED
    assert reader.trouble


def test_a_flood_of_tiny_packets_is_given_up_early():
    writer, reader = OggOpusWriter(5), OggOpusReader()
    page_of_many = writer.head() + writer.pages([b"x"] * 100)
    assert len(reader.read(page_of_many * 200)) <= ogg.MAX_PACKETS + 100
    assert reader.trouble
    assert reader.read(writer.head() + writer.pages([b"sound"])) == [b"sound"]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([page(b"x" * 255, 0, 2), page(b"y" * 45, 1, 3)], [b"x" * 255 + b"y" * 45]),
        ([page(b"x" * 255, 0, 2), page(b"y" * 255, 1, 3), page(b"z", 1, 4)], [b"x" * 255 + b"y" * 255 + b"z"]),
        ([page(b"x" * 255, 0, 2), page(b"new", 0, 3)], [b"new"]),
        ([page(b"end of it", 1, 2), page(b"new", 0, 3)], [b"new"]),
        ([page(b"x" * 255, 0, 2), page(b"end of it", 1, 4), page(b"new", 0, 5)], [b"new"]),
        ([page(b"x" * 255 * 255, 0, 2), page(b"y" * 255 * 255, 1, 3), page(b"z", 1, 4), page(b"new", 0, 5)], [b"new"]),
        ([page(b"other", 0, 2, serial=8), page(b"new", 0, 2)], [b"new"]),
        ([page(b"last", 4, 2), page(b"after it", 0, 3)], [b"last"]),
        ([page(b"a", 0, 2), page(HEAD, 2, 0, 9), page(b"OpusTags", 0, 1, 9), page(b"b", 0, 2, 9)], [b"a", b"b"]),
        ([page(b"a", 0, 2), page(b"\x01vorbis", 2, 0, 9), page(b"b", 0, 1, 9)], [b"a"]),
    ],
    ids=[
        "a packet spans two pages",
        "a packet spans three pages",
        "a packet that does not go on is dropped",
        "a packet without its beginning is dropped",
        "a packet whose middle was lost is dropped",
        "a packet too long is dropped",
        "another stream's page is dropped",
        "nothing follows the last page",
        "a second stream may follow",
        "a stream that is not Opus is not read",
    ],
)  # fmt: skip
def test_pages_that_others_write(pages, expected):
    head = [page(HEAD, 2, 0), page(b"OpusTags" + b"." * 300, 0, 1)]
    assert OggOpusReader().read(b"".join([*head, *pages])) == expected


def test_nothing_is_heard_before_the_first_page_of_a_stream():
    writer, reader = OggOpusWriter(5), OggOpusReader()
    old = writer.head() and writer.pages([b"old"])
    assert (reader.read(old), reader.trouble) == ([], "")
    fresh = OggOpusWriter(6)
    assert reader.read(fresh.head() + fresh.pages([b"new"])) == [b"new"]


def test_a_reader_goes_on_where_another_stopped():
    writer, first = OggOpusWriter(5), OggOpusReader()
    first.read(writer.head() + writer.pages([b"one"]))
    assert OggOpusReader(first.serial).read(writer.pages([b"two"])) == [b"two"]


def test_a_stream_that_lost_its_comment_loses_no_sound():
    assert OggOpusReader().read(page(HEAD, 2, 0) + page(b"sound", 0, 2)) == [b"sound"]


def test_libsndfile_reads_what_we_write():
    pcm = sound(2.0)
    writer = OggOpusWriter(99)
    packets = opus(pcm)
    stream = writer.head() + b"".join(writer.pages(packets[n : n + 4]) for n in range(0, len(packets), 4))
    heard, rate = soundfile.read(io.BytesIO(stream), dtype="float32")
    assert rate == SAMPLE_RATE
    assert len(heard) == len(pcm) - PRE_SKIP // 2
    assert np.corrcoef(heard[2400:-2400], pcm[2400 : len(heard) - 2400])[0, 1] > 0.99


def test_we_read_what_libsndfile_writes():
    file = io.BytesIO()
    soundfile.write(file, sound(1.0), SAMPLE_RATE, format="OGG", subtype="OPUS")
    reader, stream = OggOpusReader(), file.getvalue()
    packets = [packet for n in range(0, len(stream), 777) for packet in reader.read(stream[n : n + 777])]
    assert reader.trouble == ""
    assert sum(opus_samples(packet) for packet in packets) == pytest.approx(SAMPLE_RATE, abs=960)


def test_a_packet_no_page_can_hold_is_refused():
    with pytest.raises(ValueError, match="61441 bytes"):
        OggOpusWriter(1).pages([b"x" * (MAX_PACKET + 1)])
