"""Kyutai's speech engine on a tiny model with random weights: what a slot says depends on nobody else."""

import itertools
import json
import random
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest

from config import redis_keys as keys
from config.errors import ConfigError, DeviceLost
from config.messages import Order, Result, Speech, SpeechDone, TextDone, Words, decode_result
from config.versions import VERSION
from config.voice_messages import CustomVoice
from gpu_workers.engine import Say, VoiceOptions
from tasks.leases import Emitter, Lease
from tasks.tts_loop import Mouth, TtsLoop

pytest.importorskip("moshi", reason="make test-kyutai installs it")

import torch
from moshi.models.tts import TTSModel
from safetensors.torch import load_file, save

from gpu_workers.kyutai import checkpoint
from gpu_workers.kyutai.conditions import SPEAKERS
from gpu_workers.tts import kyutai
from tests import tiny_kyutai

pytestmark = pytest.mark.torch

SLOTS = 6

#: Of samples between -1 and 1: sums of a batch may be done in another order than those of a row. Codes must be equal.
TOLERANCE = 1e-5

P1, P2, OWN = "vctk/p1.wav", "vctk/p2.wav", "own"


def settings(**options):
    fixed = {
        "model": str(tiny_kyutai.tts()),
        "voices_dir": tiny_kyutai.voices(),
        "device": "cpu",
        "threads": 1,
    }
    return kyutai.Settings(**(fixed | {"temperature": 0, "cfg_of_voices": {P2: 1.5}} | options))


def made(slots=SLOTS, clock=lambda: 0.0, **options):
    engine = kyutai.KyutaiTts(settings(**options), slots, clock=clock)
    engine.warm_up()
    return engine


@dataclass
class Job:
    """A reply as its client sees it."""

    voice: str
    words: list[str]
    custom: CustomVoice | None = None
    start: int = 0
    every: int = 1
    """Ticks between words; 0: all at once."""
    cancel: int | None = None
    """Frames after which it is cancelled."""
    pcm: list = field(default_factory=list)
    codes: list = field(default_factory=list)
    timed: list = field(default_factory=list)
    frames: list = field(default_factory=list)

    @property
    def over(self):
        return bool(self.frames) and self.frames[-1].last

    @property
    def key(self):
        return self.voice, tuple(self.words)


