"""Pocket TTS by tiny random weights: voices that fit and such that do not, clones, and files that are missing."""

import logging
import shutil
import time

import numpy as np
import pytest

pytest.importorskip("pocket_tts", reason="pocket-tts is not installed: make test-kyutai")
torch = pytest.importorskip("torch")

import safetensors.torch
import yaml

from config.engine_choice import EngineChoice, VoiceSettings
from config.errors import ConfigError, EngineMissing
from config.redis_keys import VOICES
from config.settings import load as load_settings
from config.voice_messages import CUSTOM_PREFIX, CustomVoice, VoiceMade, VoiceRefused
from gpu_workers import loader, pocket
from gpu_workers.engine import VoiceOptions
from gpu_workers.tts.pocket import KEPT_PER_SLOT, PocketTts, Settings
from tasks import beats, recordings
from tasks.voices import Desk, custom_voice
from tests import speech, tiny_pocket
from tests.conftest import missing
from tests.voice_files import encoded, talk

pytestmark = pytest.mark.torch

WORDS = ["This", "is", "what", "a", "cloned", "voice", "says", "."]


def sound(seed, seconds=4.0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.normal(size=int(seconds * 24_000))).astype(np.float32)


def encoder(**options):
    choice = EngineChoice(engine="pocket", slots=1, options={**tiny_pocket.options(), **options})
    choice.options.pop("temperature")
    return loader.load("voices", choice, 1)


@pytest.fixture(scope="module")
def cloner():
    made = encoder(weights=str(tiny_pocket.folder() / pocket.WEIGHTS))
    made.warm_up()
    return made


@pytest.fixture(scope="module")
def clone(cloner):
    return CustomVoice(cloner.name, cloner.encode(sound(7)))


@pytest.fixture
def engine():
    return PocketTts(Settings(**tiny_pocket.options()), slots=2)


def same(one, other):
    """The model decodes as many frames at once as are there: sums are rounded a little differently each time."""
    return len(one.pcm) == len(other.pcm) > 0 and np.allclose(one.pcm, other.pcm, atol=1e-5)


def test_a_reply_is_spoken_with_a_cloned_voice(engine, clone):
    cloned = engine.synthesise(WORDS, engine.adopt(clone), 1.0)
    assert not same(cloned, engine.synthesise(WORDS, "alba", 1.0))
    again = PocketTts(Settings(**tiny_pocket.options()), slots=2)
    assert same(again.synthesise(WORDS, again.adopt(clone), 1.0), cloned), "in another worker, too"


def test_a_voice_is_not_changed_by_speaking(engine):
    first = engine.synthesise(WORDS, "marius", 1.0)
    engine.synthesise(["Something", "else."], "alba", 1.0)
    assert same(engine.synthesise(WORDS, "marius", 1.0), first)


def test_the_engine_takes_a_cloned_voice_for_a_slot(clone):
    runner = loader.load("tts", EngineChoice(engine="pocket", slots=2, options=tiny_pocket.options()), 2)
    runner.open(0, VoiceOptions(f"{CUSTOM_PREFIX}some-id", custom=clone))
    with pytest.raises(ConfigError, match="'mimi' is none for Pocket"):
        runner.open(1, VoiceOptions("alba", custom=CustomVoice("mimi", clone.data)))
    with pytest.raises(ConfigError, match="alba, marius"):
        runner.open(1, VoiceOptions("nobody"))


def test_clones_of_two_people_are_two_voices(engine, cloner, clone):
    other = engine.adopt(CustomVoice(cloner.name, cloner.encode(sound(8))))
    assert other != engine.adopt(clone)
    assert not same(engine.synthesise(WORDS, other, 1.0), engine.synthesise(WORDS, engine.adopt(clone), 1.0))


def test_only_so_many_clones_are_kept_and_the_newest_of_them(engine, cloner, clone):
    kept = engine.adopt(clone)
    for seed in range(KEPT_PER_SLOT * engine_slots(engine)):
        engine.synthesise(["Me."], kept, 1.0)
        newest = engine.adopt(CustomVoice(cloner.name, cloner.encode(sound(seed, 3.0))))
    engine.synthesise(WORDS, kept, 1.0)
    for seed in range(20, 20 + KEPT_PER_SLOT * engine_slots(engine)):
        engine.adopt(CustomVoice(cloner.name, cloner.encode(sound(seed, 3.0))))
    with pytest.raises(ConfigError, match="not kept"):
        engine.synthesise(WORDS, newest, 1.0)


