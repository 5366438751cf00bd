"""Voice activity by Silero: a probability for each 32 ms of each slot, many slots in one run. Decides nothing."""

from collections.abc import Mapping

import numpy as np

from gpu_workers import onnx, weights
from gpu_workers.engine import Pcm, Slot

#: What the model takes at 16 kHz: a frame, and before it the end of the frame before.
FRAME = 512
CONTEXT = 64

#: Width of the model's recurrent state: (2, slots, STATE).
STATE = 128


class SileroVad:
    """Keeps the recurrent state of `slots` slots. Not thread-safe."""

    def __init__(self, slots: int, threads: int) -> None:
        self._session = onnx.session(
            weights.find("silero_vad", "data/silero_vad_16k_op15.onnx", "silero-vad"), threads
        )
        self._rate = np.array(16_000, np.int64)
        self._state = np.zeros((2, slots, STATE), np.float32)
        self._context = np.zeros((slots, CONTEXT), np.float32)

    def reset(self, slot: Slot) -> None:
        """Forgets what the slot heard."""
        self._state[:, slot] = 0
        self._context[slot] = 0

    def probabilities(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, float]:
        """For each slot, how probable voice is in its frame of (512,) at 16 kHz."""
        if not frames:
            return {}
        slots = list(frames)
        pcm = np.stack(list(frames.values()))
        joined = np.concatenate([self._context[slots], pcm], axis=1)
        feeds = {"input": joined, "state": self._state[:, slots], "sr": self._rate}
        voiced, state = self._session.run(None, feeds)
        self._state[:, slots] = state
        self._context[slots] = pcm[:, -CONTEXT:]
        return dict(zip(slots, voiced[:, 0].tolist(), strict=True))