class Booth:
    """An engine, and what comes out of it: audio, and the codes it was made of."""

    def __init__(self, engine):
        self.engine = engine
        self.speaking = {}
        self.tick = 0
        self._codes = None
        mimi, self._decode = engine._model._mimi, engine._model._mimi.decode
        mimi.decode = self._overheard

    def _overheard(self, codes):
        self._codes = codes.clone()
        return self._decode(codes)

    def open(self, slot, job):
        job.start = self.tick
        self.engine.open(slot, VoiceOptions(job.voice, custom=job.custom))
        self.speaking[slot] = job
        self._feed(slot, job)

    def close(self, slot):
        self.engine.close(slot)
        return self.speaking.pop(slot)

    def _feed(self, slot, job):
        since = self.tick - job.start
        if job.every == 0:
            if since == 0:
                self.engine.feed(slot, Say(job.words, last=True))
        elif since % job.every == 0 and since // job.every <= len(job.words):
            word = job.words[since // job.every : since // job.every + 1]
            self.engine.feed(slot, Say(word, last=not word))

    def step(self, wanted=None):
        self.tick += 1
        for slot, job in self.speaking.items():
            self._feed(slot, job)
        self._codes = None
        frames = self.engine.step(list(self.speaking if wanted is None else wanted))
        for slot, _, _ in self.engine._under_way:
            if self._codes is not None:
                self.speaking[slot].codes.append(self._codes[slot, :, 0].tolist())
        for slot, frame in frames.items():
            job = self.speaking[slot]
            job.frames.append(frame)
            job.timed += frame.words
            job.pcm.append(frame.pcm)
        return frames

    def until_over(self, most=2_000):
        for _ in range(most):
            for slot in [slot for slot, job in self.speaking.items() if job.over]:
                self.close(slot)
            if not self.speaking:
                return
            self.step()
        raise AssertionError(f"{list(self.speaking)} never end")

    def alone(self, job, slot=0):
        """The same reply, its text known from the start, with nobody beside it."""
        solo = Job(job.voice, job.words, job.custom, every=0)
        self.open(slot, solo)
        self.until_over()
        return solo


def same(job, solo):
    """It says what it says alone; as far as it came, if it was cancelled."""
    count = len(job.codes) if job.cancel is not None else len(solo.codes)
    assert job.codes == solo.codes[:count]
    heard = min(len(job.pcm), len(solo.pcm))
    assert heard >= count - 1
    for mine, its in zip(job.pcm[:heard], solo.pcm[:heard], strict=True):
        assert np.abs(mine - its).max(initial=0) <= TOLERANCE


#: Seconds between steps in tests: frames of 0.08 s come a little faster than they are heard.
PACE_S = 0.06


@pytest.fixture(scope="module")
def booth():
    """Its clock goes with its steps: now and then a listener runs out of audio."""
    ticking = itertools.count()
    return Booth(made(clock=lambda: next(ticking) * PACE_S / 2))  # an engine looks at it twice a step


@pytest.fixture(autouse=True)
def _nobody_is_left(request):
    yield
    if "booth" in request.fixturenames:
        booth = request.getfixturevalue("booth")
        for slot in list(booth.speaking):
            booth.close(slot)
        booth.engine.faults()


def some_words(rng, count):
    return ["".join(rng.choices("abcdefghij", k=rng.randint(2, 5))) + " " for _ in range(count)]


# --- the batch


def test_clients_with_their_own_voices_join_times_and_pacing_say_what_they_say_alone(booth):
    rng = random.Random(1)
    jobs = [
        Job(P1, some_words(rng, 6), every=1),
        Job(P2, some_words(rng, 9), every=12),
        Job(OWN, some_words(rng, 4)),
    ]
    for slot, join, job in zip((0, 1, 3), (0, 7, 20), jobs, strict=True):
        while booth.tick < join:
            booth.step()
        booth.open(slot, job)
    booth.until_over()
    one = Booth(made(1))
    for job in jobs:
        same(job, booth.alone(job, slot=4))
        same(job, one.alone(job))
    assert len({code for codes in jobs[0].codes for code in codes}) > 8, "they say something"


def test_a_slot_says_in_a_full_and_changing_batch_what_it_says_alone():
    """500 random schedules: when a reply joins, in which slot, its voice, its words and their pace, when it is far
    ahead and left out, whether it is cancelled, and in whose place and beside whom it speaks."""
    rng, slots, ticking = random.Random(7), 12, itertools.count()
    booth, one = Booth(made(slots, clock=lambda: next(ticking) * PACE_S / 2)), Booth(made(1))
    texts = [(rng.choice((P1, P2, OWN)), some_words(rng, rng.randint(1, 4))) for _ in range(20)]
    solos = {job.key: one.alone(job) for job in (Job(*text) for text in texts)}
    finished = []
    while len(finished) < 500:
        for slot in set(range(slots)) - set(booth.speaking):
            if rng.random() < 0.5:
                booth.open(slot, at_random(rng, texts))
        booth.step([slot for slot in booth.speaking if rng.random() < 0.9])
        finished += [booth.close(slot) for slot in list(booth.speaking) if leaves(rng, booth.speaking[slot])]
    assert len({str(solo.codes) for solo in solos.values()}) >= 14, "texts have their own sound"
    assert sum(job.over for job in finished) > 300 and sum(not job.over for job in finished) > 50
    for job in finished:
        same(job, solos[job.key])
        assert not job.over or job.timed == solos[job.key].timed


def at_random(rng, texts):
    voice, words = rng.choice(texts)
    cancel = rng.randint(0, 12) if rng.random() < 0.25 else None
    return Job(voice, words, every=rng.choice((0, 1, 1, 2, 5)), cancel=cancel)


def leaves(rng, job):
    cancelled = job.cancel is not None and len(job.frames) >= job.cancel
    return job.over or (cancelled and rng.random() < 0.3)


def test_a_cancelled_slot_leaves_the_others_and_its_next_user_alone(booth):
    rng = random.Random(2)
    stays, leaves, comes = (Job(voice, some_words(rng, 6)) for voice in (P1, P2, OWN))
    booth.open(0, stays)
    booth.open(1, leaves)
    while len(leaves.frames) < 4:
        booth.step()
    booth.close(1)
    booth.open(1, comes)
    booth.step()
    assert not comes.frames, "what was under way for another is not for it"
    booth.until_over()
    same(stays, booth.alone(stays, 5))
    same(comes, booth.alone(comes, 5))


def test_it_says_what_moshi_says_when_it_knows_the_whole_text(booth):
    """Codes, audio from the first to the last frame, and the times of the words."""
    words = some_words(random.Random(20), 7)
    path, text = tiny_kyutai.voices() / f"{OWN}.safetensors", "".join(words)
    with booth.engine._device.inference():
        info = checkpoint.find(settings(), "tts").info
        moshi = TTSModel.from_checkpoint_info(info, n_q=tiny_kyutai.CODEBOOKS, temp=0.0, dtype=torch.float32)
        entries = moshi.prepare_script([text], padding_between=1)
        result = moshi.generate([entries], [moshi.make_condition_attributes([path], cfg_coef=2.0)])
        (pcm,) = moshi.simple_generate(text, str(path), cfg_coef=2.0, show_progress=False)
    mine = booth.alone(Job(OWN, words))
    frames = [frame[0, 1:, 0].tolist() for frame in result.frames[moshi.delay_steps + 2 :]]
    assert mine.codes == frames[: result.end_steps[0]]
    assert np.abs(np.concatenate(mine.pcm) - pcm.numpy()).max() <= TOLERANCE
    starts = [(step - 2) * 1920 for _, step in result.all_transcripts[0]]
    assert [start for _, start, _ in mine.timed] == starts
    assert [stop for _, _, stop in mine.timed] == [*starts[1:], (result.end_steps[0] - 2) * 1920]


def test_voices_change_what_is_said(booth):
    words = some_words(random.Random(3), 5)
    custom = CustomVoice("mimi", save({"speaker_wavs": embedding(P1)}))
    first, second, copy = (
        booth.alone(job) for job in (Job(P1, words), Job(OWN, words), Job(OWN, words, custom))
    )
    assert first.codes != second.codes
    assert copy.codes == first.codes, "the same embedding, cloned"


def test_a_voice_written_into_a_row_is_what_moshi_writes_for_the_whole_batch(booth):
    """Its guidance, too. A short voice is padded as moshi pads it."""
    model = booth.engine._model
    conditions, lm = model.conditions, model._lm
    short = embedding(P1)[..., :40].contiguous()
    wanted = [(embedding(P1), 2.0), (embedding(OWN), 1.5), (short, 1.0), (embedding(P2), None)] * 2
    wanted = wanted[:SLOTS]
    with booth.engine._device.inference():
        everyone = lm.condition_provider.prepare_and_provide([conditions.attributes(*one) for one in wanted])
        cross, added = lm.fuser.get_cross(everyone), lm.fuser.get_sum(everyone)
        held = lm.get_streaming_state().items()
        states = {name: state for name, state in held if getattr(state, "k_cross", None) is not None}
        assert states, "moshi keeps its keys elsewhere"
        for row, one in enumerate(wanted):
            conditions.write(model._generator, row, conditions.make(*one))
        own = model._generator.get_streaming_state()[""]
        torch.testing.assert_close((own.condition_cross, own.condition_sum), (cross, added))
        assert not torch.equal(own.condition_sum[0], own.condition_sum[1])
        mine = {name: (state.k_cross.clone(), state.v_cross.clone()) for name, state in states.items()}
        for name, state in states.items():
            state.k_cross.zero_()
            lm.get_submodule(name).update_streaming_cross_attention_src(cross)
            torch.testing.assert_close((state.k_cross, state.v_cross), mine[name])
        assert cross.shape[1] == SPEAKERS * tiny_kyutai.VOICE_FRAMES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditioners": {}}, "takes no voice embeddings"),
        ({"tts_config": {"second_stream_ahead": 2}}, "no speech of one speaker"),
        ({"tts_config": {"audio_delay": 1.28, "multistream": True}}, "no speech of one speaker"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, change, message):
    folder = shutil.copytree(tiny_kyutai.tts(), tmp_path / "tts")
    (folder / "config.json").write_text(json.dumps(tiny_kyutai.TTS | change))
    with pytest.raises(ConfigError, match=message):
        made(1, model=str(folder))


def test_fewer_codebooks_are_spoken_with():
    coarse = Booth(made(2, codebooks=2))
    job = Job(P1, some_words(random.Random(5), 3))
    assert {len(codes) for codes in coarse.alone(job).codes} == {2}


# --- text


def test_a_reply_goes_on_when_its_text_does(booth):
    words = some_words(random.Random(6), 8)
    job = Job(P1, words, every=60)
    booth.open(2, job)
    booth.until_over()
    same(job, booth.alone(job))


def test_a_first_frame_takes_few_calls(booth):
    booth.open(0, Job(P1, some_words(random.Random(8), 6), every=0))
    calls = next(count for count in range(1, 100) if booth.step())
    assert calls <= 10


def test_a_reply_without_words_ends_at_once(booth):
    for words in ([], ["😀 ", "— ", "…"]):
        job = Job(P1, words, every=0)
        booth.open(0, job)
        booth.step()
        (frame,) = job.frames
        assert frame.last and not len(frame.pcm)
        assert (frame.spoken, frame.words) == (len(words), [(number, 0, 0) for number in range(len(words))])
        booth.close(0)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["Hello ", "😀 ", "world ", "🎉"], id="emoji"),
        pytest.param(["你好", "ok ", "日本語。"], id="signs that the tokenizer does not know"),
        pytest.param(["a" * 150 + " ", "end."], id="a word without an end"),
        pytest.param(["**", "#", "one ", "</b>", "(", "two ", ")"], id="markup"),
        pytest.param(["Pay ", "$1,234.50 ", "by ", "3/4/2024."], id="numbers"),
    ],
)
def test_every_word_is_reported_once_and_in_order(booth, words):
    job = booth.alone(Job(P1, words))
    assert [number for number, _, _ in job.timed] == list(range(len(words)))
    edges = [edge for _, start, stop in job.timed for edge in (start, stop)]
    assert edges == sorted(edges)
    assert job.frames[-1].spoken == len(words)
    assert edges[-1] <= sum(map(len, job.pcm))


