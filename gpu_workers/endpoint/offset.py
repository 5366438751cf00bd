"""Takes a constant offset out of the sound of many slots: cheap sound cards add one."""

import numpy as np

from gpu_workers.engine import Pcm, Slot

#: Share of a new frame's mean in the running one: 0.3 s of frames of 32 ms, so that the lowest voice stays whole.
WEIGHT = 0.1


class Offset:
    """Follows the mean of each slot's frames; what it subtracts changes smoothly within a frame."""

    def __init__(self, slots: int) -> None:
        self._means = np.full(slots, np.nan, np.float32)

    def reset(self, slot: Slot) -> None:
        """Forgets the slot; the next frame's mean is believed at once."""
        self._means[slot] = np.nan

    def remove(self, slot: Slot, frame: Pcm) -> Pcm:
        """The frame around zero."""
        mean = np.float32(frame.mean())
        before = mean if np.isnan(self._means[slot]) else self._means[slot]
        after = before + np.float32(WEIGHT) * (mean - before)
        self._means[slot] = after
        return frame - np.linspace(before, after, len(frame), dtype=np.float32)
