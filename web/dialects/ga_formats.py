"""Audio formats of the GA dialect: their names, who may have which, and how events carry them. Pure."""

from collections.abc import Sequence
from typing import Any

from config.errors import ClientError
from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from web.dialects import ga_events as ev
from web.dialects.base import AppendAudio
from web.packets import opus_samples, packets_samples

Json = dict[str, Any]

#: Our names for the formats, by the API's. The last is an extension of ours.
FORMATS: dict[str, AudioFormat] = {
    "audio/pcm": "pcm16",
    "audio/pcmu": "pcmu",
    "audio/pcma": "pcma",
    "audio/opus": "opus",
}

#: The only rate that each may be given, in Hz. The API names one of PCM alone.
RATES: dict[AudioFormat, int] = {"pcm16": SAMPLE_RATE, "pcmu": 8_000, "pcma": 8_000, "opus": SAMPLE_RATE}

#: Audio that one event may bring: somebody must decode it while others wait.
MAX_APPEND_S = 10


def known(asked: ev.Format, param: str) -> AudioFormat:
    """A format by the API's name. Raises ClientError for what nobody here speaks."""
    name = FORMATS.get(asked.type)
    if name is None:
        usual = ", ".join(kind for kind in FORMATS if FORMATS[kind] != "opus")
        raise ClientError(f"there are {usual}", param=f"{param}.type", code="invalid_audio")
    if asked.rate not in (None, RATES[name]):
        raise ClientError(
            f"{asked.type} has {RATES[name]} Hz here", param=f"{param}.rate", code="invalid_audio"
        )
    return name


def shown(audio_format: AudioFormat) -> Json:
    """As the session object has it."""
    kind = next(kind for kind, ours in FORMATS.items() if ours == audio_format)
    return {"type": kind, "rate": SAMPLE_RATE} if audio_format == "pcm16" else {"type": kind}


def require_extension(session: Json, *, ours: bool) -> None:
    """Raises ClientError for Opus with a client that did not ask for our extensions."""
    for way, audio in session["audio"].items():
        if not ours and audio["format"]["type"] == "audio/opus":
            raise ClientError(
                "audio/opus is an extension: connect with ?extensions=antiphon to speak it",
                param=f"session.audio.{way}.format.type",
                code="invalid_audio",
            )


def taken(event: ev.Append, audio_format: AudioFormat) -> AppendAudio:
    """What a client sent. Raises ClientError for what is no audio of that format, or too much of it."""
    packets = _opus_packets(event) if audio_format == "opus" else [event.audio]
    return heard(packets, audio_format, "audio")


def heard(packets: list[bytes], audio_format: AudioFormat, param: str) -> AppendAudio:
    """Sound of a format. Raises ClientError as above; `param` names the field that it came in."""
    if audio_format == "pcm16" and any(len(packet) % 2 for packet in packets):
        raise _not_audio("pcm16 audio must have an even number of bytes", param)
    if audio_format == "opus" and not all(map(opus_samples, packets)):
        raise _not_audio("this is no Opus packet", param)
    samples = packets_samples(packets, audio_format)
    if samples > MAX_APPEND_S * SAMPLE_RATE:
        raise _not_audio(f"one append may bring {MAX_APPEND_S} s", param)
    return AppendAudio(packets, samples, audio_format)


def _opus_packets(event: ev.Append) -> list[bytes]:
    """One packet, or as many as the event gives lengths of."""
    sizes = event.antiphon.packets if event.antiphon else None
    if sizes is None:
        sizes = [len(event.audio)]
    if sum(sizes) != len(event.audio):
        raise ClientError(
            f"these packets have {sum(sizes)} bytes and the audio {len(event.audio)}",
            param="antiphon.packets",
            code="invalid_audio",
        )
    packets, at = [], 0
    for size in sizes:
        packets.append(event.audio[at : at + size])
        at += size
    for number, packet in enumerate(packets, 1):
        if not opus_samples(packet):
            raise _not_audio(f"packet {number} of {len(packets)} is no Opus packet")
    return packets


def _not_audio(words: str, param: str = "audio") -> ClientError:
    return ClientError(words, param=param, code="invalid_audio")


def delta(packets: Sequence[bytes], audio_format: AudioFormat) -> Json:
    """Fields of an event that carries them: of Opus, the length of each packet too."""
    whole = {"delta": b"".join(packets)}
    return {**whole, "antiphon": {"packets": [*map(len, packets)]}} if audio_format == "opus" else whole
