"""Weights: the catalogue, what a profile takes, the command, and workers that lack a file."""

import json
import re
from pathlib import Path

import pytest
import soxr
import yaml
from click.testing import CliRunner

from cli import models as command
from cli import programs
from cli.main import main
from cli.weight_store import weights_of
from config import catalogue
from config.catalogue import File, Hub, PyPi
from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
from config.settings import load, profiles
from gpu_workers import loader, moonshine, weights
from gpu_workers.moonshine import empty_cache
from tests import fake_hub
from tests.conftest import missing
from tests.speech import RATE, recording

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../out"},
        {"name": "a/../../out"},
        {"name": "/etc/passwd"},
        {"name": "a//b"},
        {"name": "a", "path": "..\\b"},
        {"name": "a", "sha256": "ABC"},
        {"name": "a", "size": 0},
    ],
)
def test_a_catalogue_cannot_lead_out_of_its_folder_nor_hold_nonsense(fields):
    with pytest.raises(ValueError, match="validation error"):
        File(**fields)


def test_every_model_is_used_by_somebody_and_says_its_licences():
    for model in catalogue.models().values():
        assert model.used_by and model.licences.weights and model.licences.code, model.id
        if isinstance(model.source, Hub):
            assert model.source.revision, model.id


@pytest.mark.parametrize("profile", profiles())
def test_each_reference_of_a_profile_is_one_that_its_engine_takes(profile):
    settings = load(profile)
    for stage in ("stt", "llm", "tts"):
        choice: EngineChoice = getattr(settings, stage)
        parts = choice.options.get("engines", {choice.engine: {"options": choice.options}})
        for engine, part in parts.items():
            for option, value in part.get("options", {}).items():
                for name in catalogue.references(value):
                    uses = [(use.engine, use.option) for use in catalogue.model(name).used_by]
                    assert (f"{stage}/{engine}", option) in uses


def test_a_profile_takes_what_its_options_name_instead_of_the_default():
    small = [model.id for model in command.of_profile(load("embedded"))]
    large = [model.id for model in command.of_profile(load("desktop"))]
    assert {"moonshine-tiny", "smollm2-135m", "silero-vad", "smart-turn"} <= {*small}
    assert {"moonshine-base", "qwen2.5-1.5b", "pocket-tts", "silero-vad", "smart-turn"} == {*large}
    gpu = [model.id for model in command.of_profile(load("gpu"))]
    assert {"kyutai-stt", "silero-vad", "qwen3-4b", "kyutai-tts", "kyutai-voices"} == {*gpu}


def test_a_profile_takes_what_its_voice_encoder_takes(monkeypatch):
    options = {"folder": "models:pocket-tts", "weights": "models:pocket-tts-cloning"}
    monkeypatch.setenv("ANTIPHON_VOICES__ENCODER", "pocket")
    monkeypatch.setenv("ANTIPHON_VOICES__OPTIONS", json.dumps(options))
    load.cache_clear()
    settings = load("desktop")
    load.cache_clear()
    assert "pocket-tts-cloning" in [model.id for model in command.of_profile(settings)]
    assert settings.voice_encoder.options["weights"].endswith("pocket-tts-cloning/model.safetensors")
    assert settings.voice_encoder.options["folder"].endswith("models/pocket-tts")


def test_an_encoder_whose_voices_nobody_here_can_speak_with_is_refused(monkeypatch):
    monkeypatch.setenv("ANTIPHON_VOICES__ENCODER", "mimi")
    load.cache_clear()
    for profile, speaks in (("desktop", "pocket"), ("embedded", "piper and kokoro"), ("null", "null")):
        with pytest.raises(ConfigError, match=rf"for the tts engine 'kyutai'; here speaks {speaks}"):
            load(profile)
    assert load("gpu").voices.encoder == "mimi"
    load.cache_clear()


