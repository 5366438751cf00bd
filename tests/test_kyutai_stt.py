"""Kyutai's recogniser on tiny random weights: slots that do not depend on each other, flushes, and what goes wrong."""

import json
import random
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("moshi", reason="needs PyTorch and moshi: make test-kyutai")

import torch

from config import redis_keys as keys
from config.engine_choice import EngineChoice
from config.errors import ConfigError, DeviceLost
from config.messages import (
    Audio,
    Commit,
    End,
    Pause,
    Transcript,
    VoiceEnded,
    VoiceStarted,
    decode_result,
)
from gpu_workers import loader
from gpu_workers.engine import ListenOptions, Tuning
from gpu_workers.kyutai import checkpoint
from gpu_workers.kyutai.device import Device
from gpu_workers.kyutai.stt_model import SttModel, _tensors
from tasks import streams
from tasks.leases import Emitter, Lease
from tasks.stt_loop import Ear, SttLoop
from tests import speech, tiny_kyutai

pytestmark = pytest.mark.torch

SIZE = 1920


def source(folder=None, **options):
    return checkpoint.Source(model=str(folder or tiny_kyutai.stt()), device="cpu", threads=1, **options)


def model(slots, folder=None):
    torch.set_num_threads(1)
    device = Device.choose("cpu")
    return SttModel(checkpoint.find(source(folder), "stt"), device, slots, needs_mb=0)


def engine(slots=4, **options):
    choice = EngineChoice(
        engine="kyutai", slots=slots,
        options={"model": str(tiny_kyutai.stt()), "device": "cpu", "threads": 1} | options,
    )  # fmt: skip
    built = loader.load("stt", choice, slots)
    built.warm_up()
    return built


