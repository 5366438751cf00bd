"""Whether a recording is fit to clone a voice from, and which part of it is the best. Pure.

Everything is told at once: nobody wants to record four times to hear of four mistakes.
"""

from dataclasses import dataclass

import loudness
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from config.errors import BadVoiceSample
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm

#: A judgement of the voice detector covers so many samples: its 512 at 16 kHz.
FRAME = 768

#: Quiet that is left around the speech.
MARGIN = 4

#: Frames of speech that a window may lose for beginning or ending in a pause, not in the middle of a word.
PAUSE_BONUS = 6

#: Shortest piece whose loudness is defined (ITU-R BS.1770: one gating block).
GATING_BLOCK = int(0.4 * SAMPLE_RATE)

#: Samples this close to the loudest, where that is nearly full scale, are cut tops.
TOP = 0.98


class Rules(BaseModel, frozen=True):
    """What a sample must be like."""

    shortest_s: float = Field(3.0, gt=0)
    """Less says too little of a voice."""
    longest_s: float = Field(30.0, gt=0)
    """More is of no use, for one window of it is taken."""
    window_s: float = Field(10.0, gt=0)
    """What the encoders were trained with: Kyutai's takes 125 frames of 80 ms."""
    least_speech_s: float = Field(2.0, ge=0)
    """The rest may be pauses."""
    softest_lufs: float = Field(-50.0, lt=0)
    """Below, raising it would raise the hiss of its own quantisation and of the microphone with it."""
    clipped_share: float = Field(0.01, gt=0, lt=1)
    """Share of cut-off samples from which a voice sounds torn. A limiter's work has up to .003."""
    noisy_db: float = Field(20.0, ge=0)
    """Speech less than this above its background is denoised; what is cleaner would only lose by it."""
    noisiest_db: float = Field(5.0)
    """Less than this is refused: what a denoiser leaves of it is no voice to imitate."""
    loudness_lufs: float = Field(-18.0, lt=0)
    """The encoders' samples are as loud as this."""
    peak: float = Field(0.89, gt=0, le=1)
    """Highest sample after that, -1 dBFS: a sample with high peaks stays softer."""


@dataclass(frozen=True)
class Sample:
    """A recording at 24 kHz, and for each whole frame of it whether somebody speaks."""

    pcm: Pcm
    voiced: npt.NDArray[np.bool_]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.pcm) / SAMPLE_RATE

    @property
    def speech_s(self) -> float:
        """So much of it is speech."""
        return int(self.voiced.sum()) * FRAME / SAMPLE_RATE

    @property
    def powers(self) -> npt.NDArray[np.float64]:
        """Mean square of each frame."""
        frames = self.pcm[: len(self.voiced) * FRAME].reshape(-1, FRAME).astype(np.float64)
        return np.asarray((frames**2).mean(axis=1))


def clipped_share(pcm: Pcm) -> float:
    """Share of samples that are cut off at the top, at whatever rate; resampling would hide them."""
    level = np.abs(pcm)
    top = float(level.max(initial=0.0))
    return float((level >= TOP * top).mean()) if top > 0.9 else 0.0


def lufs(pcm: Pcm) -> float:
    """Integrated loudness; -inf for silence and for what is too short to have one."""
    return float(loudness.integrated_loudness(pcm, SAMPLE_RATE)) if len(pcm) >= GATING_BLOCK else -np.inf


def above_noise_db(sample: Sample) -> float:
    """How far the speech lies above the background between the words; inf where there is none."""
    powers, voiced = sample.powers, sample.voiced
    if not voiced.any():
        return -np.inf
    quiet = powers[~voiced]
    noise = float(np.median(quiet)) if len(quiet) >= MARGIN else float(np.quantile(powers, 0.05))
    speech = float(powers[voiced].mean())
    return float(10 * np.log10(max(speech - noise, 1e-12) / noise)) if noise > 0 else np.inf


def require_fit(sample: Sample, clipped: float, rules: Rules) -> None:
    """Raises BadVoiceSample with all that is wrong with the recording, and what to do."""
    troubles = []
    if sample.seconds < rules.shortest_s:
        troubles.append(f"it is {sample.seconds:.1f} s long: record at least {rules.shortest_s:g} s")
    if sample.seconds > rules.longest_s:
        troubles.append(f"it is {sample.seconds:.1f} s long: send at most {rules.longest_s:g} s")
    if clipped > rules.clipped_share:
        troubles.append(f"it is overdriven ({clipped:.0%} of it is cut off): turn the microphone down")
    loud = lufs(sample.pcm)
    if loud < rules.softest_lufs:
        said = "it is silent" if np.isneginf(loud) else f"it is too soft ({loud:.0f} LUFS)"
        troubles.append(f"{said}: come closer to the microphone, or turn it up")
    elif sample.speech_s < rules.least_speech_s:
        said = f"only {sample.speech_s:.1f} s of it" if sample.voiced.any() else "nothing of it"
        troubles.append(f"{said} is speech: talk for most of the time, about {rules.window_s:g} s in all")
    elif above_noise_db(sample) < rules.noisiest_db:
        troubles.append("the background is nearly as loud as the voice: record in a quieter place")
    if troubles:
        raise BadVoiceSample(f"this recording cannot be used: {'; '.join(troubles)}")


def window(sample: Sample, rules: Rules) -> Sample:
    """The part of at most `window_s` that holds the most speech, then the loudest, without quiet around it.

    A part that begins and ends in a pause is worth a little less speech: half a word is nobody's voice.
    """
    voiced = sample.voiced
    width = min(int(rules.window_s * SAMPLE_RATE) // FRAME, len(voiced))
    heard = np.concatenate([[0.0], np.cumsum(voiced)])
    power = np.concatenate([[0.0], np.cumsum(np.where(voiced, sample.powers, 0.0))])
    quiet = np.concatenate(
        [[True], ~voiced, [True]]
    )  # by edges: what lies before the first and behind the last
    starts = np.arange(len(voiced) - width + 1)
    score = (
        heard[starts + width] - heard[starts] + (power[starts + width] - power[starts]) / (power[-1] + 1e-12)
    )
    score = score + PAUSE_BONUS / 2 * quiet[starts] + PAUSE_BONUS / 2 * quiet[starts + width + 1]
    start = int(np.argmax(score))
    inside = np.flatnonzero(voiced[start : start + width])
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, width)
    begin, end = start + max(0, first - MARGIN), start + min(width, last + MARGIN)
    return Sample(sample.pcm[begin * FRAME : end * FRAME], voiced[begin:end])


def normalised(pcm: Pcm, rules: Rules) -> Pcm:
    """As loud as the rules say, or as its peaks allow."""
    loud = lufs(pcm)
    if np.isneginf(loud):
        return pcm
    gain = min(10 ** ((rules.loudness_lufs - loud) / 20), rules.peak / float(np.abs(pcm).max()))
    return np.asarray(pcm * gain, np.float32)
