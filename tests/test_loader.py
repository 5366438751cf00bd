"""Engines are found by name, refused by name, and what is missing is named."""

import sys

import pytest

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
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


def test_an_option_that_the_engine_does_not_have_is_logged(caplog):
    loader.load("tts", EngineChoice(engine="null", slots=1, options={"threds": 2}), 1)
    assert "tts engine 'null' has no option threds" in caplog.text


@pytest.mark.parametrize(
    ("stage", "name", "package", "make"),
    [("stt", "kyutai", "torch", "make setup-kyutai"), ("llm", "vllm", "vllm", "make setup-vllm")],
)
def test_a_missing_package_names_what_installs_it(monkeypatch, stage, name, package, make):
    monkeypatch.setitem(sys.modules, package, None)
    for module in [
        module
        for module in sys.modules
        if module.startswith(("gpu_workers.kyutai", f"gpu_workers.{stage}.{name}"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    options = {"model": "owner/name"}
    with pytest.raises(EngineMissing, match=make):
        loader.load(stage, EngineChoice(engine=name, slots=1, options=options), 1)


def test_missing_weights_name_their_package(monkeypatch):
    monkeypatch.setattr("gpu_workers.weights.find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match=r"requirements/models\.txt"):
        loader.load("stt", EngineChoice(engine="embedded", slots=1), 1)
