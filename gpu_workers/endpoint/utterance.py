"""What one speaker says until the utterance is closed: its audio, its segments, their texts. Pure bookkeeping."""

from collections import deque
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from gpu_workers.engine import Pcm

#: Sampling rate of what is kept.
TAPE_RATE = 16_000

#: An utterance forgets its first words after so many segments: 8 to 15 minutes of a radio.
MAX_SEGMENTS = 60


class Tape:
    """The newest audio of a slot at 16 kHz, addressed by session samples (24 kHz)."""

    def __init__(self, start: int) -> None:
        self.start = start
        """Session sample of the first block kept."""
        self.end = start
        self._blocks: deque[Pcm] = deque()

    def add(self, block: Pcm) -> None:
        """Appends what was heard next."""
        self._blocks.append(block)
        self.end += _session(len(block))

    def forget_before(self, at: int) -> None:
        """Drops whole blocks that end at or before session sample `at`."""
        while self._blocks and self.start + _session(len(self._blocks[0])) <= at:
            self.start += _session(len(self._blocks.popleft()))

    def read(self, begin: int, end: int) -> Pcm:
        """The audio between two session samples, as far as it is kept."""
        if not self._blocks:
            return np.zeros(0, np.float32)
        joined = np.concatenate(self._blocks)
        return joined[max(0, begin - self.start) * 2 // 3 : max(0, end - self.start) * 2 // 3]


def _session(samples_16k: int) -> int:
    return samples_16k * 3 // 2


@dataclass(eq=False)
class Segment:
    """A part of an utterance that is decoded by itself. Positions are session samples."""

    start: int
    text: str = ""
    asked_to: int = -1
    """All voice up to here is in a decode that was asked for and will be waited for."""
    settled_to: int = -1
    """All voice up to here is in `text`."""
    confidence: float = 1.0
    """How sure the recogniser is of `text`, from 0 to 1."""


@dataclass(eq=False)
class Utterance:
    """Open until it is committed; then `closed_to` says where its voice ended, and a final transcript is owed."""

    start: int
    voice_from: int
    """Onset of its newest voice."""
    paused_at: int = -1
    """Where its voice last ended."""
    segments: list[Segment] = field(default_factory=list)
    partial_at: int = 0
    """Where the newest partial decode was asked for."""
    closed_to: int | None = None

    def __post_init__(self) -> None:
        self.segments = self.segments or [Segment(self.start)]

    @classmethod
    def empty(cls, at: int) -> Self:
        """Nothing was said before it was closed at `at`."""
        return cls(at, at, segments=[Segment(at, asked_to=at, settled_to=at)], closed_to=at)

    @property
    def newest(self) -> Segment:
        """The segment that still grows."""
        return self.segments[-1]

    @property
    def text(self) -> str:
        """What is understood so far."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def confidence(self) -> float:
        """That of the part understood worst."""
        return min((segment.confidence for segment in self.segments if segment.text), default=1.0)

    def settled(self, voice_to: int) -> bool:
        """All voice up to `voice_to` is in the text."""
        *closed, newest = self.segments
        return newest.settled_to >= voice_to and all(part.settled_to >= part.asked_to for part in closed)

    def split(self, at: int) -> None:
        """What follows `at` is decoded by itself."""
        self.segments.append(Segment(at))
        del self.segments[:-MAX_SEGMENTS]

    def skip_to(self, at: int, voice_to: int) -> None:
        """What follows is decoded from `at` on; up to there was silence since `voice_to`, which is in the text."""
        if self.newest.text or self.newest.start <= voice_to:
            self.split(at)
            self.newest.asked_to = self.newest.settled_to = voice_to
        self.newest.start = at