def test_a_long_reply_leaves_no_trail_of_its_words(booth):
    job = Job(P1, some_words(random.Random(9), 40), every=0)
    booth.open(0, job)
    kept = []
    while not job.over:
        booth.step()
        reply = booth.engine._replies[0]
        state = reply.speaker._state
        kept.append(len(state.transcript) + len(state.consumption_times) + len(state.entries))
    assert max(kept) <= 30
    assert len(job.timed) == 40 and len(job.pcm) > 150


# --- in a worker


def test_the_loop_speaks_a_reply_with_it(booth, media, sid):
    emitter = Emitter(media, keep_items=4000, ttl_s=600)
    loop = TtsLoop(booth.engine, media, emitter, slots=SLOTS, ahead_s=100.0)
    mouth = Mouth(Lease("tts", sid, "me", 1, 1), 2, order=Order(1, [], P1, "pcm16"))
    loop.enter(mouth)
    loop._admit()
    pen = Lease("llm", sid, "writer", 1, 1)
    for body in (Words(0, ["one ", "two ", "and "], 0.0), Words(3, ["3 ", "😀."], 0.0), TextDone(5, "stop")):
        pen.last_seq += 1
        emitter.emit([(pen, Result(VERSION, "llm", 1, 1, pen.last_seq, 0, body))])
    for _ in range(500):
        loop.turn()
        if mouth.over.is_set():
            break
    loop.outbox.flush()
    said = [decode_result(fields[b"d"]).body for _, fields in media.xrange(keys.replay("tts", sid, 1))]
    assert mouth.done and isinstance(said[-1], SpeechDone)
    spoken = [word.index for body in said if isinstance(body, Speech) for word in body.words]
    assert spoken == [0, 1, 2, 3, 4]
    assert said[-1].samples == sum(body.samples for body in said if isinstance(body, Speech)) > 0