def noise(seed, frames):
    """Frames that differ in loudness, so that codes do."""
    rng = np.random.default_rng(seed)
    loud = rng.random((frames, 1)) ** 2
    return (rng.normal(0, 1, (frames, SIZE)) * loud).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def voice():
    """A sentence between two silences, in frames."""
    if not speech.there():
        pytest.fail("moonshine-voice, whose recordings the tests use, is missing")
    pcm = speech.recording("two_cities")[24_000:110_400]
    joined = np.concatenate([speech.silence(0.5), pcm, speech.silence(1.5)])
    return joined[: len(joined) // SIZE * SIZE].reshape(-1, SIZE)


def finals(facts):
    return [fact for fact in facts if isinstance(fact, Transcript) and fact.final]


# --- independence of neighbours

SLOTS = 16
SCHEDULES = 500


@dataclass
class Stream:
    """What one session's model hears: sound, and silence where it is flushed."""

    frames: list[np.ndarray | None]
    answers: list[tuple] = field(default_factory=list)


def script(number):
    """Twenty to sixty steps with up to three flushes."""
    rng = random.Random(number)
    frames = list(noise(number, rng.randint(20, 40)))
    for at in sorted(rng.sample(range(len(frames)), rng.randint(0, 3)), reverse=True):
        frames[at:at] = [None] * 8
    return Stream(frames)


def heard(answers, slot):
    return answers.tokens[slot], answers.sure[slot], *answers.heads[slot]


@dataclass
class Session:
    """Hears the first `length` steps of a stream, at a pace of its own."""

    stream: Stream
    length: int
    pace: float
    said: list[tuple] = field(default_factory=list)

    @classmethod
    def some(cls, rng, streams):
        stream = rng.choice(streams)
        return cls(stream, rng.randint(1, len(stream.frames)), rng.uniform(0.4, 1.0))


def test_500_random_schedules_equal_their_solo_runs_bit_for_bit():
    """Sessions join, skip frames, flush, leave and are followed by others, among random neighbours. Tokens,
    probabilities and heads are equal; with another number of slots sums are made in another order (next test)."""
    together, rng = model(SLOTS), random.Random(7)
    streams = [script(number) for number in range(SLOTS)]
    for number, stream in enumerate(streams):
        stream.answers = list(run(together, number, stream.frames))
    assert len({answer[0] for stream in streams for answer in stream.answers}) > 50, "tokens differ at all"
    live, done = {}, 0
    while done < SCHEDULES:
        for slot in [slot for slot in range(SLOTS) if slot not in live and rng.random() < 0.3]:
            live[slot] = Session.some(rng, streams)
            together.reset(slot)
        now = {slot: session for slot, session in live.items() if rng.random() < session.pace}
        together.launch({slot: session.stream.frames[len(session.said)] for slot, session in now.items()})
        answers = together.read()
        for slot, session in now.items():
            session.said.append(heard(answers, slot))
            if len(session.said) == session.length:
                assert session.said == session.stream.answers[: session.length], f"slot {slot}"
                del live[slot]
                done += 1


def run(built, slot, frames):
    """A stream of a slot from its beginning, alone."""
    built.reset(slot)
    for pcm in frames:
        built.launch({slot: pcm})
        yield heard(built.read(), slot)


def test_a_slot_that_was_opened_and_hears_nothing_yet_stays_as_it_is():
    built, frames = model(2), noise(5, 12)
    fresh = list(run(built, 1, frames))
    built.reset(0), built.reset(1)
    for number in range(4):
        built.launch({0: frames[number]})
        built.read()
        if number == 1:
            built.reset(1)
    said = []
    for pcm in frames:
        built.launch({1: pcm})
        said.append(heard(built.read(), 1))
    assert said == fresh


def test_with_another_number_of_slots_only_the_last_digits_differ():
    frames, alone, together = noise(1, 40), model(1), model(5)
    for pcm in frames:
        alone.launch({0: pcm})
        together.launch({3: pcm})
        one, other = heard(alone.read(), 0), heard(together.read(), 3)
        assert one[0] == other[0]
        assert np.allclose(one[1:], other[1:], atol=1e-5)


class User:
    """Does one random thing a step, and can do the same again."""

    def __init__(self, rng, slot):
        self.slot, self.offset = slot, rng.randrange(40)
        self.did = rng.choices(["frame", "skip", "commit", "clear"], [80, 15, 4, 1], k=rng.randint(20, 90))
        self.facts = []

    @property
    def done(self):
        return len(self.facts) == len(self.did)

    def act(self, built, number, voice):
        """What the slot hears in step `number`, if it hears something."""
        if number == 0:
            built.open(self.slot, ListenOptions(0))
        heard = self.did[:number].count("frame")
        match self.did[number]:
            case "frame":
                return {self.slot: voice[(self.offset + heard) % len(voice)]}
            case "commit":
                built.commit(self.slot, heard * SIZE)
            case "clear":
                built.clear(self.slot, heard * SIZE)
        return {}


def together(built, rng, voice, users):
    """So many users who come and go in four slots; what the engine said to each of them."""
    live, gone = {}, []
    while len(gone) < users:
        for slot in [slot for slot in range(4) if slot not in live and rng.random() < 0.2]:
            live[slot] = User(rng, slot)
        frames = {}
        for user in live.values():
            frames |= user.act(built, len(user.facts), voice)
        facts = built.step(frames)
        for user in live.values():
            user.facts.append(list(facts.get(user.slot, ())))
        for user in [user for user in live.values() if user.done]:
            built.close(user.slot)
            gone.append(live.pop(user.slot))
    for slot in live:
        built.close(slot)
    return gone


def test_facts_of_a_slot_are_those_of_its_solo_run(voice):
    """The whole engine: users with real voice come and go, commit, clear, skip frames and are flushed."""
    built = engine(flush_burst=1, flush_beside=1)
    users = together(built, random.Random(11), voice, 16)
    assert sum(bool(finals(facts)) for user in users for facts in user.facts) > 10
    for user in users:
        for number, expected in enumerate(user.facts):
            frames = user.act(built, number, voice)
            assert list(built.step(frames).get(user.slot, ())) == expected
        built.close(user.slot)


# --- flush and catch-up


def test_a_commit_is_answered_without_new_audio(voice):
    built = engine(flush_burst=1)
    built.open(0, ListenOptions(0))
    for pcm in voice[:25]:
        built.step({0: pcm})
    built.commit(0, 25 * SIZE)
    calls = next(number for number in range(1, 20) if finals(built.step({}).get(0, ())))
    assert calls <= built._model.delay + 3
    assert not built.step({}), "and nothing follows"


def test_a_call_without_audio_makes_several_steps(voice):
    built = engine(flush_burst=4)
    built.open(0, ListenOptions(0))
    for pcm in voice[:25]:
        built.step({0: pcm})
    built.commit(0, 25 * SIZE)
    assert any(finals(built.step({}).get(0, ())) for _ in range(2))


def test_a_flush_among_others_takes_half_as_many_calls_as_steps(voice):
    built = engine(slots=2)
    for slot in range(2):
        built.open(slot, ListenOptions(0))
    for pcm in voice[:25]:
        built.step({0: pcm, 1: pcm})
    built.commit(0, 25 * SIZE)
    told = [finals(built.step({1: pcm}).get(0, ())) for pcm in voice[25:31]]
    assert any(told[: built._model.delay // 2 + 2])


def test_audio_that_comes_during_a_flush_is_caught_up(voice):
    built = engine(slots=2, flush_burst=4, flush_beside=1)
    facts = []
    built.open(0, ListenOptions(0))
    for number, pcm in enumerate(np.concatenate([voice, voice])):
        facts += built.step({0: pcm}).get(0, ())
        if number == 30:
            built.commit(0, 31 * SIZE)
    waiting = len(built._ears[0].lane)
    assert waiting == built._model.delay + 3 + 1, (
        "the flush, and the frame of silence that a stream begins with"
    )
    for _ in range(3):
        facts += built.step({}).get(0, ())
    assert len(built._ears[0].lane) == 0
    built.commit(0, 2 * len(voice) * SIZE)
    for _ in range(3):
        facts += built.step({}).get(0, ())
    first, second = finals(facts)
    assert first.text and second.text
    assert second.to == max(fact.at for fact in facts if isinstance(fact, VoiceEnded))
    words = [fact for fact in facts if isinstance(fact, Transcript)]
    assert all(before.to <= after.to for before, after in pairwise(words) if not before.final)


def test_a_commit_in_silence_costs_no_step(voice):
    built = engine(slots=2)
    built.open(0, ListenOptions(4_800))
    built.commit(0, 9_600)
    assert built.step({}) == {0: [Transcript("", 9_600, 9_600, settled=True, final=True)]}
    assert len(built._ears[0].lane) == 0


def test_the_backlog_of_a_client_that_commits_all_the_time_is_bounded(voice):
    built = engine(slots=1)
    built.open(0, ListenOptions(0))
    owed = got = 0
    for number in range(200):
        got += len(finals(built.step({0: voice[10 + number % 25]}).get(0, ())))
        built.commit(0, (number + 1) * SIZE)
        owed += 1
    assert len(built._ears[0].lane) < 300
    while len(built._ears[0].lane):
        got += len(finals(built.step({}).get(0, ())))
    got += len(finals(built.step({}).get(0, ())))
    assert got == owed


def test_a_stream_begins_with_the_silence_that_the_checkpoint_wants(tmp_path):
    config = json.loads(json.dumps(tiny_kyutai.STT))
    config["stt_config"]["audio_silence_prefix_seconds"] = 0.8
    built = engine(slots=1, model=str(tiny_kyutai.write(tmp_path, config)))
    built.open(0, ListenOptions(0))
    assert len(built._ears[0].lane) == built._model.prefix == 11
    built.step({0: noise(0, 1)[0]})
    for _ in range(3):
        built.step({})
    assert len(built._ears[0].lane) == 0


# --- what goes wrong


def poison(built, slot):
    """Puts what is no number into what the model remembers of a slot."""
    with Device.choose("cpu").inference():
        for state in built._parts[2].get_streaming_state().values():
            for cache in (t for t in _tensors(state) if t.is_floating_point() and t.dim() == 5):
                cache[:, slot] = float("nan")


def test_a_slot_whose_numbers_are_none_is_named_and_leaves_nothing_to_the_next():
    built, frames = model(3), noise(2, 30)
    fresh = list(run(built, 1, frames))
    built.reset(0)
    for number, pcm in enumerate(frames):
        if number == 10:
            poison(built, 1)
        built.launch({0: pcm, 1: pcm})
        answers = built.read()
        assert answers.broken == ({1} if number == 10 else frozenset())
        assert heard(answers, 0) == fresh[number], "its neighbour notices nothing"
    assert list(run(built, 1, frames)) == fresh


def test_a_broken_slot_is_told_once_and_the_others_go_on(voice):
    built, facts = engine(slots=2), []
    for slot in range(2):
        built.open(slot, ListenOptions(0))
    for number, pcm in enumerate(voice[:21]):
        if number == 12:
            poison(built._model, 1)
        facts += built.step({0: pcm, 1: pcm} if number <= 12 else {0: pcm}).get(0, ())
        assert list(built.faults()) == ([1] if number == 12 else [])
    built.commit(0, 21 * SIZE)
    assert any(finals(built.step({}).get(0, ())) for _ in range(3))


def test_a_frame_that_does_not_fit_costs_its_slot_alone(voice):
    built = engine(slots=2)
    for slot in range(2):
        built.open(slot, ListenOptions(0))
    facts = []
    for pcm in voice[:20]:
        facts += built.step({0: pcm, 1: pcm[:100]}).get(0, ())
    assert built.faults() == {1: "a frame is of shape (100,), not (1920,)"}
    assert any(isinstance(fact, VoiceStarted) for fact in facts)


def test_noise_that_is_no_number_leaves_the_next_user_clean():
    built, frames = engine(slots=1, voice="heads"), noise(3, 30)

    def session(frames):
        built.open(0, ListenOptions(0))
        return [fact for pcm in frames for fact in built.step({0: pcm}).get(0, ())]

    expected = session(frames)
    broken = frames[:10].copy()
    broken[:, ::3], broken[:, 1::3] = np.nan, np.inf
    session(broken)
    assert built.faults() == {}
    assert session(frames) == expected


def test_voice_by_the_heads_begins_when_they_mean_something(voice):
    built = engine(slots=1, voice="heads", listening={"voice": {"onset": 0.01, "offset": 0.005}})
    built.open(0, ListenOptions(0))
    facts = [fact for pcm in voice for fact in built.step({0: pcm}).get(0, ())]
    started = [fact.at for fact in facts if isinstance(fact, VoiceStarted)]
    assert started and started[0] >= 12 * SIZE


def test_another_language_is_refused():
    built = engine(slots=1)
    built.open(0, ListenOptions(0, "fr"))
    with pytest.raises(ConfigError, match="understands en, fr, not 'de'"):
        built.open(0, ListenOptions(0, "de"))


def test_a_threshold_and_a_pre_roll_of_the_session_are_taken(voice):
    built, began = engine(slots=1), {}
    for threshold in (None, 0.9999):
        built.open(0, ListenOptions(0, tuning=Tuning(threshold=threshold, prefix_ms=100)))
        facts = [fact for pcm in voice for fact in built.step({0: pcm}).get(0, ())]
        began[threshold] = next(fact.at for fact in facts if isinstance(fact, VoiceStarted))
        first = next(fact for fact in facts if isinstance(fact, Transcript))
        assert first.start == began[threshold] - 2_400
    assert began[None] < began[0.9999]


# --- checkpoints that do not fit


def copy(tmp_path):
    return tiny_kyutai.write(tmp_path, tiny_kyutai.STT)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "mimi.safetensors", "tokenizer.model", "mimi.json", "config.json"]
)
def test_a_missing_file_is_named(tmp_path, name):
    (copy(tmp_path) / name).unlink()
    with pytest.raises(ConfigError, match=name) as told:
        engine(model=str(tmp_path))
    assert str(tmp_path) in str(told.value)


def test_all_missing_files_are_named_at_once(tmp_path):
    folder = copy(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors .*tokenizer\.model"):
        engine(model=str(tmp_path))


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("model", {"text_emb.weight": (7, 32)}, r"tensor text_emb\.weight is of shape \[7, 32\], not \[161, 32\]"),
        ("model", {"text_linear.weight": None}, r"tensor text_linear\.weight is missing"),
        ("model", {"lora.weight": (1, 1)}, r"tensor lora\.weight belongs to another model"),
        ("mimi", {"encoder.model.0.conv.conv.weight": (1, 1, 5)}, r"tensor encoder\.model\.0\.conv\.conv"),
    ],
    ids=["a wrong shape", "a missing tensor", "a tensor too many", "the codec"],
)  # fmt: skip
def test_weights_that_do_not_fit_name_file_and_tensor(tmp_path, file, change, told):
    path = copy(tmp_path) / f"{file}.safetensors"
    tensors = tiny_kyutai.tensors(path)
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape:
            tensors[name] = torch.zeros(shape)
    tiny_kyutai.save(tensors, path)
    with pytest.raises(ConfigError, match=rf"{path.name}: {told}"):
        engine(model=str(tmp_path))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.model", "config.json"])
