"""Packets to samples and back: pcm16, G.711 and Opus. The only place where audio is decoded or encoded."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import opuslib
from opuslib.api import c_float_pointer
from opuslib.api.decoder import libopus_decode_float

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm
from tasks import g711
from tasks.telephone import RATIO, Narrower, Widener

#: Longest Opus packet: 120 ms.
MAX_PACKET_SAMPLES = SAMPLE_RATE * 120 // 1000

#: Samples of one packet we write: 20 ms, the length every client expects.
PACKET_SAMPLES = SAMPLE_RATE // 50

#: 1.5-2.3 ms of CPU per second of speech, against 5.5 at the default; lower settings sound worse.
OPUS_COMPLEXITY = 5

#: Threads that code Opus beside the loop's own. libopus runs without Python's lock, and 256 streams need up to half of
#: a core each way; more threads than this wait for the lock between their calls.
HELPERS = min(3, (os.cpu_count() or 1) - 1)

#: Streams that one thread codes faster than another is woken.
FEW = 4

Done = TypeVar("Done")


class Decoder(Protocol):
    """Packets of one stream to samples, in order."""

    slow: bool
    """Worth a thread of its own."""

    def decode(self, packet: bytes) -> Pcm:
        """Samples of one packet; a packet that cannot be read gives none."""
        ...


class Encoder(Protocol):
    """Samples of one stream to packets."""

    slow: bool
    """Worth a thread of its own."""

    def encode(self, pcm: Pcm) -> list[bytes]:
        """Whole packets of 20 ms; a rest shorter than that waits."""
        ...

    def flush(self) -> list[bytes]:
        """The rest, filled up with silence."""
        ...


class PcmDecoder:
    """16-bit little-endian."""

    slow = False

    def decode(self, packet: bytes) -> Pcm:
        """Two bytes a sample; an odd last byte is ignored."""
        return np.frombuffer(packet, "<i2", count=len(packet) // 2).astype(np.float32) / 32768.0


class OpusDecoder:
    """Raw Opus packets."""

    slow = True

    def __init__(self) -> None:
        self._decoder = opuslib.Decoder(SAMPLE_RATE, 1)
        self._pcm: Pcm = np.zeros(MAX_PACKET_SAMPLES, np.float32)
        self._pointer = self._pcm.ctypes.data_as(c_float_pointer)

    def decode(self, packet: bytes) -> Pcm:
        """A broken packet is a gap of nothing: the next one is heard again."""
        if not packet:  # libopus takes it for a loss, and makes up what was lost
            return np.zeros(0, np.float32)
        # opuslib's own method makes a Python number of each sample, which takes as long as decoding them
        samples = libopus_decode_float(
            self._decoder.decoder_state, packet, len(packet), self._pointer, MAX_PACKET_SAMPLES, 0
        )
        if samples <= 0:
            return np.zeros(0, np.float32)
        pcm = self._pcm[:samples].clip(-1.0, 1.0)
        return pcm if np.isfinite(pcm @ pcm) else np.nan_to_num(pcm)


class G711Decoder:
    """A byte a sample, at 8 kHz."""

    slow = False

    def __init__(self, law: g711.Law) -> None:
        self._law = law
        self._widener = Widener()

    def decode(self, packet: bytes) -> Pcm:
        """Three samples for each byte, at our rate."""
        return self._widener.take(g711.expand(packet, self._law).astype(np.float32) / 32768.0)


class _Packetiser:
    """Cuts a stream into pieces of 20 ms, which are `size` samples."""

    def __init__(self, size: int = PACKET_SAMPLES) -> None:
        self._size = size
        self._rest: Pcm = np.zeros(0, np.float32)

    def encode(self, pcm: Pcm) -> list[bytes]:
        return self._cut(pcm)

    def flush(self) -> list[bytes]:
        if not len(self._rest):
            return []
        return self._cut(np.zeros(self._size - len(self._rest), np.float32))

    def _cut(self, pcm: Pcm) -> list[bytes]:
        joined = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:]
        return self._packets(joined[:whole]) if whole else []

    def _packets(self, pcm: Pcm) -> list[bytes]:
        raise AssertionError("a codec says how")


class PcmEncoder(_Packetiser):
    """16-bit little-endian."""

    slow = False

    def _packets(self, pcm: Pcm) -> list[bytes]:
        data = _sixteen_bits(pcm).tobytes()
        return [data[at : at + 2 * PACKET_SAMPLES] for at in range(0, len(data), 2 * PACKET_SAMPLES)]


class G711Encoder(_Packetiser):
    """A byte a sample, at 8 kHz. The first packet waits for 2 ms of what follows; it is none late in the sound."""

    slow = False

    def __init__(self, law: g711.Law) -> None:
        super().__init__(PACKET_SAMPLES // RATIO)
        self._law = law
        self._narrower = Narrower()

    def encode(self, pcm: Pcm) -> list[bytes]:
        return self._cut(self._narrower.take(pcm))

    def flush(self) -> list[bytes]:
        return self._cut(self._narrower.flush()) + super().flush()

    def _packets(self, pcm: Pcm) -> list[bytes]:
        data = g711.compress(_sixteen_bits(pcm), self._law)
        return [data[at : at + self._size] for at in range(0, len(data), self._size)]


class OpusEncoder(_Packetiser):
    """Raw Opus packets of 20 ms."""

    slow = True

    def __init__(self) -> None:
        super().__init__()
        self._encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
        self._encoder.complexity = OPUS_COMPLEXITY

    def _packets(self, pcm: Pcm) -> list[bytes]:
        data = pcm.astype(np.float32).tobytes()
        return [
            self._encoder.encode_float(data[at : at + 4 * PACKET_SAMPLES], PACKET_SAMPLES)
            for at in range(0, len(data), 4 * PACKET_SAMPLES)
        ]


class Choir:
    """Codes many streams at once, on several threads where it pays; of one stream everything in order."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(1, HELPERS), "codec")  # threads begin when there is work

    def code(self, jobs: Sequence[Callable[[], Done]], *, slow: bool) -> tuple[list[Done], float]:
        """What each job gives, in order, and the CPU seconds that other threads spent. Each job has its own stream."""
        if not slow or len(jobs) <= FEW or not HELPERS:
            return [job() for job in jobs], 0.0
        size = -(-len(jobs) // min(HELPERS + 1, -(-len(jobs) // FEW)))
        parts = [jobs[at : at + size] for at in range(0, len(jobs), size)]
        others = [self._pool.submit(_timed, part) for part in parts[1:]]
        done = [job() for job in parts[0]]
        cpu_s = 0.0
        for other in others:
            made, took_s = other.result()
            done += made
            cpu_s += took_s
        return done, cpu_s


def _timed(jobs: Sequence[Callable[[], Done]]) -> tuple[list[Done], float]:
    began = time.thread_time()
    return [job() for job in jobs], time.thread_time() - began


def _sixteen_bits(pcm: Pcm) -> g711.Samples:
    return (pcm.clip(-1.0, 1.0) * 32767.0).astype("<i2")


def decoder(audio_format: AudioFormat) -> Decoder:
    """A decoder for one stream."""
    match audio_format:
        case "pcm16":
            return PcmDecoder()
        case "opus":
            return OpusDecoder()
        case "pcmu" | "pcma":
            return G711Decoder(audio_format)


def encoder(audio_format: AudioFormat) -> Encoder:
    """An encoder for one stream."""
    match audio_format:
        case "pcm16":
            return PcmEncoder()
        case "opus":
            return OpusEncoder()
        case "pcmu" | "pcma":
            return G711Encoder(audio_format)
