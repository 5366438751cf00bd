"""When the words of a clause sound, in what a synthesizer made of it. Pure."""

from collections.abc import Sequence

import numpy as np

from gpu_workers.engine import Pcm

#: Below this a sample is silence: -45 dBFS.
SILENCE = 0.0056

#: Kept around the sound when silence is cut off: soft beginnings and ends.
MARGIN_S = 0.01


def spans(words: Sequence[str], times: Sequence[tuple[float, float]], length: int) -> list[tuple[int, int]]:
    """Start and stop of each word, in order and within the audio; a word without sound is a moment.

    times: of the words that are not empty.
    """
    found, at = [], 0
    left = iter(times)
    for word in words:
        start, stop = next(left) if word else (at, at)
        begin = min(max(at, int(start)), length)
        at = min(max(begin, int(stop)), length)
        found.append((begin, at))
    return found


def trimmed(pcm: Pcm, rate: int) -> tuple[int, Pcm]:
    """The audio without silence around it, and how much was cut off in front."""
    loud = np.flatnonzero(np.abs(pcm) > SILENCE)
    if not len(loud):
        return 0, pcm[:0]
    margin = int(MARGIN_S * rate)
    begin = max(0, int(loud[0]) - margin)
    return begin, pcm[begin : int(loud[-1]) + margin + 1]
