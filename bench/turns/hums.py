"""What people hum while they listen: "mm-hm", "mm", "hmm". Synthesizers spell these out or say words. Pure.

A voice through closed lips: harmonics that fall off steeply, one strong low resonance of the nose, weak ones above.
"""

import re
import zlib

import numpy as np

from bench.turns.cutting import RATE
from bench.turns.dialogue import Phrase
from bench.turns.noises import Rng, envelope, resonant, shaped, unit
from gpu_workers.engine import Pcm

_HUM = re.compile(r"^(mm-hm|mhm|hmm|mm)\b[.,]?", re.IGNORECASE)

#: Pitch at the beginning, in the middle and at the end of each part, against the speaker's, and how long it lasts, s.
#: "mm-hm" dips and rises, "hmm" falls, "mm" says that one listens.
MELODIES = {
    "mm-hm": (((1.0, 0.95, 0.92), 0.17), ((1.08, 1.2, 1.28), 0.24)),
    "mhm": (((1.05, 1.0, 0.94), 0.13), ((1.0, 1.02, 0.9), 0.2)),
    "mm": (((1.0, 1.05, 0.9), 0.34),),
    "hmm": (((1.05, 1.0, 0.82), 0.48),),
}

#: Of the nose with closed lips: Hz, width, gain.
NASAL = ((260.0, 70.0, 1.0), (1050.0, 160.0, 0.12), (2250.0, 220.0, 0.08))


def is_hum(text: str) -> bool:
    """Whether it is nothing but a hum."""
    found = _HUM.match(text)
    return found is not None and found.end() == len(text)


def apart(text: str) -> tuple[Phrase, ...]:
    """A hum and what is said after it are two phrases: two ways of making them."""
    found = _HUM.match(text)
    if not found or found.end() == len(text):
        return (Phrase(text),)
    return Phrase(found[0].rstrip(",.") + ".", 60), Phrase(text[found.end() :].strip().capitalize())


def hum(text: str, hz: float) -> Pcm:
    """The hum of a person with this pitch; the same for the same text and pitch."""
    rng = np.random.default_rng(zlib.crc32(f"{text} {hz}".encode()))
    parts: list[Pcm] = []
    for melody, length_s in MELODIES[text.lower().rstrip(".,")]:
        if parts:  # the h between, through the nose
            breath = shaped(rng, int(0.05 * RATE), 0.6, 300, 4000)
            parts.append(np.asarray(breath * 0.05 * np.hanning(len(breath)), np.float32))
        parts.append(_part(rng, hz, melody, length_s * rng.uniform(0.9, 1.25)))
    return np.concatenate(parts)


def _part(rng: Rng, hz: float, melody: tuple[float, float, float], length_s: float) -> Pcm:
    samples = int(length_s * RATE)
    knots = np.arange(0, samples + 240, 240)  # the pitch trembles, a hundred times a second
    wobble = 1 + 0.008 * np.interp(np.arange(samples), knots, rng.normal(size=len(knots)))
    pitch = hz * envelope([0, length_s / 2, length_s], list(melody), samples) * wobble
    phase = 2 * np.pi * np.cumsum(pitch / RATE)
    voice = sum(np.cos(k * phase + 0.3 * k) / k**1.3 for k in range(1, int(3000 / hz)))
    source = unit(np.asarray(voice)) + 0.02 * shaped(rng, samples, 0.8, 100, 5000)
    shape = envelope([0, 0.04, length_s - 0.07, length_s], [0, 1, 0.8, 0], samples)
    return np.asarray(resonant(np.asarray(source, np.float32), list(NASAL)) * shape, np.float32)
