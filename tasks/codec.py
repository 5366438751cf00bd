"""Packets to samples and back: pcm16 and Opus. The only place where audio is decoded or encoded."""

from typing import Protocol

import numpy as np
import opuslib

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm

#: Longest Opus packet: 120 ms.
MAX_PACKET_SAMPLES = SAMPLE_RATE * 120 // 1000

#: Samples of one packet we write: 20 ms, the length every client expects.
PACKET_SAMPLES = SAMPLE_RATE // 50

#: 1.5-2.3 ms of CPU per second of speech, against 5.5 at the default; lower settings sound worse.
OPUS_COMPLEXITY = 5


class Decoder(Protocol):
    """Packets of one stream to samples, in order."""

    def decode(self, packet: bytes) -> Pcm:
        """Samples of one packet; a packet that cannot be read gives none."""
        ...


class Encoder(Protocol):
    """Samples of one stream to packets."""

    def encode(self, pcm: Pcm) -> list[bytes]:
        """Whole packets of 20 ms; a rest shorter than that waits."""
        ...

    def flush(self) -> list[bytes]:
        """The rest, filled up with silence."""
        ...


class PcmDecoder:
    """16-bit little-endian."""

    def decode(self, packet: bytes) -> Pcm:
        """Two bytes a sample; an odd last byte is ignored."""
        return np.frombuffer(packet, "<i2", count=len(packet) // 2).astype(np.float32) / 32768.0


class OpusDecoder:
    """Raw Opus packets."""

    def __init__(self) -> None:
        self._decoder = opuslib.Decoder(SAMPLE_RATE, 1)

    def decode(self, packet: bytes) -> Pcm:
        """A broken packet is a gap of nothing: the next one is heard again."""
        try:
            pcm = self._decoder.decode_float(packet, MAX_PACKET_SAMPLES)
        except opuslib.OpusError:
            return np.zeros(0, np.float32)
        return np.nan_to_num(np.frombuffer(pcm, np.float32)).clip(-1.0, 1.0)


class _Packetiser:
    """Cuts a stream into 20 ms pieces."""

    def __init__(self) -> None:
        self._rest: Pcm = np.zeros(0, np.float32)

    def encode(self, pcm: Pcm) -> list[bytes]:
        joined = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(joined) // PACKET_SAMPLES * PACKET_SAMPLES
        self._rest = joined[whole:]
        return [self._packet(piece) for piece in joined[:whole].reshape(-1, PACKET_SAMPLES)]

    def flush(self) -> list[bytes]:
        if not len(self._rest):
            return []
        return self.encode(np.zeros(PACKET_SAMPLES - len(self._rest), np.float32))

    def _packet(self, pcm: Pcm) -> bytes:
        raise AssertionError("a codec says how")


class PcmEncoder(_Packetiser):
    """16-bit little-endian."""

    def _packet(self, pcm: Pcm) -> bytes:
        return (pcm.clip(-1.0, 1.0) * 32767.0).astype("<i2").tobytes()


class OpusEncoder(_Packetiser):
    """Raw Opus packets of 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
        self._encoder.complexity = OPUS_COMPLEXITY

    def _packet(self, pcm: Pcm) -> bytes:
        packet: bytes = self._encoder.encode_float(pcm.astype(np.float32).tobytes(), PACKET_SAMPLES)
        return packet


def decoder(audio_format: AudioFormat) -> Decoder:
    """A decoder for one stream."""
    return OpusDecoder() if audio_format == "opus" else PcmDecoder()


def encoder(audio_format: AudioFormat) -> Encoder:
    """An encoder for one stream."""
    return OpusEncoder() if audio_format == "opus" else PcmEncoder()
