"""Says a sentence in a voice of the corpus; what was said before comes from the cache."""

import functools
from collections.abc import Sequence

import numpy as np
import soxr

from bench.turns import cache
from bench.turns.cutting import RATE
from bench.turns.dialogue import Stretch
from bench.turns.engines import Engine, Speech
from bench.turns.voice_kokoro import Hibari, Kokoro
from bench.turns.voice_piper import Piper
from bench.turns.voices import Voice
from gpu_workers.engine import Pcm


@functools.cache
def engine(kind: str, speaker: str) -> Engine:
    """Loaded once."""
    match kind:
        case "piper":
            return Piper(speaker)
        case "kokoro":
            return Kokoro(speaker)
        case _:
            return Hibari()


def say(voice: Voice, pieces: Sequence[str], speed: float = 1.0) -> tuple[Pcm, list[Stretch]]:
    """One sentence by this voice, `speed` times as fast as it speaks usually, and where each piece lies in it."""
    speaker = engine(voice.engine, voice.speaker)
    reading = speaker.read(pieces)
    pace = round(voice.speed * speed / voice.pitch, 3)
    speech = cache.kept(
        (voice.engine, voice.speaker, pace, reading.ids), lambda: speaker.speak(reading.ids, pace)
    )
    if voice.pitch == 1.0:
        return speech.pcm, speech.stretches(reading)
    shifted = np.asarray(soxr.resample(speech.pcm, RATE * voice.pitch, RATE), np.float32)
    edges = tuple(round(edge / voice.pitch) for edge in speech.edges)
    return shifted, Speech(shifted, edges).stretches(reading)
