"""Who takes the next step when not all can: the earliest deadline first, of those that have something to do. Pure.

Deadlines and `now_s` are seconds of one steady clock that the caller reads; nothing here waits or looks at a clock.
Earliest deadline first misses none as long as the slots together want no more than the steps can give.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

from gpu_workers.engine import Slot

#: A slot that had nothing to give is not tried again for so long, if others want its place and it was fed nothing.
#: Engines that become ready by themselves wait that long at the most; the places lost by trying stay few.
DRY_S = 0.25

#: How much faster than real time a slot with a backlog may work it off at the cost of others: a session that moved
#: here with 30 s of audio must catch up, but not by making live sessions late. Places nobody wants are free to all.
CATCH_UP_X = 2.0


class Batcher:
    """Chooses at most `batch` slots for each step."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._dry_until: dict[Slot, float] = {}

    def choose(self, deadlines: Mapping[Slot, float], now_s: float) -> list[Slot]:
        """The most urgent slots, most urgent first; of equal ones, those that come first in `deadlines`."""
        if len(deadlines) <= self.batch:
            return sorted(deadlines, key=deadlines.__getitem__)
        dry = {slot for slot in deadlines if self.is_dry(slot, now_s)}
        wet = [slot for slot in deadlines if slot not in dry]
        chosen = heapq.nsmallest(self.batch, wet, key=deadlines.__getitem__)
        return chosen + heapq.nsmallest(self.batch - len(chosen), dry, key=deadlines.__getitem__)

    def stepped(self, chosen: Sequence[Slot], gave: Iterable[Slot], now_s: float) -> None:
        """What became of the step: who was chosen and gave nothing lets others go first until it is fed."""
        for slot in chosen:
            self._dry_until[slot] = now_s + DRY_S
        for slot in gave:
            self._dry_until.pop(slot, None)

    def is_dry(self, slot: Slot, now_s: float) -> bool:
        """Whether it had nothing to give lately, and was fed nothing since."""
        return self._dry_until.get(slot, now_s) > now_s

    def fed(self, slot: Slot) -> None:
        """The slot has something to do again, or somebody else sits there now."""
        self._dry_until.pop(slot, None)


class Playback:
    """What the listener of a reply has in hand, and until when. Positions are reply samples."""

    def __init__(self, at: int, wanted_by_s: float, sample_rate: int) -> None:
        self.made_to = at
        self.heard_to = at
        self.begun = False
        self.ends_s = wanted_by_s
        """When the sound in hand is over; before there is any, when the first is wanted."""
        self._rate = sample_rate

    @property
    def in_hand(self) -> int:
        """Samples made and, as far as was reported, not yet heard."""
        return self.made_to - self.heard_to

    def make(self, samples: int, now_s: float) -> None:
        """More sound is out; it is heard after what was in hand, at once if that was nothing."""
        if not samples:
            return
        if not self.begun or self.ends_s < now_s:
            self.begun, self.ends_s = True, now_s
        self.made_to += samples
        self.ends_s += samples / self._rate

    def hear(self, pos: int, now_s: float) -> None:
        """The listener is at `pos` now: that is known better than it was reckoned."""
        if pos <= self.heard_to:
            return
        self.heard_to = pos
        if self.begun:
            self.ends_s = now_s + self.in_hand / self._rate


def due(arrived_s: float, last_due_s: float, frame_s: float) -> float:
    """Deadline of a frame of input: when it came, or, in a backlog, so much after the frame before it that the slot
    takes no more than `CATCH_UP_X` sessions' share from others (a constant-bandwidth server, in the words of real-time
    scheduling)."""
    return max(arrived_s, last_due_s + frame_s / CATCH_UP_X)