def test_every_voice_that_characters_ask_of_an_engine_is_in_its_catalogue():
    characters = yaml.safe_load((ROOT / "voices.yaml").read_text())
    asked = {
        engine: {one["engine_voices"].get(engine) for one in characters} - {None}
        for engine in ("kokoro", "kyutai", "pocket")
    }
    there = {
        name: {file.name for file in catalogue.model(name).files}
        for name in ("kokoro-voices", "kyutai-voices", "pocket-tts")
    }
    assert {f"{voice}.bin" for voice in asked["kokoro"]} <= there["kokoro-voices"]
    assert {f"{voice}.1e68beda@240.safetensors" for voice in asked["kyutai"]} == there["kyutai-voices"]
    assert {f"embeddings/{voice}.safetensors" for voice in asked["pocket"]} <= there["pocket-tts"]
    assert asked["pocket"]


def test_a_profile_takes_what_the_parts_of_a_mixed_engine_take():
    parts = {
        "piper": {"required": True},
        "kokoro": {"options": {"voices": "models:kokoro-voices"}},
        "null": None,
    }
    found = catalogue.wanted("tts", "mixed", {"engines": parts})
    assert {model.id for model in found} == {"piper-joe", "kokoro", "kokoro-voices", "hibari"}
    (needed,) = catalogue.wanted("tts", "mixed", {"engines": parts}, optional=False)
    assert needed.id == "piper-joe"


@pytest.mark.parametrize("part", ["x", {"options": "x"}, ["x"]])
def test_parts_of_a_mixed_engine_that_are_none_are_left_to_the_engine_to_refuse(part):
    assert "piper-joe" in [
        model.id for model in catalogue.wanted("tts", "mixed", {"engines": {"piper": part}})
    ]


@pytest.mark.parametrize("engine", ["piper", "kokoro"])
def test_an_engine_in_place_of_the_mixed_one_is_not_mixed(monkeypatch, engine):
    monkeypatch.setenv("ANTIPHON_TTS__ENGINE", engine)
    load.cache_clear()
    settings = load("embedded")
    load.cache_clear()
    assert not settings.tts.mixes, "or characters would ask it for voices by the mixed engine's names"
    speaks = {use.engine for model in command.of_profile(settings) for use in model.used_by} & {
        "tts/piper",
        "tts/kokoro",
    }
    assert speaks == {f"tts/{engine}"}


def test_an_option_that_says_nothing_leaves_the_default():
    assert [model.id for model in catalogue.wanted("llm", "llama", {"model": None})] == ["smollm2-135m"]


def test_what_a_profile_can_do_without_is_listed_as_optional(folder):
    listed = antiphon("list", "--profile", "embedded").split("kokoro-voices", 1)[1]
    assert "optional: the profile does without it" in listed.split("fetch it")[0]
    told = json.loads(antiphon("list", "--profile", "embedded", "--json"))
    assert {"kokoro", "kokoro-voices", "hibari"} == {one["id"] for one in told if one["optional"]}
    assert "optional" not in antiphon("list", "kokoro-voices")


def test_a_model_that_is_named_twice_is_taken_once():
    assert [model.id for model in command.chosen(load("null"), ["hibari", "kokoro", "hibari"], False)] == [
        "hibari",
        "kokoro",
    ]


def test_what_a_profile_can_do_without_is_not_wrong_where_it_is_not_there(folder):
    said = antiphon("check", "--profile", "embedded")
    assert "absent kokoro-voices: nothing needs it; fetch it: antiphon models pull kokoro-voices" in said
    assert "wrong  kokoro-voices/af_heart.bin: not there" in antiphon("check", "kokoro-voices", expect=1)


def test_packages_of_the_catalogue_are_those_that_are_installed():
    listed = {
        f"{package}=={model.source.version}"
        for model in catalogue.models().values()
        if isinstance(model.source, PyPi)
        for package in model.source.packages
    }
    pinned = [(ROOT / f"requirements/{name}.in").read_text() for name in ("models", "kokoro", "whisper")]
    #: Its weights are in its library, another one for each system; docs/models.md has it among the code.
    pinned[0] = pinned[0].replace("\npyrnnoise==", "\n# pyrnnoise==")
    models, *others = ({*re.findall(r"^[\w-]+==[\w.]+", text, re.MULTILINE)} for text in pinned)
    assert models <= listed <= models.union(*others)


