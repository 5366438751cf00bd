"""Voice activity for frames that are no multiple of Silero's: probability and level of each 32 ms, for many slots.

The detector is Silero on the CPU; it works while the GPU does the same frames' words.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from config.settings import SAMPLE_RATE
from gpu_workers.downsample import Downsampler
from gpu_workers.endpoint.levels import level_db
from gpu_workers.endpoint.offset import Offset
from gpu_workers.endpoint.silero import FRAME, SileroVad
from gpu_workers.engine import Pcm, Slot

#: Session samples of one of Silero's frames.
HEARD = FRAME * SAMPLE_RATE // 16_000


@dataclass(frozen=True)
class Voiced:
    """The next HEARD samples of a slot are voice with this probability."""

    probability: float
    level: float
    """dB below full scale."""


class FrameVad:
    """Keeps what is left of each slot's frame. Not thread-safe."""

    def __init__(self, slots: int, threads: int) -> None:
        self._silero = SileroVad(slots, threads)
        self._offset = Offset(slots)
        self._downsampler = Downsampler(slots)
        self._rest: dict[Slot, Pcm] = {}

    def reset(self, slot: Slot) -> None:
        """Forgets what the slot heard."""
        self._silero.reset(slot)
        self._offset.reset(slot)
        self._downsampler.reset(slot)
        self._rest.pop(slot, None)

    def hear(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, list[Voiced]]:
        """What is known of frames of 24 kHz, all of one length: two or three items for each frame of 80 ms."""
        even = {slot: self._offset.remove(slot, pcm) for slot, pcm in frames.items()}
        left = {
            slot: np.concatenate([self._rest[slot], pcm]) if slot in self._rest else pcm
            for slot, pcm in self._downsampler.convert(even).items()
        }
        heard: dict[Slot, list[Voiced]] = {slot: [] for slot in frames}
        while whole := {slot: pcm[:FRAME] for slot, pcm in left.items() if len(pcm) >= FRAME}:
            for slot, probability in self._silero.probabilities(whole).items():
                heard[slot].append(Voiced(probability, level_db(whole[slot])))
                left[slot] = left[slot][FRAME:]
        self._rest.update(left)
        return heard
