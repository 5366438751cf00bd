"""Who speaks in the corpus: voices of seed A, other voices of seed B, and how a sentence is said in pieces.

An engine says one sentence that is given in pieces, and tells where in the sound each piece lies, by its own alignment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
import soxr

from bench.turns.dialogue import Stretch
from bench.turns.voice_kokoro import Hibari, Kokoro
from bench.turns.voice_piper import Piper
from gpu_workers.engine import Pcm

Seed = Literal["A", "B"]


class Engine(Protocol):
    """A synthesizer of one speaker; 24 kHz."""

    def say(self, pieces: Sequence[str], speed: float) -> tuple[Pcm, Sequence[Stretch]]:
        """One sentence, and the samples from the first to the last phoneme of each piece."""
        ...


@dataclass(frozen=True)
class Voice:
    """A speaker as the corpus has it."""

    name: str
    engine: Literal["piper", "kokoro", "hibari"]
    speaker: str
    speed: float = 1.0
    """Slower than 1 is slower."""
    pitch: float = 1.0
    """By resampling: above 1 a smaller head."""
    level_db: float = 0.0
    """Louder or softer than the corpus' level: people sit near the microphone, or do not."""
    share: int = 1
    """How often it speaks, against the others: the fast engines more often."""


#: Who may speak. No speaker is in both seeds; each has women and men, Americans and Britons, one fast engine.
VOICES: dict[Seed, tuple[Voice, ...]] = {
    "A": (
        Voice("joe", "piper", "joe", speed=0.95, level_db=0.0, share=3),
        Voice("bella", "kokoro", "af_bella", speed=1.0, level_db=-3.0, share=2),
        Voice("michael", "kokoro", "am_michael", speed=1.0, level_db=2.5, share=2),
        Voice("isabella", "kokoro", "bf_isabella", speed=0.95, level_db=4.0, share=1),
    ),
    "B": (
        Voice("heart", "hibari", "af_heart", speed=0.95, level_db=1.0, share=3),
        Voice("fenrir", "kokoro", "am_fenrir", speed=1.0, level_db=-4.0, share=2),
        Voice("emma", "kokoro", "bf_emma", speed=1.0, level_db=3.0, share=2),
        Voice("george", "kokoro", "bm_george", speed=1.0, level_db=-1.0, share=1),
    ),
}


def named(name: str) -> Voice:
    """The voice of that name; KeyError if there is none."""
    return {voice.name: voice for voices in VOICES.values() for voice in voices}[name]


@cache
def engine(kind: str, speaker: str) -> Engine:
    """Loaded once."""
    match kind:
        case "piper":
            return Piper(speaker)
        case "kokoro":
            return Kokoro(speaker)
        case _:
            return Hibari()


def say(voice: Voice, pieces: Sequence[str], speed: float = 1.0) -> tuple[Pcm, Sequence[Stretch]]:
    """One sentence by this voice, `speed` times as fast as it speaks usually."""
    pcm, parts = engine(voice.engine, voice.speaker).say(pieces, voice.speed * speed / voice.pitch)
    if voice.pitch == 1.0:
        return pcm, parts
    shifted = np.asarray(soxr.resample(pcm, 24_000 * voice.pitch, 24_000), np.float32)
    return shifted, [
        Stretch(round(part.begin / voice.pitch), round(part.end / voice.pitch)) for part in parts
    ]