@pytest.mark.parametrize(
    "model", [model for model in catalogue.models().values() if model.installed], ids=lambda model: model.id
)
def test_weights_of_packages_are_those_of_the_catalogue(model, tmp_path):
    for weight in weights_of([model], tmp_path):
        if weight.path is None:
            missing(f"the model {model.id}; {command.remedy(model)}")
        assert weight.path.stat().st_size == weight.file.size
        assert command.judged(weight) is None


def test_a_reference_becomes_a_file_or_a_folder(tmp_path):
    options = {"model": "models:qwen2.5-1.5b", "more": ["models:moonshine-base", {"deep": "models"}], "n": 1}
    assert catalogue.resolved(options, tmp_path) == {
        "model": str(tmp_path / "qwen2.5-1.5b/qwen2.5-1.5b-instruct-q4_k_m.gguf"),
        "more": [str(tmp_path / "moonshine-base"), {"deep": "models"}],
        "n": 1,
    }
    with pytest.raises(ConfigError, match="unknown model 'none'; there are: kokoro-voices,"):
        catalogue.resolved("models:none", tmp_path)
    with pytest.raises(ConfigError, match="comes in a Python package"):
        catalogue.resolved("models:smollm2-135m", tmp_path)


@pytest.mark.parametrize(
    ("stage", "file"),
    [("stt", "moonshine-base/encoder_model.ort"), ("llm", "qwen2.5-1.5b/qwen2.5-1.5b-instruct-q4_k_m.gguf")],
)
def test_a_worker_that_lacks_a_file_names_it_and_the_command(tmp_path, stage, file):
    settings = load("desktop").model_copy(update={"models_dir": tmp_path})
    with pytest.raises(EngineMissing) as caught:
        loader.load(stage, settings.stage(stage), 1)
    assert str(tmp_path / file) in str(caught.value)
    assert f"antiphon models pull {file.partition('/')[0]}" in str(caught.value)
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(b"half of it")
    with pytest.raises(EngineMissing, match=r"has 10 bytes and should have \d+: see 'antiphon models check"):
        loader.load(stage, settings.stage(stage), 1)


def test_programs_look_in_one_folder_wherever_they_start_and_fetch_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = load("null").model_copy(update={"models_dir": Path("weights")})
    environment = programs.environment(settings, "redis://state", "redis://media")
    assert environment["ANTIPHON_MODELS_DIR"] == str(tmp_path / "weights")
    assert environment["HF_HUB_OFFLINE"] == "1"
    image = (ROOT / "Dockerfile").read_text()
    assert "ANTIPHON_MODELS_DIR=/models HF_HUB_OFFLINE=1" in image


def test_a_path_of_ones_own_needs_no_catalogue(tmp_path):
    with pytest.raises(EngineMissing, match=r"there is no file '.*own\.gguf'"):
        weights.need(tmp_path / "own.gguf")
    (tmp_path / "own.gguf").write_bytes(b"x")
    assert weights.need(tmp_path / "own.gguf") == tmp_path / "own.gguf"


