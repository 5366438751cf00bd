"""Engines are found by name, refused by name, and what is missing is named."""

import pytest

from config.errors import ConfigError, EngineMissing
from config.settings import EngineChoice
from gpu_workers import loader


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_an_unknown_engine_is_refused_with_those_there_are(stage):
    with pytest.raises(ConfigError, match="null"):
        loader.load(stage, EngineChoice(engine="nonsense", slots=1), 1)


@pytest.mark.parametrize(
    ("stage", "name"), [("stt", "embedded"), ("tts", "piper"), ("llm", "llama"), ("llm", "openai")]
)
def test_a_wrong_option_is_named(stage, name):
    choice = EngineChoice(
        engine=name,
        slots=1,
        options={"threads": "many", "answer_threads": 0, "url": "nowhere", "partial_ms": -1},
    )
    with pytest.raises(ConfigError, match=r"option '(threads|answer_threads|url|partial_ms)'"):
        loader.load(stage, choice, 1)


def test_missing_weights_name_their_package(monkeypatch):
    monkeypatch.setattr("gpu_workers.weights.find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match=r"requirements/models\.txt"):
        loader.load("stt", EngineChoice(engine="embedded", slots=1), 1)