def engine_slots(engine):
    return engine._most_adopted // KEPT_PER_SLOT


def spoilt(data, change):
    flat = safetensors.torch.load(data)
    change(flat)
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in flat.items()})


def caches(flat):
    return [name for name in flat if name.endswith("/cache")]


def drop_a_layer(flat):
    for name in [name for name in flat if name.startswith(caches(flat)[0].rpartition("/")[0])]:
        del flat[name]


def widen(flat):
    for name in caches(flat):
        flat[name] = torch.cat([flat[name], flat[name]], dim=-1)


def poison(flat):
    flat[caches(flat)[-1]][0, 0, 1] = float("nan")


def claim_more(flat):
    for name in [name for name in flat if name.endswith("/offset")]:
        flat[name] = flat[name] + 1000


def lengthen(flat):
    for name in caches(flat):
        flat[name] = flat[name].repeat(1, 1, 20, 1, 1)


def forget_the_offset(flat):
    for name in [name for name in flat if name.endswith("/offset")]:
        del flat[name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_a_layer, "layers are 2; it has 1"),
        (widen, r"of shape .* this model takes"),
        (poison, "no numbers"),
        (claim_more, "claims"),
        (lengthen, "at most 400"),
        (forget_the_offset, "no voice of Pocket TTS"),
    ],
)
def test_a_voice_that_does_not_fit_is_refused_with_what_is_wrong(engine, clone, change, words):
    with pytest.raises(ConfigError, match=words):
        engine.adopt(CustomVoice("pocket", spoilt(clone.data, change)))


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\x80\x04pickle"])
def test_what_is_no_safetensors_is_refused(engine, data):
    with pytest.raises(ConfigError, match="no safetensors"):
        engine.adopt(CustomVoice("pocket", data))


# --- files


def copied(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_pocket.folder(), folder)
    return folder


def load(folder, **options):
    options = {"folder": str(folder), "config": str(folder / "config.yaml"), **options}
    return loader.load("tts", EngineChoice(engine="pocket", slots=1, options=options), 1)


@pytest.mark.parametrize("file", [pocket.WEIGHTS, pocket.TOKENIZER])
def test_a_missing_file_is_named(tmp_path, file):
    folder = copied(tmp_path)
    (folder / file).unlink()
    with pytest.raises(EngineMissing, match=file):
        load(folder)


def test_a_model_without_voices_says_where_they_belong(tmp_path):
    folder = copied(tmp_path)
    shutil.rmtree(folder / pocket.EMBEDDINGS)
    with pytest.raises(EngineMissing, match="embeddings holds no"):
        load(folder)


def test_voices_of_a_folder_of_ones_own_are_spoken_with(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(tiny_pocket.folder() / pocket.EMBEDDINGS / "alba.safetensors", own / "me.safetensors")
    assert "me" in load(tiny_pocket.folder(), voices=str(own)).voices()


def test_weights_of_another_shape_are_refused(tmp_path):
    folder = copied(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["flow_lm"]["transformer"]["num_layers"] = 3
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="does not fit the Pocket TTS model"):
        load(folder)


def test_a_torn_file_is_refused(tmp_path):
    folder = copied(tmp_path)
    whole = (folder / pocket.WEIGHTS).read_bytes()
    (folder / pocket.WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="does not fit"):
        load(folder)


def test_an_unknown_model_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"'klingon'; there are: .*english.*french"):
        load(copied(tmp_path), config=None, model="klingon")


def test_without_weights_that_clone_it_is_not_installed():
    with pytest.raises(EngineMissing, match=r"not installed: set voices\.options\.weights"):
        encoder()


def test_weights_without_an_encoder_are_not_installed_either(tmp_path):
    folder = copied(tmp_path)
    tiny_pocket.weights(folder / "deaf.safetensors", deaf=True)
    with pytest.raises(EngineMissing, match="every voice is the same"):
        encoder(weights=str(folder / "deaf.safetensors")).warm_up()


def test_nothing_that_is_said_is_logged(engine, caplog):
    with caplog.at_level(logging.DEBUG):
        engine.synthesise(["secret"] * 60, "alba", 1.0)
    assert "secret" not in caplog.text


# --- pieces


