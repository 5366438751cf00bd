"""A client's player: begins with the first audio, plays what it was given, waits when it has nothing. Pure."""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from gpu_workers.engine import Pcm

RATE = 24_000


@dataclass(frozen=True)
class Piece:
    """Audio received at `t` that sounds from `begins` on, in seconds of the session."""

    t: float
    begins: float
    pcm: Pcm = field(repr=False)

    @property
    def ends(self) -> float:
        """When it has sounded."""
        return self.begins + len(self.pcm) / RATE


class Player:
    """Of one reply or of many, one after another."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def give(self, t: float, pcm: Pcm) -> None:
        """Audio came at `t`."""
        self.pieces.append(Piece(t, max(t, self.runs_out), pcm))

    @property
    def runs_out(self) -> float:
        """When all that came has sounded."""
        return self.pieces[-1].ends if self.pieces else 0.0

    def sounded(self, until: float) -> Pcm:
        """What was heard before `until`, without the waits."""
        parts = [piece.pcm[: max(0, round((until - piece.begins) * RATE))] for piece in self.pieces]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def window(self, begin: float, samples: int) -> Pcm:
        """What sounds from `begin` on, waits included."""
        out = np.zeros(samples, np.float32)
        first = bisect_right(self.pieces, begin, key=lambda piece: piece.ends)
        for piece in self.pieces[first:]:
            at = round((piece.begins - begin) * RATE)
            if at >= samples:
                break
            part = piece.pcm[max(0, -at) :][: samples - max(0, at)]
            out[max(0, at) : max(0, at) + len(part)] += part
        return out

    def stall(self, begin: float, until: float) -> tuple[float, float] | None:
        """The first wait that began in that time: when the player ran dry, and when sound came again."""
        for before, after in zip(self.pieces, self.pieces[1:], strict=False):
            if begin <= before.ends < until and after.begins > before.ends + 1e-6:
                return before.ends, after.begins
        return None
