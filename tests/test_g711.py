"""G.711: its tables against libsndfile and the standard's own words; its streams, however they are cut."""

import io

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from config.settings import SAMPLE_RATE
from tasks import g711
from tasks.codec import PACKET_SAMPLES, G711Decoder, G711Encoder, decoder, encoder
from tasks.telephone import RATIO, REACH, TELEPHONE_RATE, Narrower, Widener

EVERY_BYTE = bytes(range(256))

#: All samples of 16 bits.
EVERY_SAMPLE = np.arange(-(1 << 15), 1 << 15).astype(np.int16)

LIBSNDFILE = {"pcmu": "ULAW", "pcma": "ALAW"}

#: Some bytes and what they stand for, from ITU-T G.711, tables 1a to 2b: the ends of both laws, and silence.
KNOWN = {
    "pcmu": {0x80: 32_124, 0x00: -32_124, 0xFF: 0, 0x7F: 0, 0xFE: 8, 0xF0: 120, 0xEF: 132},
    "pcma": {0xAA: 32_256, 0x2A: -32_256, 0xD5: 8, 0x55: -8, 0xD4: 24, 0xC5: 264},
}

each_law = pytest.mark.parametrize("law", g711.LAWS)


@each_law
def test_known_bytes_stand_for_the_samples_of_the_standard(law: g711.Law) -> None:
    for byte, sample in KNOWN[law].items():
        assert g711.expand(bytes([byte]), law) == [sample], hex(byte)


@each_law
def test_every_byte_is_expanded_as_libsndfile_does(law: g711.Law) -> None:
    theirs, _ = soundfile.read(
        io.BytesIO(EVERY_BYTE), dtype="int16", format="RAW", subtype=LIBSNDFILE[law],
        samplerate=TELEPHONE_RATE, channels=1,
    )  # fmt: skip
    assert np.array_equal(g711.expand(EVERY_BYTE, law), theirs)


@each_law
def test_every_sample_is_compressed_as_libsndfile_does(law: g711.Law) -> None:
    """But for A-law on the edge between two steps, where a negative sample may be either."""
    file = io.BytesIO()
    soundfile.write(file, EVERY_SAMPLE, TELEPHONE_RATE, format="RAW", subtype=LIBSNDFILE[law])
    ours, theirs = g711.compress(EVERY_SAMPLE, law), file.getvalue()
    differ = [n for n, (mine, other) in enumerate(zip(ours, theirs, strict=True)) if mine != other]
    assert not (differ and law == "pcmu")
    steps = np.unique(g711.expand(EVERY_BYTE, law))
    for sample, mine, other in [(EVERY_SAMPLE[n], ours[n], theirs[n]) for n in differ]:
        above, below = np.searchsorted(steps, g711.expand(bytes([mine, other]), law))
        assert sample < 0
        assert above == below + 1
        assert sample % 16 == 0


@each_law
def test_no_sample_is_further_from_its_step_than_half_a_step(law: g711.Law) -> None:
    steps = np.unique(g711.expand(EVERY_BYTE, law).astype(int))
    loudest = steps[-1]
    heard = g711.expand(g711.compress(EVERY_SAMPLE, law), law).astype(int)
    inside = np.abs(EVERY_SAMPLE.astype(int)) <= loudest
    wide = np.diff(steps)
    step = np.maximum(np.append(wide, 0), np.insert(wide, 0, 0))[np.searchsorted(steps, heard)]
    assert np.all(np.abs(heard - EVERY_SAMPLE)[inside] <= step[inside] / 2)
    assert np.all(np.abs(heard[~inside]) == loudest), "what is louder is as loud as can be"


@each_law
def test_what_was_expanded_is_compressed_to_the_same_byte(law: g711.Law) -> None:
    again = g711.compress(g711.expand(EVERY_BYTE, law), law)
    assert [byte for byte in EVERY_BYTE if again[byte] != byte] == ([0x7F] if law == "pcmu" else [])
    if law == "pcmu":
        assert again[0x7F] == 0xFF, "µ-law has two zeros"


# --- streams


