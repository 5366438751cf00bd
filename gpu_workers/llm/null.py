"""Fake language model: the same words at a model's pace. For plumbing tests and load figures, never for people."""

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel, Field

from gpu_workers.engine import Needs, Prompt, Usage
from gpu_workers.null_faults import Faults, Mishaps
from gpu_workers.null_timing import word


class Settings(BaseModel, frozen=True):
    """Timings of the fake model."""

    words: int = Field(20, gt=0)
    """Length of an answer, unless it asks for less. Each word more is also a word to speak: 0.32 s by the null TTS."""
    first_word_s: float = Field(0.03, ge=0)
    """From the request to its first word, as a model reads the prompt."""
    word_interval_s: float = Field(0.02, ge=0)
    """From one word to the next: 50 words a second. Above what the TTS takes for a word, speech has gaps."""
    fails: Faults = Faults()  # type: ignore[call-arg]
    asks: Needs = Needs()
    """What it says that it needs of the machine."""


class NullLlm:
    """Answers everything with the alphabet."""

    continues = True
    calls_tools = False

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self._settings = settings
        self._mishaps = Mishaps(settings.fails)

    async def warm_up(self) -> None:
        """Nothing to load; only what was asked for happens."""
        self._mishaps.warm_up()

    async def prefill(self, prompt: Prompt) -> None:
        """Nothing to prepare."""

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncIterator[str]:
        """The words not yet answered, at their pace."""
        clock = asyncio.get_running_loop().time
        began = clock()
        said = len(prompt.answered.split())
        for number in range(said, self._settings.words):
            if usage.output_tokens >= prompt.max_tokens:
                usage.stopped = "length"
                return
            due = began + self._settings.first_word_s + (number - said) * self._settings.word_interval_s
            await asyncio.sleep(max(0.0, due - clock()))
            if self._mishaps.step([0]) is not None:
                raise RuntimeError("the null engine was asked to lose a reply")
            usage.output_tokens += 1
            yield word(number) + ("." if number == self._settings.words - 1 else " ")

    async def close(self) -> None:
        """Nothing to stop."""


def needs(settings: Settings, slots: int) -> Needs:
    """As it was told to say."""
    return settings.asks


def build(settings: Settings, slots: int) -> NullLlm:
    """The engine."""
    return NullLlm(settings, slots)
