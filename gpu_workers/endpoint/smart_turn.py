"""The probability that a speaker has finished, by Smart Turn v3: it listens to the melody, not to the words."""

import numpy as np

from gpu_workers import onnx, weights
from gpu_workers.engine import Pcm

#: The model looks at 8 s of 16 kHz, padded in front.
WINDOW = 8 * 16_000

_PACKAGE = "pipecat-ai"
_FOLDER = "audio/turn/smart_turn"


class SmartTurn:
    """Callable from any thread."""

    def __init__(self, threads: int) -> None:
        self._features = weights.module("pipecat", f"{_FOLDER}/_whisper_features.py", _PACKAGE)
        model = weights.find("pipecat", f"{_FOLDER}/data/smart-turn-v3.2-cpu.onnx", _PACKAGE)
        self._session = onnx.session(model, threads)

    def p_end(self, pcm: Pcm) -> float:
        """Probability that the turn ends with `pcm`, which is 16 kHz and includes the pause so far."""
        window = np.zeros(WINDOW, np.float32)
        tail = pcm[-WINDOW:]
        window[WINDOW - len(tail) :] = tail
        features = self._features.compute_whisper_log_mel_features(window, do_normalize=True)
        (output,) = self._session.run(None, {"input_features": features[None]})
        return float(output.reshape(-1)[0])
