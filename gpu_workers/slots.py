"""A table of slots: who sits where, and how often a seat was given. Pure."""

from gpu_workers.engine import Slot


class SlotTable:
    """`size` slots, given out lowest first. A generation tells late results of an earlier holder from today's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = set(range(size))
        self._generations = [0] * size

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return len(self._free)

    def take(self) -> Slot | None:
        """A free slot, or None when all are held."""
        if not self._free:
            return None
        slot = min(self._free)
        self._free.remove(slot)
        self._generations[slot] += 1
        return slot

    def give_back(self, slot: Slot) -> None:
        """Frees a slot; freeing it twice changes nothing."""
        self._free.add(slot)

    def generation(self, slot: Slot) -> int:
        """How often the slot was given out."""
        return self._generations[slot]