def test_a_damaged_file_is_named(tmp_path, file):
    path = copy(tmp_path) / file
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConfigError, match=file):
        engine(model=str(tmp_path))


def test_a_tokenizer_of_another_model_is_noticed(tmp_path):
    (copy(tmp_path) / "tokenizer.model").write_bytes(tiny_kyutai.tokenizer(tiny_kyutai.VOCABULARY + 20))
    with pytest.raises(ConfigError, match=r"tokenizer\.model: its 180 pieces do not fit"):
        engine(model=str(tmp_path))


def test_a_model_that_speaks_is_no_recogniser():
    with pytest.raises(ConfigError, match="type 'tts', not 'stt'"):
        engine(model=str(tiny_kyutai.tts()))


def test_a_checkpoint_without_pause_heads_is_refused_or_does_without(tmp_path, voice):
    config = {**tiny_kyutai.STT, "extra_heads_num_heads": 0}
    folder = str(tiny_kyutai.write(tmp_path, config))
    with pytest.raises(ConfigError, match=r"0 pause heads, and head 2 .*head: null"):
        engine(model=folder)
    built = engine(slots=1, model=folder, pauses={"head": None})
    built.open(0, ListenOptions(0))
    facts = [fact for pcm in voice for fact in built.step({0: pcm}).get(0, ())]
    assert any(isinstance(fact, Pause) for fact in facts)


