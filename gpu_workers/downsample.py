"""From 24 to 16 kHz, frame by frame, for many slots at once."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from gpu_workers.engine import Pcm, Slot

#: Length of the filter in input samples: 60 dB of rejection with a transition of 1 kHz.
TAPS = 96

#: By how many input samples the output is late; linear phase, so the same for all frequencies.
DELAY = TAPS // 2


@cache
def _filters() -> Pcm:
    """(TAPS, 2): columns that give the first and the second of every two output samples from a window of input.

    A Kaiser-windowed sinc that cuts at 7.6 kHz; the second output sample lies 1.5 input samples after the first.
    """
    time = np.arange(TAPS)[:, None] - DELAY - np.array([0.0, 1.5])
    cut = 2 * 7_600 / 24_000
    window = np.i0(6.0 * np.sqrt(np.clip(1 - (time / (DELAY + 1)) ** 2, 0, 1))) / np.i0(6.0)
    taps = cut * np.sinc(cut * time) * window
    return np.asarray(taps / taps.sum(axis=0), np.float32)


class Downsampler:
    """Keeps the end of each slot's input. Frames are of one length, a multiple of three."""

    def __init__(self, slots: int) -> None:
        self._before = np.zeros((slots, TAPS), np.float32)

    def reset(self, slot: Slot) -> None:
        """Forgets what the slot heard."""
        self._before[slot] = 0

    def convert(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, Pcm]:
        """Each frame at 16 kHz, two thirds as long and DELAY input samples late."""
        if not frames:
            return {}
        slots = list(frames)
        joined = np.concatenate([self._before[slots], np.stack(list(frames.values()))], axis=1)
        self._before[slots] = joined[:, -TAPS:]
        windows = np.lib.stride_tricks.sliding_window_view(joined, TAPS, axis=1)[:, :-1:3]
        return dict(zip(slots, (windows @ _filters()).reshape(len(slots), -1), strict=True))
