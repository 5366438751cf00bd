"""Takes background noise out of speech by RNNoise, from the library that the package pyrnnoise carries.

Its own Python code needs a video library and a plotting one, which nothing here does.
"""

import ctypes
import sys

import numpy as np
import soxr

from config.settings import SAMPLE_RATE
from gpu_workers import weights
from gpu_workers.engine import Pcm

#: What RNNoise takes (its rnnoise.h): 10 ms at 48 kHz, in the range of 16-bit samples.
RATE, FRAME, SCALE = 48_000, 480, 32_768.0

#: Samples at RATE by which the output is late, measured by correlation with the input.
DELAY = 2 * FRAME

_FILES = {"darwin": "librnnoise.dylib", "win32": "rnnoise.dll"}


class Denoiser:
    """Not thread-safe, for no reason but that nobody needs it."""

    def __init__(self) -> None:
        path = weights.find("pyrnnoise", _FILES.get(sys.platform, "librnnoise.so"), "pyrnnoise")
        self._library = ctypes.CDLL(str(path))
        self._library.rnnoise_create.restype = ctypes.c_void_p
        self._library.rnnoise_create.argtypes = [ctypes.c_void_p]
        self._library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
        self._library.rnnoise_process_frame.restype = ctypes.c_float
        self._library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3

    def clean(self, pcm: Pcm) -> Pcm:
        """The same speech at 24 kHz, of the same length and in the same place."""
        wide = np.asarray(soxr.resample(pcm, SAMPLE_RATE, RATE, "HQ"), np.float32) * SCALE
        padded = np.concatenate([wide, np.zeros(DELAY + -(len(wide) + DELAY) % FRAME, np.float32)])
        frames = np.ascontiguousarray(padded.reshape(-1, FRAME))
        state = self._library.rnnoise_create(None)
        try:
            for frame in frames:
                self._library.rnnoise_process_frame(state, frame.ctypes.data, frame.ctypes.data)
        finally:
            self._library.rnnoise_destroy(state)
        cleaned = frames.reshape(-1)[DELAY : DELAY + len(wide)] / SCALE
        narrow = np.asarray(soxr.resample(cleaned, RATE, SAMPLE_RATE, "HQ"), np.float32)
        return np.resize(narrow, len(pcm)) if len(narrow) < len(pcm) else narrow[: len(pcm)]
