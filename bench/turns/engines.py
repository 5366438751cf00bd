"""What an engine of the corpus is: it reads a sentence in pieces, and speaks what it has read. Pure data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.turns.dialogue import Stretch
from gpu_workers.engine import Pcm


@dataclass(frozen=True)
class Reading:
    """A sentence as the model takes it: ids of phonemes, and the first and last+1 id of each piece without its mark."""

    ids: tuple[int, ...]
    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Speech:
    """Sound at 24 kHz, and the sample at which each id begins; one more, for the end."""

    pcm: Pcm
    edges: tuple[int, ...]

    def stretches(self, reading: Reading) -> list[Stretch]:
        """Where each piece sounds, by the model's own durations."""
        return [Stretch(self.edges[begin], self.edges[end]) for begin, end in reading.pieces]


class Engine(Protocol):
    """A synthesizer of one speaker."""

    def read(self, pieces: Sequence[str]) -> Reading:
        """One sentence."""
        ...

    def speak(self, ids: Sequence[int], speed: float) -> Speech:
        """What was read, so fast."""
        ...
