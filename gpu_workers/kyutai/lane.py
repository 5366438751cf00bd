"""What the model hears of one slot, one frame a step, and which audio its words are about. Pure.

The words come a fixed number of frames after their audio. To have the last ones now, silence is put between the frames;
what arrives meanwhile waits, and is caught up as fast as steps are made. Positions are session samples.
"""

from collections import deque
from dataclasses import dataclass

from gpu_workers.engine import Pcm

#: A flush is so much longer than the delay, in frames: Unmute's are 8 for a delay that is 5 by our count.
MORE = 3

#: Steps that wait at the most: 5 s. A flush takes half a second's worth of them; more means that nobody steps.
MAX_WAITING = 64


@dataclass(frozen=True, eq=False)
class Frame:
    """Audio from session sample `begin` on; None: silence, which has no place of its own."""

    pcm: Pcm | None = None
    begin: int = 0
    ends_flush: bool = False


SILENCE = Frame()


class Lane:
    """Frames of `size` samples from session sample `start` on, words `delay` frames after them."""

    def __init__(self, start: int, size: int, delay: int, prefix: int) -> None:
        self._size = size
        self._delay = delay
        self._waiting = deque([SILENCE] * prefix)
        self._begins: deque[int] = deque(maxlen=delay + 1)
        self._reached = start
        self.end = start
        """After the newest frame that came."""
        self.dropped = 0
        """Frames that came while too much waited."""

    def __len__(self) -> int:
        """Steps that are due."""
        return len(self._waiting)

    @property
    def about(self) -> int | None:
        """Where the audio begins that the token of the newest step is about; None before the first."""
        return self._begins[0] if len(self._begins) > self._delay else None

    def add(self, pcm: Pcm) -> None:
        """The next frame. If too much waits, the oldest frame is dropped for it."""
        self._waiting.append(Frame(pcm, self.end))
        self.end += self._size
        if len(self._waiting) > MAX_WAITING:
            self._waiting.remove(next(frame for frame in self._waiting if frame.pcm is not None))
            self.dropped += 1

    def flush(self) -> None:
        """Silence after what waits, so that all its words come; none where too much waits already."""
        silent = self._delay + MORE - 1 if len(self._waiting) <= MAX_WAITING else 0
        self._waiting.extend([SILENCE] * silent)
        self._waiting.append(Frame(ends_flush=True))

    def take(self) -> Frame:
        """What the next step hears; only where steps are due."""
        frame = self._waiting.popleft()
        if frame.pcm is None:  # what is said of silence belongs to the audio before it
            self._begins.append(self._reached - 1)
        else:
            self._begins.append(frame.begin)
            self._reached = frame.begin + self._size
        return frame
