"""A clause that comes in pieces from a model that tells no times: cuts the quiet around it, guesses when words sound.

Words share the time by their letters, at a pace learnt from the clauses before. Audio is given out up to the end of a
word, so that no word is told to last longer than the clause turns out to be. Pure.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from config.settings import SAMPLE_RATE
from gpu_workers.clauses.clause_runner import Spoken
from gpu_workers.clauses.word_times import MARGIN_S, SILENCE
from gpu_workers.engine import Pcm

#: What a word has beside its letters, in letters: the gap behind it.
GAP_LETTERS = 1

#: Samples for each letter before anything was heard: 15 a second, gaps counted, as people read aloud.
USUAL_PACE = SAMPLE_RATE / 15

#: No model is trusted beyond these: a clause that ran on, or broke off, must not spoil the guesses after it.
SLOWEST_PACE, FASTEST_PACE = SAMPLE_RATE / 6, SAMPLE_RATE / 30

#: Weight of the newest clause in the pace.
NEWEST = 0.3

_NOTHING: Pcm = np.zeros(0, np.float32)


def weight(word: str) -> int:
    """Letters of a word, its gap included; a word that is not spoken has none."""
    return sum(map(str.isalnum, word)) + GAP_LETTERS if word else 0


def next_pace(pace: float, words: Sequence[str], samples: int) -> float:
    """The pace after a clause that took so long."""
    letters = sum(map(weight, words))
    heard = min(max(samples / letters, FASTEST_PACE), SLOWEST_PACE) if letters and samples else pace
    return (1 - NEWEST) * pace + NEWEST * heard


class PacedClause:
    """One clause. Positions are samples since its first sound."""

    def __init__(self, words: Sequence[str], pace: float) -> None:
        self._edges = [round(edge * pace) for edge in itertools.accumulate(map(weight, words), initial=0)]
        self._weights = [weight(word) for word in words]
        self._told = 0
        """Words whose times were given out."""
        self._begun = False
        self._held = _NOTHING
        """Sound that is not given out yet, or quiet of which nobody knows if sound follows."""
        self.given = 0
        """Samples given out."""

    def add(self, pcm: Pcm) -> Spoken | None:
        """What can be given out now that this has come; None if nothing can."""
        self._held = np.concatenate([self._held, pcm])
        loud = np.flatnonzero(np.abs(self._held) > SILENCE)
        margin = int(MARGIN_S * SAMPLE_RATE)
        if not self._begun:
            self._held = self._held[max(0, int(loud[0]) - margin) :] if len(loud) else self._held[-margin:]
            self._begun = bool(len(loud))
            loud = loud - loud[0] + min(int(loud[0]), margin) if len(loud) else loud
        if not len(loud):
            return None
        return self._give(min(int(loud[-1]) + margin + 1, len(self._held)))

    def _give(self, sure: int) -> Spoken | None:
        """Up to the last word's end within the `sure` samples that surely belong to the clause."""
        known = self.given + sure
        ends = [edge for edge in self._edges[self._told + 1 :] if edge <= known]
        all_told = self._told + len(ends) == len(self._weights)
        upto = known if all_told else ends[-1] if ends else 0
        if upto <= self.given:
            return None
        spans = [self._span(number) for number in range(self._told, self._told + len(ends))]
        return self._cut(upto - self.given, spans)

    def _span(self, number: int) -> tuple[int, int]:
        return self._edges[number], self._edges[number + 1]

    def _cut(self, samples: int, spans: list[tuple[int, int]]) -> Spoken:
        pcm, self._held = self._held[:samples], self._held[samples:]
        self._told += len(spans)
        self.given += len(pcm)
        return Spoken(pcm, spans)

    def end(self) -> Spoken:
        """The rest, without the quiet behind it: the words that were not told share it."""
        loud = np.flatnonzero(np.abs(self._held) > SILENCE)
        sound = int(loud[-1]) + 1 if len(loud) else 0
        rest = min(sound + int(MARGIN_S * SAMPLE_RATE), len(self._held)) if self._begun else 0
        weights = self._weights[self._told :]
        total = max(1, sum(weights))
        edges = [self.given + rest * edge // total for edge in itertools.accumulate(weights, initial=0)]
        return self._cut(rest, list(itertools.pairwise(edges)))