# --- what goes wrong


def embedding(name):
    signed = "" if name == OWN else ".tiny@1"
    return load_file(tiny_kyutai.voices() / f"{name}{signed}.safetensors")["speaker_wavs"]


def poison_attention(model, slot):
    for state in model._lm.get_streaming_state().values():
        if getattr(state, "kv_cache", None) is not None:
            state.kv_cache.cache[:, slot] = np.nan


def poison_codec(model, slot):
    for state in model._mimi.get_streaming_state().values():
        if hasattr(state, "partial"):
            state.partial[slot] = np.inf
        if getattr(state, "kv_cache", None) is not None:
            state.kv_cache.cache[:, slot] = np.nan


@pytest.mark.parametrize(
    ("poison", "why"), [(poison_attention, "numbers have gone"), (poison_codec, "audio holds values")]
)
def test_a_slot_whose_numbers_have_gone_is_named_and_the_others_go_on(booth, poison, why):
    rng = random.Random(11)
    sound, broken, after = (Job(voice, some_words(rng, 6)) for voice in (P1, P2, OWN))
    booth.open(0, sound)
    booth.open(1, broken)
    while len(broken.frames) < 3:
        booth.step()
    with booth.engine._device.inference():
        poison(booth.engine._model, 1)
    faults = {}
    for _ in range(3):
        booth.step()
        faults |= booth.engine.faults()
    assert list(faults) == [1] and why in faults[1]
    assert not booth.engine.faults(), "named once"
    assert all(np.isfinite(pcm).all() for pcm in broken.pcm)
    booth.close(1)
    booth.open(1, after)
    booth.until_over()
    same(sound, booth.alone(sound, 5))
    same(after, booth.alone(after, 5))


