"""Sound that is none: pages, packets and bytes at random, on the web's side and the workers'. Nothing raises, and
nothing grows beyond what came."""

import base64
import contextlib
import io
import json
import struct
from typing import get_args

import numpy as np
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from config.errors import BadVoiceSample, ClientError, UploadUnreadable
from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from gpu_workers.samples import voice_file
from tasks.codec import MAX_PACKET_SAMPLES, decoder, encoder
from tests.pages import sealed
from tests.test_fuzz_events import ga, unmute
from web.dialects.ga_formats import MAX_APPEND_S, shown
from web.dialects.unmute import MAX_APPEND
from web.ogg import OggOpusReader, OggOpusWriter
from web.packets import opus_samples, packets_samples
from web.upload_form import known

formats = st.sampled_from(get_args(AudioFormat))

#: Bytes that look like something at their beginning.
packets = st.one_of(
    st.binary(max_size=400),
    st.builds(lambda toc, rest: bytes([toc]) + rest, st.integers(0, 255), st.binary(max_size=60)),
    st.builds(
        lambda toc, count, rest: bytes([toc | 3, count]) + rest,
        st.integers(0, 252),
        st.integers(0, 255),
        st.binary(max_size=1300),
    ),
)


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """A page whose every field may be anything, with a right checksum or not."""
    lacing = draw(st.binary(max_size=20))
    body = draw(st.one_of(st.binary(max_size=60), packets, st.just(bytes(sum(lacing)))))
    head = struct.pack(
        "<4sBBqIIIB", b"OggS", draw(st.sampled_from([0, 0, 0, 1])), draw(st.integers(0, 255)),
        draw(st.integers(-(2**63), 2**63 - 1)), draw(st.sampled_from([7, 7, 2**32 - 1])),
        draw(st.sampled_from([0, 1, 2, 2**32 - 1])), 0, len(lacing),
    )  # fmt: skip
    whole = head + lacing + body
    return sealed(whole) if draw(st.booleans()) else whole


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Ours, with pages of others, damage and cuts in it."""
    writer = OggOpusWriter(7)
    ours = [writer.head(), *(writer.pages([packet]) for packet in draw(st.lists(packets, max_size=4)))]
    others = draw(st.lists(st.one_of(pages(), st.binary(max_size=40), st.just(b"OggS")), max_size=4))
    stream = bytearray(b"".join(draw(st.permutations(ours + others)) if others else ours))
    for _ in range(draw(st.integers(0, 2))):
        stream[draw(st.integers(0, len(stream) - 1))] ^= draw(st.integers(1, 255))
    return bytes(stream)


@given(stream=streams(), cuts=st.lists(st.integers(1, 300), max_size=8))
def test_an_unmute_clients_pages_become_packets_or_an_error(stream: bytes, cuts: list[int]) -> None:
    dialect, given_samples = unmute(), 0
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        raw = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()})
        try:
            for request in dialect.receive(raw):
                assert all(map(opus_samples, request.packets))
                given_samples += request.samples
                assert request.samples <= MAX_APPEND
        except ClientError as error:
            assert error.param == "audio"


@given(stream=streams(), cut=st.integers(0, 2000))
def test_a_reader_says_the_same_of_pages_however_they_are_cut(stream: bytes, cut: int) -> None:
    whole, parts = OggOpusReader(), OggOpusReader()
    whole.read(stream)
    assert len(whole._bytes) <= 27 + 255 + 255 * 255
    parts.read(stream[:cut])
    parts.read(stream[cut:])
    assert len(parts._bytes) <= 27 + 255 + 255 * 255
    fresh = OggOpusWriter(9)
    for reader in (whole, parts):
        reader.read(bytes(66_000))
        assert reader.read(fresh.head() + fresh.pages([b"sound"])) == [b"sound"]
        fresh = OggOpusWriter(9)


@given(audio_format=formats, sent=st.lists(packets, max_size=6))
def test_a_decoder_gives_sound_of_the_length_that_the_web_counted(
    audio_format: AudioFormat, sent: list[bytes]
) -> None:
    ear = decoder(audio_format)
    for packet in sent:
        pcm = ear.decode(packet)
        assert pcm.dtype == np.float32
        assert np.isfinite(pcm).all()
        assert not len(pcm) or np.abs(pcm).max() <= 1.5
        counted = packets_samples([packet], audio_format)
        assert len(pcm) in (0, counted)
        assert audio_format != "opus" or len(pcm) <= MAX_PACKET_SAMPLES


def test_an_empty_packet_is_silent_for_no_time() -> None:
    assert not len(decoder("opus").decode(b"")), "libopus takes it for a loss, and would make something up"


@given(
    audio_format=formats,
    pieces=st.lists(
        st.binary(max_size=2000).map(lambda data: np.frombuffer(data[: len(data) // 4 * 4], "<f4")),
        max_size=4,
    ),
)
def test_an_encoder_takes_whatever_an_engine_gives(
    audio_format: AudioFormat, pieces: list[np.ndarray]
) -> None:
    mouth = encoder(audio_format)
    with np.errstate(all="ignore"):
        made = [packet for pcm in pieces for packet in mouth.encode(np.nan_to_num(pcm))] + mouth.flush()
    assert packets_samples(made, audio_format) >= sum(map(len, pieces))


@given(
    audio_format=formats,
    data=st.one_of(packets, st.binary(max_size=3000)),
    sizes=st.one_of(st.none(), st.lists(st.integers(-1, 400), max_size=5)),
    spoilt=st.booleans(),
)
def test_a_ga_clients_sound_becomes_packets_or_an_error(
    audio_format: AudioFormat, data: bytes, sizes: list[int] | None, spoilt: bool
) -> None:
    dialect = ga()
    session = {"type": "realtime", "audio": {"input": {"format": shown(audio_format)}}}
    dialect.receive(json.dumps({"type": "session.update", "session": session}))
    text = base64.b64encode(data).decode()
    told = {"type": "input_audio_buffer.append", "audio": text[:-1] + "!" if spoilt and text else text}
    try:
        (request,) = dialect.receive(
            json.dumps(told if sizes is None else {**told, "antiphon": {"packets": sizes}})
        )
    except ClientError as error:
        assert error.param in ("audio", "antiphon.packets") or (error.param or "").startswith("antiphon")
        return
    assert b"".join(request.packets) == data
    assert request.samples == packets_samples(request.packets, audio_format) <= MAX_APPEND_S * SAMPLE_RATE


def recording(kind: str, subtype: str, channels: int, rate: int) -> bytes:
    file = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(rate // 2 * channels) / 20).astype(np.float32).reshape(-1, channels)
    soundfile.write(file, tone, rate, format=kind, subtype=subtype)
    return file.getvalue()


#: Of each kind that is taken, one to be damaged.
RECORDINGS = [
    recording("WAV", "PCM_16", 1, 24_000),
    recording("WAV", "FLOAT", 2, 16_000),
    recording("FLAC", "PCM_24", 1, 24_000),
    recording("OGG", "VORBIS", 2, 44_100),
    recording("OGG", "OPUS", 1, 48_000),
    recording("MP3", "MPEG_LAYER_III", 1, 24_000),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recording with bytes changed, mostly near its beginning, where the fields are; cut, or put into another."""
    data = bytearray(draw(st.sampled_from(RECORDINGS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.one_of(st.integers(0, 120), st.integers(0, len(data) - 5)))
        new = draw(
            st.one_of(
                st.binary(min_size=1, max_size=4), st.sampled_from([b"\xff" * 4, bytes(4), b"\0\0\0\x80"])
            )
        )
        data[at : at + len(new)] = new
    cut = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return bytes(data[:cut]) + draw(st.binary(max_size=20))


@given(data=st.one_of(damaged(), st.binary(max_size=200)))
def test_a_recording_is_read_or_refused_with_a_reason(data: bytes) -> None:
    with contextlib.suppress(UploadUnreadable):
        known(data)
    try:
        pcm, rate = voice_file.read(data, 11.0)
    except BadVoiceSample:
        return
    assert len(pcm) <= 11.0 * rate + 1
    assert np.isfinite(pcm).all()
    assert not len(pcm) or np.abs(pcm).max() <= 1.0
