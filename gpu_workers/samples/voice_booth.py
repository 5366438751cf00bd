"""From the bytes that somebody sent to what a voice encoder takes: decoded, judged, cut, cleaned, levelled."""

import logging

import numpy as np
import soxr

from config.errors import BadVoiceSample, EngineMissing
from config.settings import SAMPLE_RATE
from gpu_workers.endpoint.silero import FRAME, SileroVad
from gpu_workers.engine import Pcm
from gpu_workers.samples import voice_file, voice_sample
from gpu_workers.samples.denoise import Denoiser
from gpu_workers.samples.voice_sample import Rules, Sample

log = logging.getLogger(__name__)

#: Probability from which a frame is speech: what its makers use.
VOICE_THRESHOLD = 0.5

#: The voice detector's rate.
VAD_RATE = 16_000


class Booth:
    """One recording at a time."""

    def __init__(self, rules: Rules) -> None:
        self._vad = SileroVad(1, threads=1)
        self._denoiser = _denoiser()
        if self._denoiser is None:
            rules = rules.model_copy(update={"noisiest_db": rules.noisy_db})
        self._rules = rules

    def prepare(self, data: bytes) -> Pcm:
        """A sample of 3 to 10 s at 24 kHz. Raises BadVoiceSample, which says what to do better."""
        raw, rate = voice_file.read(data, self._rules.longest_s)
        if not len(raw):
            raise BadVoiceSample("the recording is empty")
        pcm = np.asarray(soxr.resample(raw, rate, SAMPLE_RATE, "HQ"), np.float32)
        voiced = self._voiced(np.asarray(soxr.resample(raw, rate, VAD_RATE, "HQ"), np.float32))
        # lengths are rounded at either rate: the last frame at one may not be whole at the other
        sample = Sample(pcm, voiced[: len(pcm) // voice_sample.FRAME])
        voice_sample.require_fit(sample, voice_sample.clipped_share(raw), self._rules)
        pcm = voice_sample.window(sample, self._rules).pcm
        if self._denoiser is not None and voice_sample.above_noise_db(sample) < self._rules.noisy_db:
            pcm = self._denoiser.clean(pcm)
        return voice_sample.normalised(pcm, self._rules)

    def _voiced(self, pcm: Pcm) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        self._vad.reset(0)
        frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
        heard = [self._vad.probabilities({0: frame})[0] for frame in frames]
        return np.array(heard) >= VOICE_THRESHOLD


def _denoiser() -> Denoiser | None:
    """None where there is none for this machine: noisy recordings are refused then."""
    try:
        return Denoiser()
    except EngineMissing as error:
        log.warning("voices are not denoised: %s", error)
        return None


def build() -> Booth:
    """A booth with the usual rules."""
    return Booth(Rules())  # type: ignore[call-arg]