def test_a_broken_frame_of_a_cancelled_reply_is_not_laid_to_the_next(booth):
    leaves, comes = Job(P1, some_words(random.Random(17), 5)), Job(P2, some_words(random.Random(18), 5))
    booth.open(1, leaves)
    while len(leaves.frames) < 3:
        booth.step()
    with booth.engine._device.inference():
        poison_codec(booth.engine._model, 1)
    booth.step()  # the broken frame is under way
    booth.close(1)
    booth.open(1, comes)
    booth.until_over()
    assert not booth.engine.faults()
    same(comes, booth.alone(comes))


def unreadable(speaker):
    speaker._state.remaining_padding = None


def unsayable(speaker):
    speaker.script._written.append((None, 1))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(unreadable, "cannot be read: TypeError"), (unsayable, "cannot be put into words: AttributeError")],
)
def test_a_slot_whose_text_breaks_the_step_is_named_and_the_others_go_on(booth, spoil, why):
    rng = random.Random(12)
    sound, broken = Job(P1, some_words(rng, 5)), Job(P2, some_words(rng, 5))
    booth.open(0, sound)
    booth.open(1, broken)
    booth.step()
    spoil(booth.engine._replies[1].speaker)
    faults = {}
    for _ in range(8):
        booth.step()
        faults |= booth.engine.faults()
    assert list(faults) == [1] and faults[1].endswith(why)
    booth.close(1)
    booth.until_over()
    same(sound, booth.alone(sound))


@pytest.mark.parametrize(
    ("encoder", "tensors", "message"),
    [
        ("xtts", {"speaker_wavs": (1, 16, 125)}, r"'xtts' does not fit this engine, which takes 'mimi'"),
        ("mimi", {"speaker_wavs": (1, 512, 125)}, r"shape \[1, 512, 125\], the model takes \[1, 16, 125\]"),
        ("mimi", {"speaker_wavs": (1, 16, 126)}, r"shape \[1, 16, 126\]"),
        ("mimi", {"speaker_wavs": (1, 16, 0)}, r"shape \[1, 16, 0\]"),
        ("mimi", {"speaker_wavs": (16, 125)}, r"shape \[16, 125\]"),
        ("mimi", {"speakers": (1, 16, 125)}, r"no tensor 'speaker_wavs' in it, but speakers"),
        ("mimi", None, "no safetensors file"),
    ],
)
def test_a_custom_voice_that_does_not_fit_is_refused(booth, encoder, tensors, message):
    data = b"RIFF" if tensors is None else save({name: torch.zeros(shape) for name, shape in tensors.items()})
    with pytest.raises(ConfigError, match=message):
        booth.engine.open(0, VoiceOptions(P1, custom=CustomVoice(encoder, data)))
    assert not booth.engine.step([0])


def test_a_custom_voice_of_no_numbers_is_refused(booth):
    data = save({"speaker_wavs": torch.full((1, tiny_kyutai.LATENT, 125), torch.nan)})
    with pytest.raises(ConfigError, match="no numbers"):
        booth.engine.open(0, VoiceOptions(P1, custom=CustomVoice("mimi", data)))


def test_voices_are_files_of_this_model_and_ones_own(booth):
    assert list(booth.engine.voices()) == [OWN, P1, P2]
    with pytest.raises(ConfigError, match=r"no voice 'nobody'.*there are 3: own, vctk"):
        booth.engine.open(0, VoiceOptions("nobody"))


