"""Whisper: how sure it is, what it takes for silence, and what it says of a model that is none."""

import numpy as np
import pytest
import soxr

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
from gpu_workers import loader
from gpu_workers.moonshine import Abandoned
from tests import speech
from tests.conftest import missing

pytestmark = pytest.mark.model


def module():
    """Its packages are no part of a plain installation."""
    try:
        return loader.load("stt", EngineChoice(engine="whisper", slots=1), 1)
    except EngineMissing as error:
        missing(str(error))


@pytest.fixture(scope="module")
def whisper():
    return module()._recogniser


def test_a_sentence_is_understood_and_sure(whisper):
    pcm = soxr.resample(speech.recording("two_cities")[24_000:110_400], 24_000, 16_000)
    text, confidence = whisper.recognise(np.asarray(pcm, np.float32))
    assert speech.plain(text) == "it was the best of times it was the worst of times"
    assert confidence > 0.8


@pytest.mark.parametrize(
    "pcm",
    [
        pytest.param(np.zeros(0), id="nothing"),
        pytest.param(np.zeros(1), id="one sample"),
        pytest.param(np.zeros(24_000), id="silence"),
        pytest.param(np.random.default_rng(0).normal(0, 0.02, 32_000), id="noise"),
        pytest.param(0.2 * np.sin(np.arange(32_000) * 0.1), id="a tone"),
    ],
)
def test_what_is_no_speech_has_no_sure_words(whisper, pcm):
    text, confidence = whisper.recognise(pcm.astype(np.float32))
    assert not text and confidence < 0.5


def test_audio_longer_than_the_model_takes_is_understood_as_far_as_it_goes(whisper):
    minute = soxr.resample(np.resize(speech.recording("two_cities"), 60 * 24_000), 24_000, 16_000)
    text, _ = whisper.recognise(np.asarray(minute, np.float32))
    assert len(text.split()) > 40


def test_it_can_be_abandoned(whisper):
    with pytest.raises(Abandoned):
        whisper.recognise(np.zeros(16_000, np.float32), lambda: True)


@pytest.mark.parametrize(
    "files", [(), ("model.bin", "config.json"), ("model.bin", "config.json", "tokenizer.json")]
)
def test_a_folder_that_holds_no_model_is_named(whisper, tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("{}")
    choice = EngineChoice(engine="whisper", slots=1, options={"model": str(tmp_path)})
    with pytest.raises(ConfigError, match=str(tmp_path)):
        loader.load("stt", choice, 1)
