"""Kyutai's voice encoder by tiny random weights: what it makes, and which weights it will not take."""

import json

import numpy as np
import pytest

pytest.importorskip("moshi", reason="moshi is not installed: make test-kyutai")
torch = pytest.importorskip("torch")

import safetensors.torch

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
from gpu_workers import loader
from gpu_workers.voices import mimi as module
from gpu_workers.voices.mimi import filled
from tests import tiny_kyutai

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With an ordinary Mimi, and one with another encoder."""
    path = tmp_path_factory.mktemp("mimi")
    torch.manual_seed(1)
    ordinary = tiny_kyutai._mimi()
    torch.manual_seed(2)
    other = {name: tensor for name, tensor in tiny_kyutai._mimi().items() if name.startswith("encoder")}
    save(ordinary, path / "ordinary.safetensors")
    save({**ordinary, **other}, path / "voice.safetensors")
    deaf = {
        name: torch.zeros_like(tensor) if name.startswith("encoder") else tensor
        for name, tensor in ordinary.items()
    }
    save(deaf, path / "deaf.safetensors")
    (path / "mimi.json").write_text(json.dumps(tiny_kyutai.MIMI))
    return path


def save(state, path):
    safetensors.torch.save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)


def made(folder, weights="voice.safetensors", **options):
    options = {"weights": str(folder / weights), "config": str(folder / "mimi.json"), **options}
    return loader.load("voices", EngineChoice(engine="mimi", slots=1, options=options), 1)


def sound(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=int(seconds * 24_000))).astype(np.float32)


@pytest.mark.parametrize("seconds", [3.0, 7.7, 10.0])
def test_a_sample_becomes_125_frames(folder, seconds):
    encoder = made(folder)
    tensors = safetensors.torch.load(encoder.encode(sound(seconds)))
    assert list(tensors) == ["speaker_wavs"]
    assert list(tensors["speaker_wavs"].shape) == [1, tiny_kyutai.LATENT, 125]
    assert tensors["speaker_wavs"].dtype == torch.float32 and tensors["speaker_wavs"].isfinite().all()


def test_two_voices_differ_and_one_is_itself(folder):
    encoder = made(folder)
    encoder.warm_up()
    assert encoder.encode(sound(5, 1)) == encoder.encode(sound(5, 1)) != encoder.encode(sound(5, 2))


def test_the_embedding_is_not_quantised(folder):
    """Quantised it would be a sum of a few of the codebooks' entries."""
    found = safetensors.torch.load(made(folder).encode(sound(10)))["speaker_wavs"]
    model = made(folder)._mimi
    with torch.no_grad(), module.no_compile():
        wanted = model.encode_to_latent(torch.from_numpy(sound(10))[None, None], quantize=False)
        coarse = model.encode_to_latent(torch.from_numpy(sound(10))[None, None], quantize=True)
    assert torch.allclose(found, wanted, atol=1e-5) and not torch.allclose(found, coarse, atol=1e-2)


def test_without_weights_it_says_what_to_set():
    with pytest.raises(EngineMissing, match=r"not installed: set voices\.options\.weights"):
        loader.load("voices", EngineChoice(engine="mimi", slots=1), 1)


def test_a_missing_file_is_named(folder):
    with pytest.raises(EngineMissing, match=r"not installed: .*nowhere\.safetensors is not there"):
        made(folder, "nowhere.safetensors")


def test_an_ordinary_mimi_is_refused_when_it_lies_beside(folder):
    with pytest.raises(EngineMissing, match="ordinary Mimi"):
        made(folder, "ordinary.safetensors", ordinary=str(folder / "ordinary.safetensors"))
    made(folder, ordinary=str(folder / "ordinary.safetensors"))


def test_a_converted_ordinary_mimi_is_refused_too(folder, tmp_path):
    converted = {
        name: tensor.bfloat16().float() if tensor.is_floating_point() else tensor
        for name, tensor in safetensors.torch.load_file(folder / "ordinary.safetensors").items()
    }
    save(converted, tmp_path / "converted.safetensors")
    (tmp_path / "mimi.json").write_text(json.dumps(tiny_kyutai.MIMI))
    with pytest.raises(EngineMissing, match="ordinary Mimi"):
        made(tmp_path, "converted.safetensors", ordinary=str(folder / "ordinary.safetensors"))


def test_the_public_mimi_is_refused_by_its_content(folder, monkeypatch):
    data = (folder / "ordinary.safetensors").read_bytes()
    monkeypatch.setattr(module, "PUBLIC_BYTES", len(data))
    monkeypatch.setattr(module, "PUBLIC_SHA256", module.hashlib.sha256(data).hexdigest())
    with pytest.raises(EngineMissing, match="the ordinary, public Mimi"):
        made(folder, "ordinary.safetensors")
    made(folder)


def test_weights_without_an_encoder_are_refused(folder):
    with pytest.raises(ConfigError, match="every voice is the same"):
        made(folder, "deaf.safetensors").warm_up()


def test_weights_of_something_else_are_refused(folder):
    safetensors.torch.save_file({"a": torch.zeros(1)}, folder / "else.safetensors")
    with pytest.raises(ConfigError, match="not the weights of a Mimi"):
        made(folder, "else.safetensors")


def test_a_pickle_is_not_opened(folder):
    torch.save({"model": {}}, folder / "weights.pt")
    with pytest.raises(ConfigError, match=r"must be a \.safetensors file"):
        made(folder, "weights.pt")


def test_a_short_sample_is_said_again_after_a_pause():
    once = sound(4)
    whole = filled(once)
    assert len(whole) == 240_000
    again = int(4.3 * 24_000)
    assert np.array_equal(whole[again : again + len(once)], once)
    assert not whole[len(once) : again].any()
    assert len(filled(sound(12))) == 240_000


def test_a_mimi_that_cannot_be_compared_is_no_leave_to_go_without(folder, tmp_path):
    save({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"1234")
    for name, said in (("other", "holds no encoder"), ("cut", "cannot be read"), ("none", "cannot be read")):
        with pytest.raises(ConfigError, match=rf"option 'ordinary': .*{name}\.safetensors {said}"):
            made(folder, ordinary=str(tmp_path / f"{name}.safetensors"))


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_dimensions_that_are_none_are_named(folder, tmp_path, content):
    path = tmp_path / "mimi.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"option 'config': .*mimi\.json cannot be read as JSON"):
        made(folder, config=str(path))