def antiphon(*arguments: str, expect: int = 0) -> str:
    """What the command prints."""
    load.cache_clear()
    outcome = CliRunner().invoke(main, ["models", *arguments], catch_exceptions=False)
    load.cache_clear()
    assert outcome.exit_code == expect, outcome.output
    return outcome.output


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ANTIPHON_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_command_fetches_lists_and_checks(folder, monkeypatch):
    model = catalogue.model("kyutai-voices")
    assert isinstance(model.source, Hub)
    root = f"/{model.source.repository}/resolve/{model.source.revision}/"
    with fake_hub.serving(
        fake_hub.Hub({root + file.name: file.name.encode() for file in model.files})
    ) as hub:
        hub.token = "a-secret"
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "a-secret")
        assert "fetch it: antiphon models pull kyutai-voices" in antiphon("list", "kyutai-voices")
        said = antiphon("pull", "kyutai-voices")
    assert f"{len(model.files)} files fetched, 0 were there" in said
    assert "a-secret" not in said
    listed = antiphon("list", "kyutai-voices")
    assert "present" in listed and "not pinned by us: 8 of 8 files" in listed
    assert f"{len(model.files)} of {len(model.files)} files are right" in antiphon("check", "kyutai-voices")
    spoilt = folder / "kyutai-voices" / model.files[0].name
    spoilt.write_bytes(b"other")
    checked = antiphon("check", "kyutai-voices", expect=1)
    assert f"wrong  kyutai-voices/{model.files[0].name}: sha256" in checked
    assert "fetch it: antiphon models pull kyutai-voices" in checked


def test_a_token_is_not_shown_to_another_mirror(folder, monkeypatch):
    with fake_hub.serving(fake_hub.Hub()) as hub:
        monkeypatch.setenv("HF_TOKEN", "a-secret")
        assert "404" in antiphon("pull", "qwen2.5-1.5b", "--from", hub.address, expect=2)
        assert {shown for *_, shown in hub.asked} == {None}


def test_the_list_for_programs_holds_every_file(folder):
    listed = json.loads(antiphon("list", "--profile", "desktop", "--json"))
    assert [model["id"] for model in listed] == [model.id for model in command.of_profile(load("desktop"))]
    (llm,) = [model for model in listed if model["id"] == "qwen2.5-1.5b"]
    assert llm["files"][0]["state"] == "missing"
    assert llm["files"][0]["path"].startswith(str(folder))


def test_weights_of_packages_are_not_fetched_but_found(folder):
    if not all(weight.path for weight in weights_of([catalogue.model("moonshine-tiny")], folder)):
        missing("the package moonshine-voice")
    assert "comes in a Python package, and is installed" in antiphon("pull", "moonshine-tiny")
    assert "3 of 3 files are right" in antiphon("check", "moonshine-tiny")


def test_the_caches_of_both_sizes_are_as_wide_as_their_decoders():
    def inputs(heads: int, width: object) -> list[tuple[str, list[object]]]:
        cache = [(f"past_key_values.0.decoder.{kind}", ["b", heads, "n", width]) for kind in ("key", "value")]
        return [("input_ids", ["b", "n"]), *cache]

    assert {value.shape for value in empty_cache(inputs(8, 36)).values()} == {(1, 8, 0, 36)}
    assert {value.shape for value in empty_cache(inputs(8, 52)).values()} == {(1, 8, 0, 52)}
    with pytest.raises(ConfigError, match="no width in the shape"):
        empty_cache(inputs(8, "width"))
    with pytest.raises(ConfigError, match="has no cache"):
        empty_cache([("input_ids", ["b", "n"])])


@pytest.mark.model
def test_moonshine_reads_a_model_from_a_folder(tmp_path):
    for weight in weights_of([catalogue.model("moonshine-tiny")], tmp_path):
        if weight.path is None:
            missing("the package moonshine-voice")
        (tmp_path / weight.path.name).symlink_to(weight.path)
    pcm = soxr.resample(recording("beckett"), RATE, moonshine.RATE)
    words = moonshine.Moonshine(1, tmp_path).transcribe(pcm)
    assert words == moonshine.Moonshine(1).transcribe(pcm)
    assert "fail" in words.lower()


@pytest.mark.parametrize(
    ("engine", "option", "name"),
    [
        ("stt/kyutai", "model", "kyutai-stt"),
        ("tts/kyutai", "model", "kyutai-tts"),
        ("tts/kyutai", "voices_dir", "kyutai-voices"),
    ],
)
def test_an_engine_can_name_the_command_and_the_option_that_bring_its_model(engine, option, name):
    said = weights.remedy(engine, option)
    assert f"'antiphon models pull {name}'" in said and f"option {option!r} to 'models:{name}'" in said
