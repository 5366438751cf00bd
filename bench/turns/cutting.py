"""Where a voice sounds and where it may be cut: measurements and small surgery on speech. Pure."""

import itertools
from collections.abc import Sequence

import numpy as np

from bench.turns.dialogue import Stretch
from gpu_workers.engine import Pcm

RATE = 24_000

#: Loudness is measured in windows of 5 ms.
WINDOW = 120

#: A phrase sounds where it is less than this below its loudest window: room tone and vocoder noise are softer, a
#: final consonant is not.
AUDIBLE_DB = 34.0

#: How far from where the alignment says a cut may be, 60 ms: the models' own units are 25 ms, and sounds overlap.
REACH = 1_440

#: Where the model itself made a pause of more than 50 ms, the cut lies in it, or within 20 ms of it.
CLEAR, NEAR = 1_200, 480

#: Fades where speech was cut, 8 and 25 ms: no click, no swallowed consonant; a voice that stops dies away.
FADE_IN, FADE_OUT = 192, 600

#: Frames of the stretching, 32 ms: two periods of a low voice.
FRAME = 768


def loudness(pcm: Pcm) -> Pcm:
    """RMS of each window."""
    whole = len(pcm) // WINDOW * WINDOW
    squares = pcm[:whole].reshape(-1, WINDOW).astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=1)), np.float32)


def sounding(pcm: Pcm, below_db: float = AUDIBLE_DB) -> Stretch:
    """From the first to the last audible sample; empty at the start if there is none."""
    loud = loudness(pcm)
    if not len(loud) or not loud.max():
        return Stretch(0, 0)
    audible = np.flatnonzero(loud > loud.max() * 10 ** (-below_db / 20))
    return Stretch(int(audible[0]) * WINDOW, (int(audible[-1]) + 1) * WINDOW)


def trimmed(pcm: Pcm) -> Pcm:
    """Only what sounds."""
    stretch = sounding(pcm)
    return pcm[stretch.begin : stretch.end]


def quietest(pcm: Pcm, begin: int, end: int) -> int:
    """The sample amid the softest window between two samples."""
    begin, end = max(0, begin), min(len(pcm), end)
    loud = loudness(pcm[begin:end])
    return begin + int(loud.argmin()) * WINDOW + WINDOW // 2 if len(loud) else begin


def cuts(pcm: Pcm, parts: Sequence[Stretch]) -> list[Pcm]:
    """The pieces of a sentence, cut where it is softest about their ends, each without the silence around it."""
    edges = [0]
    for before, after in itertools.pairwise(parts):
        reach = NEAR if after.begin - before.end > CLEAR else REACH
        reach = min(reach, (before.end - before.begin) // 3, (after.end - after.begin) // 3)
        edges.append(quietest(pcm, before.end - reach, max(after.begin, before.end) + reach))
    edges.append(len(pcm))
    return [trimmed(pcm[begin:end]) for begin, end in itertools.pairwise(edges)]


def faded(pcm: Pcm) -> Pcm:
    """With soft ends."""
    out = pcm.copy()
    rise, fall = min(FADE_IN, len(out)), min(FADE_OUT, len(out))
    out[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    out[len(out) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32) ** 0.5
    return out


def stretched(pcm: Pcm, factor: float) -> Pcm:
    """`factor` times as long at the same pitch: overlapping frames, each taken where it continues the last best."""
    if len(pcm) < 3 * FRAME:
        return pcm
    hop, window = FRAME // 2, np.hanning(FRAME).astype(np.float32)
    count = int((len(pcm) * factor - FRAME) // hop)
    out = np.zeros(count * hop + FRAME, np.float32)
    weight = np.zeros_like(out)
    at = 0
    for number in range(count + 1):
        wanted = min(int(number * hop / factor), len(pcm) - FRAME)
        at = _continuing(pcm, at + hop, wanted) if number else 0
        place = slice(number * hop, number * hop + FRAME)
        out[place] += pcm[at : at + FRAME] * window
        weight[place] += window
    return np.asarray(out / np.maximum(weight, 1e-3), np.float32)


def _continuing(pcm: Pcm, natural: int, wanted: int) -> int:
    """The start near `wanted` whose frame is most like the one that would follow naturally."""
    natural = min(natural, len(pcm) - FRAME)
    reach = FRAME // 4
    starts = range(max(0, wanted - reach), min(len(pcm) - FRAME, wanted + reach) + 1, 4)
    target = pcm[natural : natural + FRAME]
    return max(starts, key=lambda start: float(pcm[start : start + FRAME] @ target), default=natural)


def drawled(pcm: Pcm, tail: int, factor: float) -> Pcm:
    """The last `tail` samples drawn out: people lengthen the syllable on which they hesitate."""
    tail = min(tail, len(pcm))
    held = stretched(pcm[len(pcm) - tail :], factor)
    return _joined(pcm[: len(pcm) - tail], held, pcm[len(pcm) - tail :])


def _joined(head: Pcm, tail: Pcm, natural: Pcm) -> Pcm:
    """Head and tail; the tail begins as the natural continuation does, so 5 ms of blending hide the seam."""
    blend = min(WINDOW, len(tail), len(natural))
    ramp = np.linspace(0, 1, blend, dtype=np.float32)
    seam = natural[:blend] * (1 - ramp) + tail[:blend] * ramp
    return np.concatenate([head, seam, tail[blend:]])


def rms_db(pcm: Pcm) -> float:
    """Level of what sounds, in dBFS: windows that are 30 dB below the loudest do not count."""
    loud = loudness(pcm)
    if not len(loud) or not loud.max():
        return -120.0
    kept = loud[loud > loud.max() * 10 ** (-30 / 20)].astype(np.float64)
    return float(10 * np.log10(np.mean(kept**2)))
