"""Streams between 8 kHz, the rate of telephones, and our 24 kHz. Whatever the cuts, the same samples come out.

Each is one filter of finite length, so its delay is known and short: soxr, which resamples whole recordings elsewhere,
holds a stream back by 40 to 75 ms. `docs/decisions.md` has the figures.
"""

import numpy as np

from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm

TELEPHONE_RATE = 8_000

#: Our samples for one of a telephone's.
RATIO = SAMPLE_RATE // TELEPHONE_RATE

#: Samples of a telephone's on each side of the one that is made: 2 ms.
REACH = 16

#: Where the filter is down to half, in Hz: 0.3 dB are lost at 3400, the end of a telephone's band.
HALF_HZ = 3_760.0

#: Shape of the Kaiser window: 70 dB are between what passes and what does not.
BETA = 7.0


def _low_pass() -> Pcm:
    """A windowed sinc at our rate, its middle at REACH * RATIO; of unit gain."""
    at = np.arange(-REACH * RATIO, REACH * RATIO + 1)
    taps = np.sinc(2 * HALF_HZ / SAMPLE_RATE * at) * np.kaiser(len(at), BETA)
    return np.asarray(taps / taps.sum(), np.float32)


_LOW_PASS = _low_pass()

#: What each of the RATIO samples that one becomes takes of its neighbours.
_PHASES = np.ascontiguousarray(np.pad(RATIO * _LOW_PASS, (0, RATIO - 1)).reshape(-1, RATIO).T)


class Widener:
    """8 to 24 kHz: three samples for each, at once, and so 2 ms late; no detector of voice looks as close as that."""

    def __init__(self) -> None:
        self._before: Pcm = np.zeros(2 * REACH, np.float32)

    def take(self, pcm: Pcm) -> Pcm:
        """Three times as many samples."""
        wide = np.empty((len(pcm), RATIO), np.float32)
        if len(pcm):
            joined = np.concatenate([self._before, pcm])
            self._before = joined[len(pcm) :]
            for phase, taps in enumerate(_PHASES):
                wide[:, phase] = np.convolve(joined, taps, "valid")
        return wide.ravel()


class Narrower:
    """24 to 8 kHz: sample n is that of the input's sample 3n, and comes when 2 ms beyond it are known."""

    def __init__(self) -> None:
        self._rest: Pcm = np.zeros(REACH * RATIO, np.float32)

    def take(self, pcm: Pcm) -> Pcm:
        """A third as many samples."""
        joined = np.concatenate([self._rest, pcm])
        count = (len(joined) - len(_LOW_PASS)) // RATIO + 1
        if count <= 0:
            self._rest = joined
            return np.zeros(0, np.float32)
        self._rest = joined[RATIO * count :]
        return np.convolve(joined, _LOW_PASS, "valid")[::RATIO]

    def flush(self) -> Pcm:
        """What is still to come, as if silence followed."""
        return self.take(np.zeros(REACH * RATIO, np.float32))
