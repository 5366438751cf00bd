"""What every engine of a stage must keep, the null ones and the real ones alike. The loader says which there are."""

import asyncio
import contextlib
import itertools
import time

import jiwer
import numpy as np
import pytest
import soxr

from config.errors import ConfigError, EngineMissing
from config.messages import ChatMessage, Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import EngineChoice
from gpu_workers import loader
from gpu_workers.engine import ListenOptions, Prompt, Say, Tuning, Usage, VoiceOptions
from tests import speech
from tests.conftest import missing
from tests.engine_cases import case

SLOTS = 4

#: Needs a server to talk to; it has tests of its own.
REMOTE = {"openai"}


def loaded(stage, name):
    try:
        options = case(stage, name).options()
        return loader.load(stage, EngineChoice(engine=name, slots=SLOTS, options=options), SLOTS)
    except EngineMissing as error:
        missing(str(error))


def engines(stage):
    names = [name for name in loader.engines(stage) if name not in REMOTE]
    marks = {name: [] if name == "null" else getattr(pytest.mark, case(stage, name).marker) for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


# --- stt


@pytest.fixture(scope="module", params=engines("stt"))
def stt(request):
    engine = loaded("stt", request.param)
    engine.warm_up()
    return engine


@pytest.fixture(scope="module")
def embedded():
    engine = loaded("stt", "embedded")
    engine.warm_up()
    return engine


@pytest.fixture(scope="module")
def sentence():
    """Two short sentences of a recording, a second and a half of quiet after them."""
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    pcm = speech.recording("two_cities")[24_000:110_400]
    return np.concatenate([speech.silence(0.5), pcm, speech.silence(1.5)])


class Ears:
    """Feeds slots of an engine and keeps what they say; `at` is where each of them is."""

    def __init__(self, engine, *slots, start=0):
        self.engine = engine
        self.at = dict.fromkeys(slots, start)
        self.facts = {slot: [] for slot in slots}
        self.marks = {slot: [] for slot in slots}
        for slot in slots:
            engine.open(slot, ListenOptions(start))

    def step(self, frames):
        for slot in frames:
            self.at[slot] += self.engine.frame_samples
        for slot, facts in self.engine.step(frames).items():
            self.facts[slot] += facts
            self.marks[slot].append(self.engine.mark(slot))

    def hear(self, pace=0.004, **audio):
        """Audio of slots (`s0=...`), frame by frame, faster than it was spoken but slow enough for a decode."""
        size = self.engine.frame_samples
        cut = {int(name[1:]): pcm[: len(pcm) // size * size].reshape(-1, size) for name, pcm in audio.items()}
        for number in range(max(map(len, cut.values()))):
            self.step({slot: frames[number] for slot, frames in cut.items() if number < len(frames)})
            time.sleep(pace)
        return self

    def until(self, slot, kind, wait_s=3.0, *, such=lambda fact: True):
        """Waits for a first fact of this kind, and such a one."""
        deadline = time.monotonic() + wait_s
        while not any(map(such, self.of(slot, kind))) and time.monotonic() < deadline:
            self.step({})
            time.sleep(0.002)
        return self

    def commit(self, slot, wait_s=5.0):
        """Commits where the slot is; its final transcript."""
        self.engine.commit(slot, self.at[slot])
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            self.step({})
            for fact in self.of(slot, Transcript):
                if fact.final:
                    self.facts[slot].remove(fact)
                    return fact
            time.sleep(0.002)
        raise AssertionError("no final transcript came")

    def of(self, slot, kind):
        return [fact for fact in self.facts[slot] if isinstance(fact, kind)]


def test_silence_is_no_voice(stt):
    ears = Ears(stt, 0).hear(s0=speech.silence(1.0), pace=0)
    assert not ears.facts[0]
    final = ears.commit(0)
    assert final == Transcript("", ears.at[0], ears.at[0], settled=True, final=True) or not final.text


def test_a_sentence_begins_ends_pauses_and_is_understood(stt, sentence):
    ears = Ears(stt, 1, start=48_000).hear(s1=sentence).until(1, Pause)
    ears.until(
        1, Transcript, such=lambda heard: heard.settled
    )  # on a busy machine the pause is judged before
    final = ears.commit(1)
    started, ended = ears.of(1, VoiceStarted), ears.of(1, VoiceEnded)
    assert started and ended and started[0].at < ended[-1].at
    assert 48_000 + 9_000 < started[0].at < 48_000 + 28_000
    assert all(48_000 <= fact.at <= ears.at[1] for fact in [*started, *ended])
    pauses = ears.of(1, Pause)
    assert pauses and all(0 <= pause.p_end <= 1 and pause.ms > 0 for pause in pauses)
    assert any(pause.at == ended[-1].at for pause in pauses)
    settled = [transcript for transcript in ears.of(1, Transcript) if transcript.settled]
    assert settled and settled[-1].to >= ended[-1].at
    assert final.text and final.settled
    assert final.to <= max(settled[-1].to, ended[-1].at), "else the web would take it for a second utterance"


def test_marks_never_lie_ahead(stt, sentence):
    ears = Ears(stt, 2).hear(s2=sentence)
    assert all(0 <= mark <= ears.at[2] for mark in ears.marks[2])
    assert min(ears.marks[2]) <= ears.of(2, VoiceStarted)[0].at
    ears.commit(2)
    assert stt.mark(2) >= ears.of(2, VoiceEnded)[0].at


def test_an_opened_slot_has_forgotten_everything(stt, sentence):
    Ears(stt, 0).hear(s0=sentence[: len(sentence) // 2])
    ears = Ears(stt, 0, start=1_000)
    ears.hear(s0=speech.silence(0.5))
    time.sleep(0.3)
    assert not ears.commit(0).text
    assert not ears.facts[0]


def test_a_closed_slot_says_nothing_more(stt, sentence):
    ears = Ears(stt, 0).hear(s0=sentence[: -len(sentence) // 4], pace=0.001)
    stt.close(0)
    ears.facts[0].clear()
    time.sleep(0.3)
    ears.step({})
    assert not ears.facts[0]


def test_what_is_cleared_is_not_said(stt, sentence):
    ears = Ears(stt, 3).hear(s3=sentence)
    stt.clear(3, ears.at[3])
    assert not ears.commit(3).text


def test_a_slot_that_is_retuned_in_mid_speech_goes_on(stt, sentence):
    half = len(sentence) // 2 // stt.frame_samples * stt.frame_samples
    ears = Ears(stt, 0).hear(s0=sentence[:half])
    stt.retune(0, Tuning(threshold=0.6, prefix_ms=100))
    ears.hear(s0=sentence[half:])
    stt.retune(0, Tuning())
    assert ears.commit(0).text
    assert len(ears.of(0, VoiceStarted)) >= 1


def test_what_is_no_number_harms_nothing(stt, sentence):
    broken = np.full(stt.frame_samples * 3, np.nan, np.float32)
    broken[::7] = np.inf
    ears = Ears(stt, 0).hear(s0=np.concatenate([broken, sentence]))
    assert ears.commit(0).text


def test_slots_do_not_hear_each_other(stt, sentence):
    alone = Ears(stt, 0).hear(s0=sentence)
    expected = alone.commit(0).text
    ears = Ears(stt, 0, 1, 2).hear(
        s0=sentence, s1=speech.silence(len(sentence) / speech.RATE), s2=sentence[:40_000]
    )
    assert ears.commit(0).text == expected
    assert not ears.facts[1] and not ears.commit(1).text
    assert [fact.at for fact in ears.of(0, VoiceStarted)] == [fact.at for fact in alone.of(0, VoiceStarted)]


@pytest.mark.model
def test_a_slow_decode_delays_nobodys_voice_detection(embedded, sentence, monkeypatch):
    def slow(pcm, abandoned):
        time.sleep(1.0)
        return "slow"

    monkeypatch.setattr(embedded._moonshine, "transcribe", slow)
    ears = Ears(embedded, 0).hear(s0=sentence, pace=0)
    ears.facts[1], ears.marks[1], ears.at[1] = [], [], 0
    embedded.open(1, ListenOptions(0))
    began = time.monotonic()
    ears.hear(s1=sentence[:48_000], pace=0)
    assert ears.of(1, VoiceStarted)
    assert time.monotonic() - began < 0.8
    embedded.close(0)
    embedded.close(1)


@pytest.mark.model
def test_a_threshold_and_a_pre_roll_act_from_the_start_on(embedded, sentence):
    ears = Ears(embedded, 0).hear(s0=sentence, pace=0.001)
    onset, start = ears.of(0, VoiceStarted)[0].at, ears.commit(0).start
    assert onset - start == 300 * 24
    embedded.open(0, ListenOptions(0, tuning=Tuning(prefix_ms=0)))
    ears = hear_again(embedded, sentence)
    assert ears.commit(0).start == ears.of(0, VoiceStarted)[0].at
    embedded.open(0, ListenOptions(0, tuning=Tuning(threshold=0.9999)))
    assert hear_again(embedded, sentence).of(0, VoiceStarted)[0].at > onset, "only what is surely voice"


def hear_again(engine, pcm):
    """The same for a slot that was opened by hand."""
    ears = Ears(engine)
    ears.at[0], ears.facts[0], ears.marks[0] = 0, [], []
    return ears.hear(s0=pcm, pace=0.001)


def telephone(pcm):
    """What is left of it at 8 kHz."""
    narrow = soxr.resample(soxr.resample(pcm, speech.RATE, 8_000), 8_000, speech.RATE)
    return np.asarray(narrow, np.float32)


@pytest.mark.model
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda pcm: np.clip(pcm * 60, -1, 1), id="clipped"),
        pytest.param(lambda pcm: pcm * 0.8 + 0.2, id="with an offset"),
        pytest.param(telephone, id="over an 8 kHz telephone"),
        pytest.param(lambda pcm: pcm * 0.05, id="softly"),
    ],
)
def test_bad_sound_is_still_understood(embedded, sentence, spoil):
    spoilt = spoil(sentence).astype(np.float32)
    ears = Ears(embedded, 0).hear(s0=spoilt, pace=0.001)
    assert ears.of(0, VoiceEnded), "voice ends in the quiet after it"
    understood = speech.plain(ears.commit(0).text)
    assert jiwer.wer("it was the best of times it was the worst of times", understood) <= 0.5, understood


@pytest.mark.model
@pytest.mark.parametrize("kind", ["white", "square"])
def test_speech_after_noise_at_full_scale_is_understood(embedded, sentence, kind):
    rng, size = np.random.default_rng(3), 2 * speech.RATE
    noise = {
        "white": rng.uniform(-1, 1, size),
        "square": np.sign(np.sin(np.arange(size) * 0.05)),
    }[kind].astype(np.float32)
    quiet = speech.silence(1.0)
    ears = Ears(embedded, 0).hear(s0=np.concatenate([quiet, noise, quiet]), pace=0.001)
    assert len(ears.of(0, VoiceEnded)) == len(ears.of(0, VoiceStarted)), "what began ended within a second"
    ears.commit(0)
    ears.facts[0].clear()
    ears.hear(s0=sentence, pace=0.001)
    assert ears.of(0, VoiceStarted)
    understood = speech.plain(ears.commit(0).text)
    assert jiwer.wer("it was the best of times it was the worst of times", understood) <= 0.5, understood


@pytest.mark.model
def test_zeros_for_a_minute_are_no_voice(embedded, sentence):
    ears = Ears(embedded, 0).hear(s0=np.zeros(60 * speech.RATE, np.float32), pace=0)
    assert not ears.facts[0]
    ears.hear(s0=sentence, pace=0.001)
    assert ears.commit(0).text


@pytest.mark.model
def test_another_language_is_refused(embedded):
    with pytest.raises(ConfigError, match="English"):
        embedded.open(0, ListenOptions(0, "fr"))


@pytest.mark.model
def test_human_speech_is_understood(embedded, sentence):
    """Two recordings at once, faster than real time; turns end where voice detector and judge say so."""
    heard = {}
    ears = Ears(embedded, *range(len(speech.TEXTS)))
    size = embedded.frame_samples
    audio = {slot: np.concatenate([speech.silence(0.3), speech.recording(name), speech.silence(1)])
             for slot, name in enumerate(speech.TEXTS)}  # fmt: skip
    heard = {slot: [] for slot in audio}
    for number in range(max(map(len, audio.values())) // size):
        frames = {slot: pcm[number * size : (number + 1) * size] for slot, pcm in audio.items()}
        ears.step({slot: frame for slot, frame in frames.items() if len(frame) == size})
        time.sleep(0.006)
        for slot in audio:
            if any(pause.p_end > 0.5 and pause.ms >= 200 for pause in ears.of(slot, Pause)):
                ears.facts[slot].clear()
                heard[slot].append(ears.commit(slot).text)
    for slot in audio:
        heard[slot].append(ears.commit(slot).text)
    said = [speech.plain(text) for text in speech.TEXTS.values()]
    understood = [speech.plain(" ".join(texts)) for texts in heard.values()]
    assert jiwer.wer(said, understood) <= 0.15, heard


# --- tts


@pytest.fixture(scope="module", params=engines("tts"))
def tts(request):
    engine = loaded("tts", request.param)
    engine.warm_up()
    return engine


TEXT = "Hello there! It is a fine day, and the 2 of us are in the park. Goodbye."


def speak(engine, texts, wait_s=20.0, first_word=0):
    """Frames of several slots that speak at once."""
    for slot, text in texts.items():
        engine.open(slot, VoiceOptions(engine.voices()[0], first_word=first_word))
        for word in text.split():
            engine.feed(slot, Say([word + " "]))
        engine.feed(slot, Say((), last=True))
    frames = {slot: [] for slot in texts}
    deadline = time.monotonic() + wait_s
    while open_slots := [slot for slot, got in frames.items() if not got or not got[-1].last]:
        assert time.monotonic() < deadline, "it never says the last"
        for slot, frame in engine.step(open_slots).items():
            frames[slot].append(frame)
        time.sleep(0.001)
    return frames


def test_every_word_is_spoken_once_in_order(tts):
    frames = speak(tts, {0: TEXT}, first_word=2)[0]
    count = len(TEXT.split())
    words = [word for frame in frames for word in frame.words]
    assert [number for number, _, _ in words] == list(range(2, 2 + count))
    assert all(start <= stop for _, start, stop in words)
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(words))
    assert frames[-1].spoken == 2 + count
    assert sum(len(frame.pcm) for frame in frames) >= words[-1][2] > count * 1_500


def test_frames_are_whole_audible_and_within_bounds(tts):
    frames = speak(tts, {0: TEXT})[0]
    assert all(len(frame.pcm) == tts.frame_samples for frame in frames[:-1])
    pcm = np.concatenate([frame.pcm for frame in frames])
    assert pcm.dtype == np.float32 and np.abs(pcm).max() <= 1
    assert np.abs(pcm[: tts.frame_samples]).max() > 0.0056, "nobody waits for silence"
    assert not any(frame.last for frame in frames[:-1])


def test_progress_is_never_ahead_of_the_audio(tts):
    given = spoken = 0
    for frame in speak(tts, {0: TEXT})[0]:
        begin, given = given, given + len(frame.pcm)
        assert all(begin <= start <= given for _, start, _ in frame.words)
        assert frame.spoken_to <= given and frame.spoken >= spoken
        spoken = frame.spoken


def test_replies_do_not_mix(tts):
    texts = {0: "One two three.", 1: TEXT, 2: "Hello."}
    frames = speak(tts, texts)
    assert {slot: got[-1].spoken for slot, got in frames.items()} == {0: 3, 1: len(TEXT.split()), 2: 1}


def test_a_closed_reply_leaves_nothing_behind(tts):
    tts.open(0, VoiceOptions(tts.voices()[0]))
    tts.feed(0, Say([word + " " for word in TEXT.split()], last=True))
    tts.step([0])
    tts.close(0)
    assert speak(tts, {0: "Hello."})[0][-1].spoken == 1


@pytest.mark.model
def test_an_unknown_voice_is_refused():
    engine = loaded("tts", "piper")
    with pytest.raises(ConfigError, match="joe"):
        engine.open(0, VoiceOptions("nobody"))


# --- llm


@pytest.fixture(scope="module", params=engines("llm"))
def llm(request):
    engine = loaded("llm", request.param)
    with asyncio.Runner() as runner:
        runner.run(engine.warm_up())
        yield engine, runner
        runner.run(engine.close())


QUESTION = [
    ChatMessage("system", "You answer in one short sentence."),
    ChatMessage("user", "What is the capital of France?"),
]


async def answer(engine, prompt, stop_after=10_000):
    usage, pieces = Usage(), []
    async with contextlib.aclosing(engine.generate(prompt, usage)) as generated:
        async for piece in generated:
            pieces.append(piece)
            if len(pieces) >= stop_after:
                break
    return "".join(pieces), usage


def test_an_answer_streams_and_is_counted(llm):
    engine, runner = llm
    text, usage = runner.run(answer(engine, Prompt(QUESTION, max_tokens=24, session="a")))
    assert text.strip() and usage.output_tokens > 0
    assert usage.stopped in ("stop", "length")


def test_answers_of_all_slots_at_once(llm):
    engine, runner = llm

    async def all_at_once():
        prompts = [Prompt(QUESTION, max_tokens=8, session=f"s{number}") for number in range(SLOTS + 1)]
        return await asyncio.gather(*(answer(engine, prompt) for prompt in prompts))

    assert all(text.strip() for text, _ in runner.run(all_at_once()))


def test_a_closed_answer_frees_the_model_soon(llm):
    engine, runner = llm
    story = [ChatMessage("user", "Tell me a very long story. " * 20)]

    async def closed():
        await answer(engine, Prompt(story, session="a"), stop_after=2)
        began = time.monotonic()
        await answer(engine, Prompt(QUESTION, session="a"), stop_after=1)
        return time.monotonic() - began

    assert runner.run(closed()) < 1.5


def test_a_prompt_read_ahead_is_answered(llm):
    engine, runner = llm

    async def ahead():
        await engine.prefill(Prompt(QUESTION, session="p"))
        return await answer(engine, Prompt(QUESTION, max_tokens=8, session="p"))

    assert runner.run(ahead())[0].strip()


def test_an_answer_is_continued_not_begun_again(llm):
    engine, runner = llm
    if not engine.continues:
        pytest.skip("it does not continue")
    prompt = Prompt(QUESTION, temperature=0.0, max_tokens=12, answered="alpha bravo charlie ", session="c")
    text, _ = runner.run(answer(engine, prompt))
    assert not text.startswith((" ", "alpha"))


# --- the loader


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
    with pytest.raises(EngineMissing, match="silero-vad"):
        loader.load("stt", EngineChoice(engine="embedded", slots=1), 1)