def test_a_clause_is_given_out_before_it_is_whole(engine):
    words = ["Sentence", "by", "sentence", "it", "comes."] * 12 + ["So", "it", "does."]
    pieces = list(engine.stream(words, "alba", 1.0))
    assert len([piece for piece in pieces if len(piece.pcm)]) > 1
    spans = [span for piece in pieces for span in piece.spans]
    assert len(spans) == len(words) and spans == sorted(spans)
    whole = engine.synthesise(words, "alba", 1.0)
    assert sum(len(piece.pcm) for piece in pieces) == len(whole.pcm)


def test_a_clause_that_nobody_wants_any_more_frees_the_model_at_once(engine):
    pieces = engine.stream(["Sentence", "by", "sentence", "it", "comes."] * 12, "alba", 1.0)
    next(pieces)
    assert engine._models.empty()
    pieces.close()
    assert engine._models.qsize() == 1
    assert same(engine.synthesise(WORDS, "alba", 1.0), engine.synthesise(WORDS, "alba", 1.0))


def test_a_clause_without_letters_is_silent(engine):
    spoken = engine.synthesise(["…", "—"], "alba", 1.0)
    assert not len(spoken.pcm) and spoken.spans == [(0, 0), (0, 0)]


# --- from a recording to a reply


def test_a_recording_becomes_a_voice_that_the_engine_speaks_with(engine, state, media):
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    options = {**tiny_pocket.options(), "weights": str(tiny_pocket.folder() / pocket.WEIGHTS)}
    options.pop("temperature")
    cloning = VoiceSettings(encoder="pocket", options=options)
    desk = Desk(load_settings("null").model_copy(update={"voices": cloning}), "test", state, media, {})
    desk.open()
    try:
        assert not desk.missing
        recordings.offer_recording(media, "an-upload", encoded(talk(9)))
        desk.clone("an-upload")
        answer = recordings.await_answer(media, "an-upload", time.monotonic() + 1)
        assert isinstance(answer, VoiceMade), answer
        custom = custom_voice(media, answer.voice, 60)
        assert custom is not None and custom.encoder == "pocket"
        assert same(
            engine.synthesise(WORDS, engine.adopt(custom), 1.0),
            engine.synthesise(WORDS, engine.adopt(custom), 1.0),
        )
        assert not same(
            engine.synthesise(WORDS, engine.adopt(custom), 1.0), engine.synthesise(WORDS, "alba", 1.0)
        )
    finally:
        desk.close()


def test_a_desk_without_weights_stays_and_says_so(state, media):
    options = {"folder": str(tiny_pocket.folder()), "config": str(tiny_pocket.folder() / "config.yaml")}
    cloning = VoiceSettings(encoder="pocket", options=options)
    desk = Desk(load_settings("null").model_copy(update={"voices": cloning}), "weightless", state, media, {})
    desk.open()
    try:
        assert "voices.options.weights" in desk.missing
        deadline = time.monotonic() + 5
        while "weightless" not in (said := beats.workers(state, VOICES)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert said["weightless"]["missing"] == "yes" and said["weightless"]["free"] == "0"
        recordings.offer_recording(media, "another", b"RIFF")
        desk.clone("another")
        answer = recordings.await_answer(media, "another", time.monotonic() + 1)
        assert answer == VoiceRefused("voice cloning is not installed on this server", theirs=False)
    finally:
        desk.close()
    assert "weightless" not in beats.workers(state, VOICES)


@pytest.mark.parametrize("content", ["{}", "nonsense"])
def test_a_tokenizer_that_is_none_is_named(tmp_path, content):
    folder = shutil.copytree(tiny_pocket.folder(), tmp_path / "model")
    (folder / pocket.TOKENIZER).write_text(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json: this is no tokenizer"):
        PocketTts(Settings(**tiny_pocket.options() | {"folder": folder}), slots=1)


@pytest.mark.parametrize("content", ["", "a: 1", "{:", "[1]", "flow_lm: {lookup_table: 1}\nmimi: {}"])
def test_a_configuration_that_is_none_is_named(tmp_path, content):
    config = tmp_path / "mine.yaml"
    config.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml: this is no configuration"):
        PocketTts(Settings(**tiny_pocket.options() | {"config": config}), slots=1)


def test_a_model_without_voices_names_the_command(tmp_path):
    folder = shutil.copytree(tiny_pocket.folder(), tmp_path / "model")
    shutil.rmtree(folder / pocket.EMBEDDINGS)
    with pytest.raises(EngineMissing, match="'antiphon models pull pocket-tts'"):
        PocketTts(Settings(**tiny_pocket.options() | {"folder": folder}), slots=1)
