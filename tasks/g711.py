"""G.711 bytes to 16-bit samples and back, by table. Knows no rates and no streams."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Law = Literal["pcmu", "pcma"]
Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]

#: A-law bytes travel with every second bit turned over, µ-law bytes with all of them.
TURNED = {"pcma": 0x55, "pcmu": 0xFF}

#: Added to the magnitude of a sample in µ-law, so that each segment is twice as long as the one before.
BIAS = 132

#: The largest magnitude that µ-law has a code for; louder is as loud as this.
LOUDEST = 32_635


def _decoded(law: Law) -> Samples:
    """The sample of each byte. ITU-T G.711, tables 1 and 2, with 13 and 14 bits shifted up to 16."""
    code = np.arange(256) ^ TURNED[law]
    segment, step = code >> 4 & 7, code & 15
    if law == "pcmu":
        size = ((step << 3) + BIAS << segment) - BIAS
        positive = code < 128
    else:
        size = np.where(segment > 0, (step << 4) + 264 << np.maximum(segment - 1, 0), (step << 4) + 8)
        positive = code >= 128
    return np.where(positive, size, -size).astype(np.int16)


def _encoded(law: Law) -> Bytes:
    """The byte of each sample, by the sample's own 16 bits."""
    sample = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    negative = sample < 0
    if law == "pcmu":
        size = np.minimum(np.abs(sample), LOUDEST) + BIAS
        segment = np.frexp(size)[1] - 8
        code = segment << 4 | size >> segment + 3 & 15 | negative << 7
    else:
        size = np.where(negative, ~sample, sample)
        segment = np.maximum(np.frexp(size)[1] - 8, 0)
        code = segment << 4 | size >> np.maximum(segment, 1) + 3 & 15 | ~negative << 7
    return np.asarray((code & 0xFF) ^ TURNED[law], np.uint8)


LAWS: tuple[Law, ...] = ("pcmu", "pcma")

_SAMPLES = {law: _decoded(law) for law in LAWS}
_BYTES = {law: _encoded(law) for law in LAWS}


def expand(data: bytes, law: Law) -> Samples:
    """A sample for each byte."""
    return _SAMPLES[law][np.frombuffer(data, np.uint8)]


def compress(samples: Samples, law: Law) -> bytes:
    """A byte for each sample."""
    return _BYTES[law][samples.view(np.uint16)].tobytes()
