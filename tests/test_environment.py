"""What variables say to settings and to engines' options: single values, lists, objects, and what is no such thing."""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from config.errors import ConfigError
from config.settings import Settings, load
from gpu_workers import loader
from gpu_workers.endpoint import endpointer
from tests.house import ROOT


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


def loaded(monkeypatch: pytest.MonkeyPatch, profile: str = "null", **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"ANTIPHON_{name}", value)
    return load(profile)


SERVERS = ["http://one.example/v1", "http://two.example/v1"]


@pytest.mark.parametrize("said", [json.dumps(SERVERS), ",".join(SERVERS), " , ".join(SERVERS)])
def test_a_list_of_an_engines_options_has_a_variable_of_its_own(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    settings = loaded(monkeypatch, LLM__ENGINE="openai", LLM__OPTIONS__URLS=said)
    engine = loader.load("llm", settings.stage("llm"), 1)
    assert [upstream.url for upstream in engine._upstreams] == SERVERS
    assert settings.llm.hosts == ["one.example", "two.example"]


@pytest.mark.parametrize("said", ["[140, 320]", "140,320"])
def test_a_list_deep_in_the_options_too(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    settings = loaded(monkeypatch, STT__OPTIONS__LISTENING__VOICE__ASK_MS=said)
    rules = endpointer.Rules(**settings.stt.options["listening"]["voice"])
    assert rules.ask_ms == (140, 320)


@pytest.mark.parametrize("said", ['["en", "fr"]', "en,fr", "en, fr"])
def test_a_list_of_the_settings_in_the_same_two_ways(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    assert loaded(monkeypatch, TTS__LANGUAGES=said).tts.languages == ("en", "fr")


def test_an_object_adds_to_the_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded(monkeypatch, "embedded").tts.options["engines"]
    load.cache_clear()
    piper = '{"options": {"voices": {"amy": "/v/amy.onnx"}}}'
    after = loaded(monkeypatch, "embedded", TTS__OPTIONS__ENGINES__PIPER=piper).tts.options["engines"]
    assert after["kokoro"] == before["kokoro"]
    assert after["piper"] == before["piper"] | {"options": {"voices": {"amy": "/v/amy.onnx"}}}


@pytest.mark.parametrize("order", [1, -1], ids=["the whole first", "the part first"])
def test_what_says_one_option_outranks_what_says_all_of_them(
    monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    said = {"LLM__OPTIONS": '{"words": 3, "first_word_s": 0.5}', "LLM__OPTIONS__WORDS": "4"}
    settings = loaded(monkeypatch, **dict([*said.items()][::order]))
    assert settings.llm.options == {"words": "4", "first_word_s": 0.5}


def test_a_key_of_digits_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, LLM__ENGINE="openai", LLM__OPTIONS__API_KEY="1234")
    assert loader.load("llm", settings.stage("llm"), 1)._upstreams[0].headers == {
        "Authorization": "Bearer 1234"
    }


@pytest.mark.parametrize(
    "name", ["LLM__OPTIONS__URLS", "LLM__OPTIONS", "LLM", "TTS__LANGUAGES", "TURN__GOODBYES"]
)
def test_what_begins_like_json_and_is_none_is_told_by_its_variable_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^variable ANTIPHON_{name} is no valid JSON: ") as told:
        loaded(monkeypatch, **{name: '["sk-secret"'})
    assert "secret" not in str(told.value)


def test_a_worker_with_such_a_variable_ends_with_that_line_alone() -> None:
    env = {**os.environ, "ANTIPHON_PROFILE": "null", "ANTIPHON_LLM__OPTIONS__WORDS": "[3"}
    ran = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-Q", "llm"],
        check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 3
    assert re.fullmatch(r"antiphon: variable ANTIPHON_LLM__OPTIONS__WORDS is no valid JSON: .*\n", ran.stderr)


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("LLM__OPTIONS", "words", r"setting 'llm.options' .* an object is written as JSON, such as \{"),
        ("LLM", "openai", r"setting 'llm' .* an object is written as JSON"),
        ("TURN__GOODBYES", "bye", r"setting 'turn.goodbyes' .* an object is written as JSON"),
        ("TURN__PATIENCE", "[1]", r"setting 'turn.patience' .* should be a valid number"),
    ],
)
def test_a_setting_of_another_kind_says_how_it_is_written(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        loaded(monkeypatch, **{name: said})


@pytest.mark.parametrize(
    ("option", "said", "told"),
    [
        ("EXTRA", "quick", r"option 'extra': .* an object is written as JSON"),
        ("URLS", "nowhere", r"option 'urls.0.url': "),
        ("TRIES", '{"a": 1}', r"option 'tries': "),
    ],
)
def test_so_does_an_option(monkeypatch: pytest.MonkeyPatch, option: str, said: str, told: str) -> None:
    settings = loaded(monkeypatch, LLM__ENGINE="openai", **{f"LLM__OPTIONS__{option}": said})
    with pytest.raises(ConfigError, match=rf"^llm engine 'openai': {told}"):
        loader.load("llm", settings.stage("llm"), 1)


def settings_classes() -> Iterator[type[BaseModel]]:
    """Of the whole and of each engine whose packages are here."""
    yield Settings
    for stage in ("stt", "llm", "tts", "voices"):
        for name in loader.engines(stage):
            with contextlib.suppress(ImportError):
                yield importlib.import_module(f"gpu_workers.{stage}.{name}").Settings


def lists(of: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    """Every list below a class of settings, with the class that has it."""
    for name, field in of.model_fields.items():
        kind: Any = field.annotation
        if get_origin(kind) is tuple:
            yield of, name
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from lists(kind)


def test_every_list_may_be_said_by_commas() -> None:
    """That its parts are wrong does not matter here."""
    found = {found for of in settings_classes() for found in lists(of)}
    assert {"languages", "urls", "ask_ms"} <= {name for _, name in found}
    for of, name in found:
        try:
            of(**{name: "a,b"})
        except ValidationError as error:
            assert [one for one in error.errors() if one["loc"] == (name,)] == [], (of, name)


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_folder_or_key_whose_variable_is_empty_is_not_set(monkeypatch, empty):
    settings = loaded(monkeypatch, RECORD_DIR=empty, DONATION__DIR=empty, NEWS__KEY=empty)
    assert (settings.record_dir, settings.donation.dir, settings.news.key) == (None, None, None)


def test_a_folder_may_lie_at_home_and_a_key_may_come_from_a_file_with_a_line_break(monkeypatch):
    settings = loaded(monkeypatch, RECORD_DIR="~/talks", DONATION__DIR="~/gifts", NEWS__KEY="abc\n")
    assert settings.record_dir == Path.home() / "talks"
    assert settings.donation.dir == Path.home() / "gifts"
    assert settings.news.key is not None and settings.news.key.get_secret_value() == "abc"