def tone(hz: float, seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def talk(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Tones all over a telephone's band."""
    t = np.arange(int(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * hz * t) for hz in (300, 777, 1_500, 2_600, 3_300)).astype(np.float32)


def pieces(data, cuts):
    """Data cut into pieces of those lengths, again and again."""
    at, number = 0, 0
    while at < len(data):
        size = cuts[number % len(cuts)]
        yield data[at : at + size]
        at, number = at + size, number + 1


some_cuts = st.lists(st.integers(1, 700), min_size=1, max_size=8)


@each_law
@given(some_cuts)
def test_however_a_client_cuts_its_bytes_the_same_is_heard(law: g711.Law, cuts: list[int]) -> None:
    data = g711.compress((talk(0.3, TELEPHONE_RATE) * 32_767).astype(np.int16), law)
    cut, whole = decoder(law), decoder(law).decode(data)
    heard = [cut.decode(piece) for piece in pieces(data, cuts)]
    assert [len(pcm) for pcm in heard] == [3 * len(piece) for piece in pieces(data, cuts)], (
        "no sample is held"
    )
    assert np.array_equal(np.concatenate(heard), whole)


@each_law
@given(some_cuts)
def test_however_an_engine_cuts_its_sound_the_same_packets_come(law: g711.Law, cuts: list[int]) -> None:
    pcm = talk(0.31)
    whole, cut = encoder(law), encoder(law)
    wanted = whole.encode(pcm) + whole.flush()
    came = [packet for piece in pieces(pcm, cuts) for packet in cut.encode(piece)] + cut.flush()
    assert came == wanted
    assert {len(packet) for packet in came} == {160}


@each_law
@given(st.integers(0, 3 * PACKET_SAMPLES + 5))
def test_a_reply_has_as_many_packets_as_in_any_other_format(law: g711.Law, samples: int) -> None:
    pcm = np.full(samples, 0.1, np.float32)
    counts = [len(coder.encode(pcm) + coder.flush()) for coder in (encoder(law), encoder("pcm16"))]
    assert counts[0] == counts[1] == -(-samples // PACKET_SAMPLES)


def test_an_empty_packet_is_no_sound() -> None:
    assert len(G711Decoder("pcmu").decode(b"")) == 0
    assert G711Encoder("pcma").encode(np.zeros(0, np.float32)) == []


@each_law
def test_a_sound_stands_where_it_stood(law: g711.Law) -> None:
    """A click at a place is heard there: to 2 ms where a client speaks, exactly where it listens."""
    data = bytearray(g711.compress(np.zeros(800, np.int16), law))
    data[400:401] = g711.compress(np.array([20_000], np.int16), law)
    heard = decoder(law).decode(bytes(data))
    assert np.argmax(np.abs(heard)) == RATIO * (400 + REACH)
    pcm = np.zeros(2_400, np.float32)
    pcm[1_200] = 0.9
    coder = encoder(law)
    sent = g711.expand(b"".join(coder.encode(pcm) + coder.flush()), law)
    assert np.argmax(np.abs(sent.astype(int))) == 1_200 // RATIO


def test_a_packet_waits_for_no_more_than_2_ms_of_what_follows() -> None:
    coder = encoder("pcmu")
    assert coder.encode(np.zeros(PACKET_SAMPLES, np.float32)) == []
    assert len(coder.encode(np.zeros(48, np.float32))) == 1


@pytest.mark.parametrize("hz", [100, 300, 1_000, 2_000, 3_000, 3_400])
def test_a_telephones_band_passes_as_it_is(hz: float) -> None:
    narrow = Narrower().take(tone(hz, 1.0))[800:-800]
    wide = Widener().take(tone(hz, 1.0, TELEPHONE_RATE))[2_400:-2_400]
    for pcm in (narrow, wide):
        assert np.sqrt(2 * np.mean(pcm**2)) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("hz", [4_700, 5_000, 7_000, 9_000, 11_900])
def test_what_lies_beyond_it_does_not_come_back_as_something_else(hz: float) -> None:
    narrow = Narrower().take(tone(hz, 1.0))[800:-800]
    assert 20 * np.log10(np.sqrt(2 * np.mean(narrow**2)) / 0.5) < -65


def test_both_ways_agree_with_soxr() -> None:
    pcm, inner = talk(1.0), slice(800, -800)
    theirs = soxr.resample(pcm, SAMPLE_RATE, TELEPHONE_RATE, "HQ")
    narrower = Narrower()
    ours = np.concatenate([narrower.take(pcm), narrower.flush()])
    assert len(ours) == len(theirs)
    assert np.max(np.abs(ours - theirs)[inner]) < 0.01
    wide = Widener().take(np.asarray(theirs))[RATIO * REACH :]
    assert (
        np.max(np.abs(wide - soxr.resample(theirs, TELEPHONE_RATE, SAMPLE_RATE, "HQ")[: len(wide)])[inner])
        < 0.01
    )


@each_law
def test_sound_comes_back_as_clean_as_the_law_allows(law: g711.Law) -> None:
    pcm = talk(1.0)
    coder, listener = encoder(law), decoder(law)
    heard = listener.decode(b"".join(coder.encode(pcm) + coder.flush()))[RATIO * REACH :]
    error = (heard - pcm[: len(heard)])[2_400:-2_400]
    assert 10 * np.log10(np.mean(pcm**2) / np.mean(error**2)) > 34, "its steps alone leave 37 dB"
