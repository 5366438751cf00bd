"""Drives engines as their loops do, for the contract tests: slots of ears, of mouths, and answers."""

import asyncio
import contextlib
import time

import pytest

from config.engine_choice import EngineChoice
from config.errors import EngineMissing
from config.messages import Transcript
from gpu_workers import loader
from gpu_workers.engine import ListenOptions, Say, Usage, VoiceOptions
from tests.conftest import missing
from tests.engine_cases import case

SLOTS = 4

#: Needs a server to talk to; it has tests of its own.
REMOTE = {"openai"}


def loaded(stage, name):
    """An engine, cold; without its packages the test ends here."""
    try:
        options = case(stage, name).options()
        return loader.load(stage, EngineChoice(engine=name, slots=SLOTS, options=options), SLOTS)
    except EngineMissing as error:
        missing(str(error))


def warm(stage, name):
    engine = loaded(stage, name)
    engine.warm_up()
    return engine


def engines(stage):
    """All there are of a stage, as parameters, each with the marker of its run."""
    names = [name for name in loader.engines(stage) if name not in REMOTE]
    marks = {name: [] if name == "null" else getattr(pytest.mark, case(stage, name).marker) for name in names}
    return [pytest.param((name, case(stage, name)), marks=marks[name], id=name) for name in names]


# --- stt


class Ears:
    """Feeds slots of an engine and keeps what they say; `at` is where each of them is."""

    def __init__(self, engine, *slots, start=0):
        self.engine = engine
        self.at, self.facts, self.marks = {}, {}, {}
        for slot in slots:
            self.open(slot, start)

    def open(self, slot, start=0, **options):
        self.at[slot], self.facts[slot], self.marks[slot] = start, [], []
        self.engine.open(slot, ListenOptions(start, **options))
        return self

    def close(self, slot):
        self.engine.close(slot)
        return self

    def step(self, frames):
        for slot in frames:
            self.at[slot] += self.engine.frame_samples
        for slot, facts in self.engine.step(frames).items():
            self.facts[slot] += facts
            self.marks[slot].append(self.engine.mark(slot))

    def hear(self, pace=0.002, **audio):
        """Audio of slots (`s0=...`), frame by frame, faster than it was spoken but slow enough for a decode."""
        size = self.engine.frame_samples
        cut = {int(name[1:]): pcm[: len(pcm) // size * size].reshape(-1, size) for name, pcm in audio.items()}
        for number in range(max(map(len, cut.values()))):
            self.step({slot: frames[number] for slot, frames in cut.items() if number < len(frames)})
            time.sleep(pace)
        return self

    def until(self, slot, kind, wait_s=5.0, *, such=lambda fact: True):
        """Waits for a first fact of this kind, and such a one."""
        deadline = time.monotonic() + wait_s
        while not any(map(such, self.of(slot, kind))) and time.monotonic() < deadline:
            self.step({})
            time.sleep(0.002)
        return self

    def commit(self, slot, wait_s=20.0):
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

    def idle(self, seconds):
        """Steps without sound, so that what is under way has time to come to light."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.step({})
            time.sleep(0.005)
        return self

    def of(self, slot, kind):
        return [fact for fact in self.facts[slot] if isinstance(fact, kind)]


# --- tts


class Mouths:
    """Replies of several slots that are spoken at once; `frames` of each."""

    def __init__(self, engine, **options):
        self.engine = engine
        self.options = {"voice": engine.voices()[0], **options}
        self.frames = {}

    def open(self, slot, **options):
        self.frames[slot] = []
        self.engine.open(slot, VoiceOptions(**{**self.options, **options}))
        return self

    def say(self, slot, words, *, last=True):
        """One word at a time, as the LLM writes them."""
        for word in words.split(" ") if isinstance(words, str) else words:
            self.engine.feed(slot, Say([word + " "]))
        if last:
            self.engine.feed(slot, Say((), last=True))
        return self

    def step(self):
        """A step for all that have not said everything; how many frames it gave."""
        unfinished = [slot for slot in self.frames if not self.done(slot)]
        made = self.engine.step(unfinished)
        assert set(made) <= set(unfinished)
        for slot, frame in made.items():
            self.frames[slot].append(frame)
        return len(made)

    def done(self, slot):
        return bool(self.frames[slot]) and self.frames[slot][-1].last

    def run(self, wait_s=120.0):
        """Until all have said everything."""
        return self.until(lambda: all(map(self.done, self.frames)), wait_s)

    def until(self, done, wait_s=120.0):
        deadline = time.monotonic() + wait_s
        while not done():
            assert time.monotonic() < deadline, "it takes too long"
            if not self.step():
                time.sleep(0.001)
        return self

    def idle(self, seconds):
        """Steps for so long, whatever comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.step():
                time.sleep(0.001)
        return self

    def close(self, slot):
        self.engine.close(slot)
        del self.frames[slot]
        return self


def speak(engine, texts, **options):
    """Frames of several slots that speak at once."""
    mouths = Mouths(engine, **options)
    for slot, text in texts.items():
        mouths.open(slot).say(slot, text)
    frames = mouths.run().frames
    for slot in texts:
        engine.close(slot)
    return frames


# --- llm


async def answer(engine, prompt, stop_after=10_000):
    """The answer, or as many pieces of it; and what it took."""
    usage, pieces = Usage(), []
    async with contextlib.aclosing(engine.generate(prompt, usage)) as generated:
        async for piece in generated:
            pieces.append(piece)
            if len(pieces) >= stop_after:
                break
    return "".join(pieces), usage


@contextlib.contextmanager
def running(name):
    """A language model, warm, and the loop that it lives in."""
    engine = loaded("llm", name)
    with asyncio.Runner() as runner:
        runner.run(engine.warm_up())
        yield engine, runner
        runner.run(engine.close())
