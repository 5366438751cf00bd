"""Recordings for the tests of voice cloning: real speech in every kind of file that is taken."""

import io

import numpy as np
import soundfile
import soxr

from tests import speech

#: By the name of a kind: (container, codec) of libsndfile, and the rate that it is written with.
KINDS = {
    "wav": ("WAV", "PCM_16", 44_100),
    "wav of floats": ("WAV", "FLOAT", 48_000),
    "flac": ("FLAC", "PCM_16", 16_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100),
    "ogg with vorbis": ("OGG", "VORBIS", 48_000),
    "ogg with opus": ("OGG", "OPUS", 48_000),
}


def talk(seconds: float = 10.0, gain: float = 4.0):
    """Somebody reads aloud, at 24 kHz."""
    return speech.recording("two_cities")[6_000 : 6_000 + int(seconds * speech.RATE)] * np.float32(gain)


def encoded(pcm, kind: str = "wav", channels: int = 1, rate: int | None = None) -> bytes:
    """A file of this kind."""
    container, codec, usual = KINDS[kind]
    wanted = rate or usual
    sound = soxr.resample(pcm, speech.RATE, wanted) if wanted != speech.RATE else pcm
    file = io.BytesIO()
    soundfile.write(
        file, np.repeat(sound[:, None], channels, axis=1), wanted, format=container, subtype=codec
    )
    return file.getvalue()
