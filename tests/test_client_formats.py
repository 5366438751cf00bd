"""Our own clients in each audio format, face to face with the server's dialect: no network, no clock."""

import base64
import json
from typing import Any, get_args

import numpy as np
import pytest
from click.testing import CliRunner

from cli import happenings as h
from cli.ga_client import GaClient
from cli.ga_sound import GaSound, Unreadable
from cli.loadtest import sounds
from cli.loadtest.command import loadtest
from cli.loadtest.wires import GaWire, Kind, prepared
from cli.talk import talk
from cli.url import with_extensions
from config.messages import AudioFormat
from tasks.codec import PACKET_SAMPLES, decoder, encoder
from tests.ga_line import Line
from tests.test_resuming import TONE
from web.dialects.base import AppendAudio, AudioOut
from web.reply_options import ReplyOptions

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

each_format = pytest.mark.parametrize("audio_format", FORMATS)

WINDOWS = [(window * 32_767).astype("<i2").tobytes() for window in TONE.reshape(-1, PACKET_SAMPLES)]


def server(line: Line, messages: Any) -> list[Any]:
    """What the server's dialect makes of a client's messages."""
    return [request for message in messages for request in line.dialect.receive(message)]


def reply_of(line: Line, audio_format: AudioFormat) -> list[str]:
    """A reply of that tone, as the server tells it, four packets at once."""
    line.dialect.reply_started(1, ReplyOptions(line.dialect.wishes), again=False)
    coder = encoder(audio_format)
    packets = coder.encode(TONE) + coder.flush()
    told = []
    for at in range(0, len(packets), 4):
        step = packets[at : at + 4]
        told += line.dialect.reply_audio(AudioOut(1, step, len(step) * PACKET_SAMPLES, []))
    return told


def level(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.mean(pcm**2)))


@each_format
def test_what_a_caller_says_and_hears_is_the_same_sound(audio_format: AudioFormat) -> None:
    line, client = Line("antiphon"), GaClient(sound=GaSound(audio_format))
    server(line, client.configure())
    assert (line.dialect.wishes.input_format, line.dialect.wishes.output_format) == (
        audio_format,
        audio_format,
    )
    heard = server(line, [message for window in WINDOWS for message in client.append(window)])
    assert all(isinstance(request, AppendAudio) for request in heard)
    ear = decoder(audio_format)
    said = np.concatenate([ear.decode(packet) for request in heard for packet in request.packets])
    assert len(said) == sum(request.samples for request in heard) >= len(TONE) - PACKET_SAMPLES
    assert level(said[PACKET_SAMPLES:]) == pytest.approx(level(TONE), rel=0.1)
    back = [said for told in reply_of(line, audio_format) for said in client.understand(told)]
    pcm = b"".join(one.pcm for one in back if isinstance(one, h.ReplyAudio))
    assert len(pcm) == 2 * len(TONE)
    assert level(np.frombuffer(pcm, "<i2")[PACKET_SAMPLES:] / 32_768) == pytest.approx(level(TONE), rel=0.1)


@pytest.mark.parametrize(
    ("audio_format", "delta", "sizes"),
    [("pcmu", "&&", None), ("opus", "AAAA", [4]), ("opus", "AAAA", [1, 1]), ("pcm16", "&", None)],
)
def test_audio_that_cannot_be_read_is_an_error_of_the_server(
    audio_format: AudioFormat, delta: str, sizes: list[int] | None
) -> None:
    with pytest.raises(Unreadable):
        GaSound(audio_format).heard(delta, sizes)
    event = {"type": "response.output_audio.delta", "response_id": "r", "delta": delta}
    told = {**event, "antiphon": {"packets": sizes}} if sizes else event
    (said,) = GaClient(sound=GaSound(audio_format)).understand(json.dumps(told))
    assert isinstance(said, h.ServerError)


@each_format
@pytest.mark.parametrize("packet_ms", [20, 80])
def test_a_load_tests_talker_is_heard_in_any_format(audio_format: AudioFormat, packet_ms: int) -> None:
    speech = prepared("ga", sounds.speech("hum", sounds.hums()[:2], "ga", packet_ms, audio_format))
    line, wire = Line("antiphon"), GaWire(audio_format)
    server(line, [message.decode() for message in wire.configure()])
    packets = [*speech.utterances[0].packets, speech.silence, *speech.utterances[1].packets]
    heard = server(line, [wire.append(packet).decode() for packet in packets])
    assert {(request.format, request.samples) for request in heard} == {(audio_format, 24 * packet_ms)}
    ear = decoder(audio_format)
    pcm = [np.concatenate([ear.decode(packet) for packet in request.packets]) for request in heard]
    assert min(map(level, pcm[1 : len(speech.utterances[0].packets) - 1])) > 0.03, (
        "all of an utterance sounds"
    )


@each_format
def test_a_load_test_counts_the_samples_of_a_reply(audio_format: AudioFormat) -> None:
    line, wire = Line("antiphon"), GaWire(audio_format)
    server(line, [message.decode() for message in wire.configure()])
    heard = [wire.read(told.encode()) for told in reply_of(line, audio_format)]
    assert sum(one.samples for one in heard if one.kind is Kind.AUDIO) == len(TONE)


@pytest.mark.parametrize(
    ("audio_format", "size"), [("pcm16", 3 * 960), ("pcmu", 480), ("pcma", 160), ("pcmu", 161)]
)
def test_the_length_of_a_delta_is_exact_in_spite_of_base64(audio_format: AudioFormat, size: int) -> None:
    delta = {"type": "response.output_audio.delta", "delta": base64.b64encode(bytes(size)).decode()}
    samples = size // 2 if audio_format == "pcm16" else 3 * size
    assert GaWire(audio_format).read(json.dumps(delta).encode()).samples == samples


def test_extensions_are_asked_for_beside_what_the_address_asks() -> None:
    assert with_extensions("ws://h:1/v1/realtime") == "ws://h:1/v1/realtime?extensions=antiphon"
    assert with_extensions("ws://h/x?model=m") == "ws://h/x?model=m&extensions=antiphon"


@pytest.mark.parametrize("command", [[talk, "--in", "x.wav"], [loadtest]], ids=["talk", "loadtest"])
def test_the_other_dialect_has_one_format(command: list[Any]) -> None:
    found = CliRunner().invoke(command[0], [*command[1:], "--dialect", "unmute", "--format", "pcmu"])
    assert found.exit_code
    assert "--format" in f"{found.output} {found.exception}"