def test_a_voice_that_does_not_fit_is_refused_by_its_file(tmp_path):
    shutil.copytree(tiny_kyutai.voices(), tmp_path / "voices")
    (tmp_path / "voices" / "bad.safetensors").write_bytes(save({"speaker_wavs": torch.zeros(1, 512, 125)}))
    engine = made(1, voices_dir=tmp_path / "voices")
    with pytest.raises(ConfigError, match=r"bad\.safetensors: its embedding is of shape \[1, 512, 125\]"):
        engine.open(0, VoiceOptions("bad"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_voice": "nobody"}, "no voice 'nobody'"),
        ({"cfg_of_voices": {"nobody": 2.0}}, "no voice 'nobody'"),
        ({"cfg": 3.0}, r"option 'cfg': 3\.0 is none of 1\.0, 1\.5, 2\.0"),
        ({"voices_dir": "/nowhere"}, "no folder /nowhere; .*'antiphon models pull kyutai-voices'"),
        ({"voices_dir": None, "models_dir": "/nowhere"}, "are not there; .* 'models:kyutai-voices'"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        made(1, **options)


def test_a_voice_is_found_in_the_hub_cache(tmp_path):
    snapshot = tmp_path / "models--kyutai--tts-voices" / "snapshots" / "abc"
    shutil.copytree(tiny_kyutai.voices(), snapshot)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert P1 in made(1, voices_dir=None, models_dir=tmp_path).voices()


def test_who_names_no_voice_gets_the_default(booth):
    words = some_words(random.Random(13), 3)
    assert Booth(made(1, default_voice=P1)).alone(Job("", words)).codes == booth.alone(Job(P1, words)).codes


def test_weights_that_are_no_numbers_are_found_before_anybody_speaks(tmp_path):
    folder = shutil.copytree(tiny_kyutai.tts(), tmp_path / "tts")
    state = load_file(folder / "model.safetensors")
    state["text_linear.weight"][5] = torch.nan
    (folder / "model.safetensors").write_bytes(save(state))
    with pytest.raises(ConfigError, match="its weights are damaged"):
        made(1, model=str(folder))


def test_memory_that_is_short_once_costs_nobody_anything(booth, monkeypatch):
    job = Job(P1, some_words(random.Random(14), 4))
    short_of_memory(booth, monkeypatch, times=1)
    booth.open(0, job)
    booth.until_over()
    same(job, booth.alone(job))


def test_a_step_that_is_done_again_for_want_of_memory_reads_no_word_twice(booth, monkeypatch):
    lm, left = booth.engine._model._lm, [1]
    forward = lm.forward_depformer

    def starved(*args):
        if left[0] and booth.engine._model.steps[0] == 17:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(*args)

    monkeypatch.setattr(lm, "forward_depformer", starved)
    job = Job(P1, some_words(random.Random(16), 5), every=0)
    booth.open(0, job)
    speaker, steps = booth.engine._replies[0].speaker, []
    read = speaker.read
    monkeypatch.setattr(speaker, "read", lambda sampled, step: steps.append(step) or read(sampled, step))
    booth.until_over()
    assert not left[0]
    assert steps == list(range(len(steps)))
    assert [number for number, _, _ in job.timed] == list(range(5))


def test_memory_that_is_gone_for_good_loses_the_device(booth, monkeypatch):
    short_of_memory(booth, monkeypatch, times=2)
    booth.open(0, Job(P1, some_words(random.Random(15), 4)))
    with pytest.raises(DeviceLost, match="out of memory"):
        booth.until_over()


def short_of_memory(booth, monkeypatch, times):
    """The codec's next decodes find no memory."""
    left = [times]
    decode = booth.engine._model._mimi.decode

    def starved(codes):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return decode(codes)

    monkeypatch.setattr(booth.engine._model._mimi, "decode", starved)


def test_it_asks_for_a_process_of_its_own_and_for_memory_by_the_slot():
    few, many = (kyutai.needs(settings(device="cuda"), slots) for slots in (4, 16))
    assert not few.shares_process and few.gpu_mb == 5_300
    assert many.gpu_mb - few.gpu_mb == 12 * kyutai.SLOT_MB
    assert kyutai.needs(settings(), 16).gpu_mb == 0
