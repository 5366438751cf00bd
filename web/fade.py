"""A soft beginning for audio that goes on in mid-stream. The only place of the web that looks into packets."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import opuslib

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from tasks import g711
from web.packets import RATIO

#: Samples of one packet: 20 ms.
PACKET_SAMPLES = SAMPLE_RATE // 50

Gains = npt.NDArray[np.float32]

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
    if audio_format == "opus":
        faded = _faded_opus(packets[:count], before[-WARM_UP:], gains)
    else:
        each = zip(packets, gains.reshape(count, -1), strict=False)
        faded = [_faded(packet, gain, audio_format) for packet, gain in each]
    return [*faded, *packets[count:]]


def _faded(packet: bytes, gain: Gains, audio_format: Literal["pcm16", "pcmu", "pcma"]) -> bytes:
    """Sample by sample; G.711 by its tables."""
    if audio_format == "pcm16":
        pcm, gain = np.frombuffer(packet, "<i2"), gain[: len(packet) // 2]
    else:
        pcm, gain = g711.expand(packet, audio_format), gain[:: RATIO[audio_format]][: len(packet)]
    if len(gain) < len(pcm):
        return packet
    soft = (pcm * gain).astype("<i2")
    return soft.tobytes() if audio_format == "pcm16" else g711.compress(soft, audio_format)


def _faded_opus(packets: Sequence[bytes], before: Sequence[bytes], gains: Gains) -> list[bytes]:
    decoder = opuslib.Decoder(SAMPLE_RATE, 1)
    # this application stays in CELT, the mode of the packets that follow; changing modes takes 100 ms to settle
    encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_RESTRICTED_LOWDELAY)
    encoder.encode_float(bytes(4 * PACKET_SAMPLES), PACKET_SAMPLES)
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
