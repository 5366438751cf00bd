"""A soft beginning for audio that goes on in mid-stream. The only place of the web that looks into packets."""

from collections.abc import Sequence

import numpy as np
import opuslib

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE

#: Samples of one packet: 20 ms.
PACKET_SAMPLES = SAMPLE_RATE // 50

#: Packets before the first one that a decoder hears, to be where the encoder was.
WARM_UP = 3


def faded_in(
    packets: Sequence[bytes], before: Sequence[bytes], audio_format: AudioFormat, fade_ms: int
) -> list[bytes]:
    """The packets, of 20 ms each, the first `fade_ms` of them louder and louder. before: what came before them.

    Opus is decoded and encoded for that, 0.2 ms of work; the client's decoder hears the change of encoder no more than
    a lost packet. Packets that cannot be read stay as they are.
    """
    count = min(len(packets), -(-fade_ms * SAMPLE_RATE // 1000 // PACKET_SAMPLES))
    if not count:
        return list(packets)
    gains = np.linspace(0, 1, count * PACKET_SAMPLES, endpoint=False, dtype=np.float32)
    fade = _faded_opus if audio_format == "opus" else _faded_pcm
    return [*fade(packets[:count], before[-WARM_UP:], gains), *packets[count:]]


def _faded_pcm(packets: Sequence[bytes], _: Sequence[bytes], gains: np.ndarray) -> list[bytes]:
    faded = []
    for packet, gain in zip(packets, gains.reshape(len(packets), -1), strict=True):
        pcm = np.frombuffer(packet, "<i2")
        faded.append((pcm * gain[: len(pcm)]).astype("<i2").tobytes() if len(pcm) <= len(gain) else packet)
    return faded


def _faded_opus(packets: Sequence[bytes], before: Sequence[bytes], gains: np.ndarray) -> list[bytes]:
    decoder = opuslib.Decoder(SAMPLE_RATE, 1)
    encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
    try:
        for packet in before:
            decoder.decode_float(packet, PACKET_SAMPLES)
        heard = [
            np.frombuffer(decoder.decode_float(packet, PACKET_SAMPLES), np.float32) for packet in packets
        ]
        soft = [pcm * gain for pcm, gain in zip(heard, gains.reshape(len(packets), -1), strict=True)]
        return [encoder.encode_float(pcm.astype(np.float32).tobytes(), PACKET_SAMPLES) for pcm in soft]
    except (opuslib.OpusError, ValueError):
        return list(packets)
