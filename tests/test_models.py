"""Weights: the catalogue, what a profile takes, fetching from a hub that misbehaves, and workers that lack a file."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import soxr
import yaml
from click.testing import CliRunner

from cli import models as command
from cli import weight_pull
from cli.main import main
from cli.weight_pull import Access
from cli.weight_store import State, locked, weights_of
from config import catalogue
from config.catalogue import File, Hub, Model, Npm, PyPi, Url
from config.errors import ConfigError, DownloadFailed, EngineMissing
from config.settings import EngineChoice, load, profiles
from gpu_workers import loader, moonshine, weights
from gpu_workers.moonshine import empty_cache
from tests import fake_hub
from tests.conftest import missing
from tests.speech import RATE, recording

CONTENT = bytes(range(256)) * 5000
COMMIT = "c" * 40
ROOT = Path(__file__).parent.parent


@pytest.fixture
def hub() -> Iterator[fake_hub.Hub]:
    files = {f"/maker/thing/resolve/{COMMIT}/sub/big.bin": CONTENT}
    with fake_hub.serving(fake_hub.Hub(files)) as served:
        yield served


def thing(sha256: str | None = hashlib.sha256(CONTENT).hexdigest(), **fields: object) -> Model:
    file = File(name="big.bin", path="sub/big.bin", sha256=sha256, **fields)
    return model_of(Hub(kind="hub", repository="maker/thing", revision=COMMIT), file)


def model_of(source: Hub | Npm | PyPi | Url, *files: File) -> Model:
    licences = {"code": "MIT", "weights": "MIT", "link": "https://example.org"}
    return Model(
        id="thing",
        what="a thing",
        licences=licences,
        source=source,
        files=files,
        used_by=[{"engine": "stt/null"}],
    )


def pull(hub: fake_hub.Hub, folder: Path, model: Model | None = None, **access: object) -> list[str]:
    """Fetches the model; the names of what came."""
    all_of_it = weights_of([model or thing()], folder)
    means = Access(hub.address, pause=lambda seconds: None, **access)
    return [weight.file.name for weight in weight_pull.pull(all_of_it, folder, means)]


def test_a_file_arrives_and_is_not_fetched_again(hub, tmp_path):
    assert pull(hub, tmp_path) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    asked = len(hub.asked)
    assert pull(hub, tmp_path) == []
    assert len(hub.asked) == asked
    assert sorted(os.listdir(tmp_path / "thing")) == ["big.bin"]


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tmp_path):
    hub.breaks = [300_000, 200_000]
    assert pull(hub, tmp_path) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    ranges = [wanted for method, _, wanted, _ in hub.asked if method == "GET" and wanted]
    assert ranges[-1] == "bytes=500000-"


def test_a_server_that_sends_no_parts_starts_anew(hub, tmp_path):
    hub.breaks, hub.ranges = [300_000], False
    shown: list[int] = []
    show = partial(_counting, shown)
    assert pull(hub, tmp_path, show=show) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    assert sum(shown) == len(CONTENT)


def _counting(shown: list[int], label: str, size: int) -> object:
    class Bar:
        def __enter__(self) -> object:
            return shown.append

        def __exit__(self, *error: object) -> None:
            pass

    return Bar()


def test_a_later_pull_goes_on_with_what_an_earlier_one_left(hub, tmp_path):
    hub.breaks = [300_000, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed, match=r"sub/big\.bin: 127\.0\.0\.1:\d+ cannot be reached"):
        pull(hub, tmp_path)
    (weight,) = weights_of([thing()], tmp_path)
    assert (weight.state(), weight.part.stat().st_size) == (State.PARTIAL, 300_000)
    assert pull(hub, tmp_path) == ["big.bin"]
    assert hub.asked[-1][2] == "bytes=300000-"


def test_what_is_longer_than_it_can_be_is_fetched_anew(hub, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/big.bin.part").write_bytes(CONTENT + b"more")
    assert pull(hub, tmp_path) == ["big.bin"]


def test_a_busy_hub_is_asked_again(hub, tmp_path):
    hub.busy = 2
    assert pull(hub, tmp_path) == ["big.bin"]
    hub.busy = 99
    with pytest.raises(DownloadFailed, match="503"):
        pull(hub, tmp_path / "other")


@pytest.mark.parametrize("sent", [CONTENT[:-1] + b"!", CONTENT + b"!"], ids=["another", "more"])
def test_content_that_was_not_promised_is_removed(hub, tmp_path, sent):
    hub.changed = sent
    with pytest.raises(DownloadFailed, match=r"checksum should be|bytes came"):
        pull(hub, tmp_path)
    assert os.listdir(tmp_path / "thing") == []


def test_nothing_is_fetched_that_the_hub_calls_by_another_checksum(hub, tmp_path):
    with pytest.raises(DownloadFailed, match=f"another file: sha256 [0-9a-f]+ and not {'0' * 64}"):
        pull(hub, tmp_path, thing(sha256="0" * 64))
    assert {method for method, *_ in hub.asked} == {"HEAD"}


@pytest.mark.parametrize("small", [False, True], ids=["large", "small"])
def test_a_file_that_we_do_not_pin_is_checked_against_the_hub_and_pinned_here(hub, tmp_path, small):
    if small:
        hub.small = set(hub.files)
    model = thing(sha256=None)
    assert pull(hub, tmp_path, model) == ["big.bin"]
    (weight,) = weights_of([model], tmp_path)
    assert locked(weight.lock, COMMIT) == hashlib.sha256(CONTENT).hexdigest()
    subprocess.run(["sha256sum", "--check", "--quiet", weight.lock.name], cwd=tmp_path / "thing", check=True)
    assert pull(hub, tmp_path, model) == []
    (tmp_path / "thing/big.bin").write_bytes(CONTENT[::-1])
    assert command.judged(weight) is not None
    assert pull(hub, tmp_path, model) == ["big.bin"]


def test_a_lock_says_nothing_of_another_revision(hub, tmp_path):
    model = thing(sha256=None)
    pull(hub, tmp_path, model)
    newer = model.model_copy(update={"source": model.source.model_copy(update={"revision": "d" * 40})})
    (weight,) = weights_of([newer], tmp_path)
    assert "nobody knows" in (command.judged(weight) or "")
    hub.files = {path.replace(COMMIT, "d" * 40): CONTENT[::-1] for path in hub.files}
    assert pull(hub, tmp_path, newer) == ["big.bin"]
    assert command.judged(weight) is None


def test_a_file_of_another_commit_than_the_rest_is_fetched_there(hub, tmp_path):
    file = File(name="big.bin", path="sub/big.bin", revision=COMMIT)
    model = model_of(Hub(kind="hub", repository="maker/thing", revision="d" * 40), file)
    assert pull(hub, tmp_path, model) == ["big.bin"]
    assert command.judged(weights_of([model], tmp_path)[0]) is None


def test_a_small_file_that_differs_from_gits_checksum_is_removed(hub, tmp_path):
    hub.small = set(hub.files)
    good = hub.promised(next(iter(hub.files)))
    hub.promised = lambda path: good
    hub.files = {path: CONTENT[::-1] for path in hub.files}
    with pytest.raises(DownloadFailed, match="checksum should be"):
        pull(hub, tmp_path, thing(sha256=None))


def test_a_file_that_was_copied_here_is_taken_if_it_is_the_hubs(hub, tmp_path):
    model = thing(sha256=None)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/big.bin").write_bytes(CONTENT)
    assert pull(hub, tmp_path, model) == []
    (weight,) = weights_of([model], tmp_path)
    assert command.judged(weight) is None


def test_nothing_is_fetched_that_nobody_vouches_for(hub, tmp_path):
    hub.checksums = False
    with pytest.raises(DownloadFailed, match="nothing was fetched"):
        pull(hub, tmp_path, thing(sha256=None))
    assert pull(hub, tmp_path) == ["big.bin"]


def test_the_token_is_shown_to_the_hub_and_to_nobody_else(hub, tmp_path):
    hub.token = "a-secret"
    with pytest.raises(DownloadFailed, match=r"refused \(401\).*HF_TOKEN"):
        pull(hub, tmp_path)
    assert pull(hub, tmp_path, token="a-secret") == ["big.bin"]
    stored = [shown for _, path, _, shown in hub.asked if path.startswith(fake_hub.STORE)]
    assert stored == [None]


def test_a_file_that_is_not_there_is_named(hub, tmp_path):
    hub.files = {}
    with pytest.raises(
        DownloadFailed, match=rf"maker/thing/resolve/{COMMIT}/sub/big\.bin: not there \(404\)"
    ):
        pull(hub, tmp_path)


def test_without_a_network_host_and_file_are_named(hub, tmp_path):
    nobody = fake_hub.Hub(address="http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match=r"sub/big\.bin: 127\.0\.0\.1:9 cannot be reached"):
        pull(nobody, tmp_path)


def test_errors_hold_no_signature_of_a_store(hub, tmp_path):
    hub.breaks = [0] * 9
    with pytest.raises(DownloadFailed) as caught:
        pull(hub, tmp_path)
    assert "signature" not in str(caught.value)


def test_a_full_disk_is_told_before_anything_is_fetched(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ConfigError, match=r"the disk has 1 MB .*models_dir"):
        pull(hub, tmp_path)
    assert {method for method, *_ in hub.asked} == {"HEAD"}


def test_two_pulls_do_not_write_to_one_folder(hub, tmp_path):
    with weight_pull.held(tmp_path), pytest.raises(ConfigError, match="another pull"):
        pull(hub, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(hub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.* cannot be used as folder for models"):
        pull(hub, tmp_path / "file")


def test_a_hub_without_tls_is_refused():
    with pytest.raises(ConfigError, match="https://"):
        Access("http://hub.example.org")


def test_a_redirect_within_the_hub_is_followed(hub, tmp_path):
    (path,) = hub.files
    hub.files = {"/renamed": hub.files.pop(path)}
    hub.moved = {path: "/renamed"}
    hub.token = "a-secret"
    assert pull(hub, tmp_path, token="a-secret") == ["big.bin"]
    hub.moved = {path: path}
    with pytest.raises(DownloadFailed, match="redirected more than"):
        pull(hub, tmp_path / "other", token="a-secret")


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


def test_only_a_hub_may_go_without_a_checksum():
    with pytest.raises(ValueError, match="only a hub vouches"):
        model_of(Url(kind="url", base="https://example.org"), File(name="a"))


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
        assert "404" in antiphon("pull", "moonshine-base", "--from", hub.address, expect=2)
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
