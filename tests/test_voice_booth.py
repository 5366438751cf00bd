"""From real recordings to samples: the voice detector, the denoiser and the rules together."""

import io

import numpy as np
import pytest
import soundfile
import soxr

from config.errors import BadVoiceSample, EngineMissing
from gpu_workers import loader, weights
from gpu_workers.samples import voice_sample
from gpu_workers.samples.denoise import Denoiser
from gpu_workers.samples.voice_sample import Rules
from tests import speech
from tests.conftest import missing
from tests.voice_files import encoded, talk

pytestmark = pytest.mark.model

RULES = Rules()


@pytest.fixture(scope="module")
def booth():
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    try:
        return loader.booth()
    except EngineMissing as error:
        missing(str(error))


def hiss(pcm, snr_db):
    noise = np.random.default_rng(3).normal(size=len(pcm))
    return (pcm + noise * np.sqrt((pcm**2).mean() / 10 ** (snr_db / 10))).astype(np.float32)


def distance_db(true, heard):
    """Scale-invariant signal to distortion."""
    wanted = true * np.dot(heard, true) / np.dot(true, true)
    return 10 * np.log10((wanted**2).sum() / ((heard - wanted) ** 2).sum())


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg with opus"])
def test_a_recording_becomes_a_sample(booth, kind):
    sample = booth.prepare(encoded(talk(20), kind, channels=2))
    assert 8 < len(sample) / speech.RATE <= RULES.window_s
    assert voice_sample.lufs(sample) == pytest.approx(RULES.loudness_lufs, abs=3), "or as its peaks allow"
    assert np.abs(sample).max() <= RULES.peak + 1e-3


def test_a_clean_recording_is_only_cut_and_levelled(booth):
    pcm = talk(9)
    sample = booth.prepare(encoded(pcm, rate=speech.RATE))
    found = np.correlate(pcm, sample[24_000:48_000], "valid")
    piece = pcm[int(np.argmax(found)) :][:24_000]
    assert distance_db(piece, sample[24_000:48_000]) > 30


def test_a_noisy_recording_is_cleaner_afterwards(booth):
    pcm = talk(9)
    denoised = Denoiser().clean(hiss(pcm, 8))
    assert len(denoised) == len(pcm)
    assert distance_db(pcm, denoised) > distance_db(pcm, hiss(pcm, 8)) + 4, "and in the same place"
    booth.prepare(encoded(hiss(pcm, 8), rate=speech.RATE))


def test_without_a_denoiser_noisy_recordings_are_refused(booth, monkeypatch):
    monkeypatch.setattr("gpu_workers.samples.denoise.weights.find", no_weights)
    bare = loader.booth()
    bare.prepare(encoded(talk(9), rate=speech.RATE))
    with pytest.raises(BadVoiceSample, match="quieter place"):
        bare.prepare(encoded(hiss(talk(9), 12), rate=speech.RATE))
    booth.prepare(encoded(hiss(talk(9), 12), rate=speech.RATE))


def no_weights(package, file, install):
    if package == "pyrnnoise":
        raise EngineMissing("there is none for this machine")
    return FIND(package, file, install)


FIND = weights.find


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda pcm: pcm[: 2 * speech.RATE], "record at least 3 s", id="two seconds"),
        pytest.param(lambda pcm: np.clip(pcm * 40, -1, 1), "overdriven", id="overdriven"),
        pytest.param(lambda pcm: pcm * 0.03, "too soft", id="whispered from afar"),
        pytest.param(np.zeros_like, "silent", id="a dead microphone"),
        pytest.param(lambda pcm: hiss(np.zeros_like(pcm) + 1e-9, 0) * 1e8, "speech", id="noise alone"),
        pytest.param(lambda pcm: hiss(pcm, 0), "quieter place", id="a waterfall"),
    ],
)
def test_spoilt_recordings_are_refused(booth, spoil, words):
    with pytest.raises(BadVoiceSample, match=words):
        booth.prepare(encoded(spoil(talk(9)).astype(np.float32), "wav of floats", rate=speech.RATE))


def test_lengths_that_are_rounded_differently_at_two_rates_are_taken(booth):
    sound = soxr.resample(talk(8), speech.RATE, 44_100)[:177_810]
    file = io.BytesIO()
    soundfile.write(file, sound, 44_100, format="WAV", subtype="PCM_16")
    assert len(booth.prepare(file.getvalue())) > 3 * speech.RATE


def test_a_file_of_no_samples_is_empty(booth):
    with pytest.raises(BadVoiceSample, match="empty"):
        booth.prepare(encoded(np.zeros(0, np.float32), rate=speech.RATE))


def test_a_booth_forgets_the_recording_before(booth):
    clean = encoded(talk(9), rate=speech.RATE)
    first = booth.prepare(clean)
    with pytest.raises(BadVoiceSample):
        booth.prepare(encoded(soxr.resample(talk(2), speech.RATE, 16_000), rate=16_000))
    assert np.array_equal(booth.prepare(clean), first)
