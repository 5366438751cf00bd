"""Real speech for tests: the recordings that moonshine-voice ships, and what is said in them."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from config.errors import EngineMissing
from gpu_workers import weights

RATE = 24_000

#: Charles Dickens, A Tale of Two Cities (1859), first sentence; Samuel Beckett, Worstward Ho (1983), one line.
TEXTS = {
    "two_cities": """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
        foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was
        the season of Darkness, it was the spring of hope, it was the winter of despair, we had everything before us,
        we had nothing before us, we were all going direct to Heaven, we were all going direct the other way - in
        short, the period was so far like the present period, that some of its noisiest authorities insisted on its
        being received, for good or for evil, in the superlative degree of comparison only.""",
    "beckett": "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
}


def there() -> bool:
    """The recordings are installed."""
    try:
        return bool(_path("beckett"))
    except EngineMissing:
        return False


def recording(name: str) -> npt.NDArray[np.float32]:
    """A recording at 24 kHz."""
    pcm, rate = soundfile.read(_path(name), dtype="float32")
    return np.asarray(soxr.resample(pcm, rate, RATE), np.float32)


def _path(name: str) -> Path:
    return weights.find("moonshine_voice", f"assets/{name}.wav", "moonshine-voice")


def silence(seconds: float) -> npt.NDArray[np.float32]:
    """A quiet room."""
    noise = np.random.default_rng(0).normal(0, 2e-4, int(seconds * RATE))
    return noise.astype(np.float32)


def plain(text: str) -> str:
    """Words alone, for counting errors."""
    return " ".join(re.sub(r"[^a-z ]", "", text.lower().replace("-", " ").replace("\n", " ")).split())
