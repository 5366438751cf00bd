"""Fake language model: the same words at a model's pace. For plumbing tests and load figures, never for people."""

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel, Field

from gpu_workers.engine import Prompt, Usage
from gpu_workers.null_timing import word


class Settings(BaseModel, frozen=True):
    """Timings of the fake model."""

    words: int = Field(20, gt=0)
    first_word_s: float = Field(0.03, ge=0)
    word_interval_s: float = Field(0.02, ge=0)


class NullLlm:
    """Answers everything with the alphabet."""

    continues = True

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self._settings = settings

    async def warm_up(self) -> None:
        """Nothing to load."""

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
            usage.output_tokens += 1
            yield word(number) + ("." if number == self._settings.words - 1 else " ")

    async def close(self) -> None:
        """Nothing to stop."""


def build(settings: Settings, slots: int) -> NullLlm:
    """The engine."""
    return NullLlm(settings, slots)
