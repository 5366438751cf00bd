"""Takes a constant offset out of the sound of many slots: cheap sound cards add one."""

from collections.abc import Mapping

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

    def remove_all(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, Pcm]:
        """The same for frames of many slots, all of one length."""
        if not frames:
            return {}
        slots, block = list(frames), np.stack(list(frames.values()))
        means, kept = block.mean(axis=1), self._means[slots]
        before = np.where(np.isnan(kept), means, kept)
        step = np.float32(WEIGHT) * (means - before)
        self._means[slots] = before + step
        ramp = np.linspace(0, 1, block.shape[1], dtype=np.float32)
        return dict(zip(slots, block - before[:, None] - step[:, None] * ramp, strict=True))

    def remove(self, slot: Slot, frame: Pcm) -> Pcm:
        """The frame around zero."""
        mean = np.float32(frame.mean())
        before = mean if np.isnan(self._means[slot]) else self._means[slot]
        after = before + np.float32(WEIGHT) * (mean - before)
        self._means[slot] = after
        return frame - np.linspace(before, after, len(frame), dtype=np.float32)