def test_a_model_with_an_empty_fuser_is_like_one_without(tmp_path, voice):
    fuser = {"sum": [], "prepend": [], "cross": [], "cross_attention_pos_emb": False}
    folder = tiny_kyutai.write(tmp_path, {**tiny_kyutai.STT, "fuser": fuser, "conditioners": {}})
    said = []
    for built in (model(1), model(1, folder)):
        said.append(list(run(built, 0, voice[:20])))
    assert said[0] == said[1]


def test_a_model_that_wants_to_be_told_more_is_refused(tmp_path):
    fuser = {"sum": ["mood"], "prepend": [], "cross": [], "cross_attention_pos_emb": False}
    mood = {"type": "lut", "lut": {"n_bins": 1, "dim": 8, "tokenizer": "noop", "possible_values": ["good"]}}
    folder = tiny_kyutai.write(tmp_path, {**tiny_kyutai.STT, "fuser": fuser, "conditioners": {"mood": mood}})
    with pytest.raises(ConfigError, match="wants mood told"):
        model(1, folder)


def test_a_hub_cache_is_read_and_never_filled(tmp_path):
    snapshot = tmp_path / "models--kyutai--tiny" / "snapshots" / "abc"
    tiny_kyutai.write(snapshot, tiny_kyutai.STT)
    (tmp_path / "models--kyutai--tiny" / "refs").mkdir()
    (tmp_path / "models--kyutai--tiny" / "refs" / "main").write_text("abc")
    found = checkpoint.find(checkpoint.Source(model="kyutai/tiny", models_dir=tmp_path), "stt")
    assert found.weights == snapshot / "model.safetensors"
    with pytest.raises(
        ConfigError,
        match=r"of 'kyutai/other' is not there; .*'antiphon models pull kyutai-stt' .* 'models:kyutai-stt'",
    ):
        checkpoint.find(checkpoint.Source(model="kyutai/other", models_dir=tmp_path), "stt")
    with pytest.raises(ConfigError, match=r"^/no/where: config\.json .* is not there"):
        checkpoint.find(checkpoint.Source(model="/no/where", models_dir=tmp_path), "stt")


