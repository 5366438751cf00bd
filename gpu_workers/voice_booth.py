"""From the bytes that somebody sent to what a voice encoder takes: decoded, judged, cut, cleaned, levelled."""

import numpy as np
import soxr

from config.errors import BadVoiceSample
from config.settings import SAMPLE_RATE
from gpu_workers import voice_file, voice_sample
from gpu_workers.denoise import Denoiser
from gpu_workers.endpoint.silero import FRAME, SileroVad
from gpu_workers.engine import Pcm
from gpu_workers.voice_sample import Rules, Sample

#: Probability from which a frame is speech: what its makers use.
VOICE_THRESHOLD = 0.5

#: The voice detector's rate.
VAD_RATE = 16_000

#: Decoded beyond the longest sample, so that the error can say how long it is.
SLACK_S = 1.0


class Booth:
    """One recording at a time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._vad = SileroVad(1, threads=1)
        self._denoiser = Denoiser()

    def prepare(self, data: bytes) -> Pcm:
        """A sample of 3 to 10 s at 24 kHz. Raises BadVoiceSample, which says what to do better."""
        raw, rate = voice_file.read(data, self._rules.longest_s + SLACK_S)
        if not len(raw):
            raise BadVoiceSample("the recording is empty")
        pcm = np.asarray(soxr.resample(raw, rate, SAMPLE_RATE, "HQ"), np.float32)
        sample = Sample(pcm, self._voiced(np.asarray(soxr.resample(raw, rate, VAD_RATE, "HQ"), np.float32)))
        voice_sample.require_fit(sample, voice_sample.clipped_share(raw), self._rules)
        noisy = voice_sample.above_noise_db(sample) < self._rules.noisy_db
        best = voice_sample.window(sample, self._rules)
        return voice_sample.normalised(self._denoiser.clean(best.pcm) if noisy else best.pcm, self._rules)

    def _voiced(self, pcm: Pcm) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        self._vad.reset(0)
        frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
        heard = [self._vad.probabilities({0: frame})[0] for frame in frames]
        return np.array(heard) >= VOICE_THRESHOLD


def build() -> Booth:
    """A booth with the usual rules."""
    return Booth(Rules())  # type: ignore[call-arg]
