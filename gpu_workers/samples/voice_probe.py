"""Whether a voice encoder hears at all: weights whose encoder is empty load as others do, and make one voice of all."""

from collections.abc import Callable

import numpy as np

from config.errors import ConfigError
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm

#: Two samples this long, far apart in pitch and colour.
SECONDS = 4.0

#: Relative distance of two embeddings below which they are one.
SAME = 1e-6


def require_hearing(embed: Callable[[Pcm], Pcm], what: str) -> None:
    """Raises ConfigError where two unlike sounds have the same embedding, or one that is no number."""
    time = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    low = 0.1 * np.sign(np.sin(2 * np.pi * 110 * time)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    high = 0.1 * np.random.default_rng(0).normal(size=len(time)) * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * time))
    first, second = (embed(sound.astype(np.float32)) for sound in (low, high))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ConfigError(f"{what} give embeddings that are no numbers")
    if np.abs(first - second).max() <= SAME * max(1e-9, float(np.abs(first).max())):
        raise ConfigError(f"{what} are without an encoder: every voice is the same to them")