# --- the device


class Failing:
    """Raises what it is given, once for each; then it works."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
GONE = RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")


def test_out_of_memory_at_start_says_what_it_needs():
    with pytest.raises(ConfigError, match="speech does not fit on cpu: it needs about 8900 MB"):
        Device.choose("cpu").load("speech", 8900, Failing(FULL))


@pytest.mark.parametrize("error", [FULL, CUBLAS])
def test_out_of_memory_in_mid_run_is_tried_again_once(error):
    work = Failing(error)
    assert Device.choose("cpu").run("speech", work) == "done"
    assert work.calls == 2


@pytest.mark.parametrize(
    ("errors", "told", "calls"),
    [
        ((FULL, FULL), "out of memory", 2),
        ((GONE,), "is lost: CUDA error: an illegal memory access was encountered$", 1),
        ((torch.AcceleratorError("device-side assert triggered"),), "is lost", 1),
        ((FULL, GONE), "is lost", 2),
    ],
    ids=["full for good", "an illegal access", "an assert on the device", "lost while it was tried again"],
)
def test_a_device_that_is_gone_is_lost(errors, told, calls):
    work = Failing(*errors)
    with pytest.raises(DeviceLost, match=told):
        Device.choose("cpu").run("speech", work)
    assert work.calls == calls


def test_an_error_of_our_own_is_not_the_devices():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Device.choose("cpu").run("speech", Failing(RuntimeError("shapes cannot be multiplied")))


def codec_fails(built, *errors):
    """The codec raises these, one a call, and then does its work."""
    encode, failing = built._model._mimi.encode, Failing(*errors)

    def fail_first(audio):
        failing()
        return encode(audio)

    built._model._mimi.encode = fail_first


def test_sessions_outlive_a_step_that_ran_out_of_memory(voice):
    built, facts = engine(slots=1), []
    built.open(0, ListenOptions(0))
    for number, pcm in enumerate(voice[:25]):
        if number == 12:
            codec_fails(built, FULL)
        facts += built.step({0: pcm}).get(0, ())
    undisturbed = engine(slots=1)
    undisturbed.open(0, ListenOptions(0))
    assert facts == [fact for pcm in voice[:25] for fact in undisturbed.step({0: pcm}).get(0, ())]
    assert built.faults() == {}


def test_a_step_on_a_device_that_is_gone_says_so(voice):
    built = engine(slots=1)
    built.open(0, ListenOptions(0))
    built.step({0: voice[0]})
    codec_fails(built, GONE)
    with pytest.raises(DeviceLost, match="speech-to-text: cpu is lost"):
        built.step({0: voice[1]})


@pytest.mark.parametrize(("name", "told"), [("cuda:99", "sees"), ("toaster", "is none")])
def test_a_device_that_is_not_there_is_refused(name, told):
    with pytest.raises(ConfigError, match=told):
        Device.choose(name)


def test_what_it_needs_grows_with_its_slots():
    choice = EngineChoice(engine="kyutai", slots=1, options={"device": "cuda"})
    few, many = (loader.needs("stt", choice, slots) for slots in (1, 64))
    assert not few.shares_process
    assert 2_000 < few.gpu_mb < many.gpu_mb < 12_000
    assert (
        loader.needs("stt", EngineChoice(engine="kyutai", slots=1, options={"device": "cpu"}), 64).gpu_mb == 0
    )


# --- under the loop


class Desk:
    """A loop over a real server and two sessions; the test is the thread that turns it."""

    def __init__(self, built, media, sids):
        emitter = Emitter(media, keep_items=4_000, ttl_s=600)
        self.media = media
        self.loop = SttLoop(built, media, emitter, slots=2)
        for slot, sid in enumerate(sids):
            self.loop.enter(Ear(Lease("stt", sid, "me", 1, 0), slot))
        self.loop._admit()

    def write(self, sid, *entries):
        streams.Inputs(self.media, keep_s=60).append([(sid, entry) for entry in entries])

    def said(self, sid):
        return [decode_result(fields[b"d"]) for _, fields in self.media.xrange(keys.replay("stt", sid, 0))]

    def turn_until(self, what):
        for _ in range(500):
            self.loop.turn()
            if what():
                return
        pytest.fail("it never comes to that")

    def turn_until_over(self):
        self.turn_until(lambda: not self.loop.seats)


def packets(frames):
    """Audio entries of 80 ms."""
    cut = (frames * 32_767).astype("<i2")
    return [Audio(number * SIZE, [pcm.tobytes()], 0.0) for number, pcm in enumerate(cut)]


def test_the_loop_serves_it_from_streams_to_results(voice, media, new_sid):
    """Two sessions over a real server: a backlog read after a resume is caught up, and a commit is answered."""
    first, second = new_sid(), new_sid()
    desk = Desk(engine(slots=2), media, (first, second))
    for sid, frames in ((first, voice), (second, voice[:40])):
        desk.write(sid, *packets(frames), Commit(len(frames) * SIZE))
    desk.turn_until(
        lambda: all(finals([result.body for result in desk.said(sid)]) for sid in (first, second))
    )
    for sid, frames in ((first, voice), (second, voice[:40])):
        results = desk.said(sid)
        facts = [result.body for result in results]
        assert any(isinstance(fact, VoiceStarted) for fact in facts)
        assert [final.text for final in finals(facts)] and finals(facts)[0].text
        assert all(result.mark <= len(frames) * SIZE for result in results)
    desk.write(first, End())
    desk.write(second, End())
    desk.turn_until_over()


def test_the_loop_hands_back_the_seat_of_a_broken_slot_alone(voice, media, new_sid):
    good, bad = new_sid(), new_sid()
    built = engine(slots=2)
    desk = Desk(built, media, (good, bad))
    seats = dict(desk.loop.seats)
    for sid in (good, bad):
        desk.write(sid, *packets(voice[:10]))
    desk.turn_until(lambda: built._ears[1].lane.about is not None)
    poison(built._model, 1)
    for sid in (good, bad):
        desk.write(sid, *packets(voice[:20])[10:])
    desk.turn_until(seats[bad, 0].over.is_set)
    assert not seats[bad, 0].done and not seats[good, 0].over.is_set()
    desk.write(good, Commit(20 * SIZE), End())
    desk.turn_until_over()
    assert seats[good, 0].done
