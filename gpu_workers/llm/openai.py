"""Any language model behind an OpenAI-compatible URL: vLLM, Ollama, a hosted one."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
from pydantic import BaseModel, Field, SecretStr

from config.errors import StageFailed
from gpu_workers.engine import Prompt, Usage

log = logging.getLogger(__name__)

#: Answers worth another try: too many requests, and servers that start, are swamped or restart.
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

#: A response ends this soon after its [DONE], or its connection is given up.
END_S = 0.1


class Settings(BaseModel, frozen=True):
    """Where the model is, and how long to wait for it."""

    url: str = Field("http://127.0.0.1:8080/v1", pattern=r"^https?://\S+$")
    """Base URL, with its /v1."""
    model: str = "default"
    """Name of the model as the server knows it."""
    api_key: SecretStr = SecretStr("")
    """Sent as a Bearer token; `${NAME}` in a profile takes it from the environment. Never logged."""
    connect_timeout_s: float = Field(2.0, gt=0)
    first_token_timeout_s: float = Field(4.0, gt=0)
    """Longest wait for the first piece of an answer, for each try."""
    next_token_timeout_s: float = Field(5.0, gt=0)
    """Longest silence in mid-answer."""
    tries: int = Field(2, ge=1)
    """Tries before the first piece. After it there is none: half an answer was heard."""
    retry_after_s: float = Field(0.2, ge=0)
    connections: int = Field(64, gt=0)
    """Connections kept; a reply holds one while it streams."""
    continues: bool = False
    """The server goes on with an answer whose beginning it is given (vLLM and llama.cpp do)."""
    prefill: bool = False
    """Send probable prompts ahead, for one token, so that the server has them in its cache. Costs money at some."""
    extra: dict[str, Any] = {}
    """More fields of each request, as the server understands them."""


class _Retryable(Exception):
    """A try failed before the first piece, in a way that may pass."""


class OpenAiLlm:
    """One HTTP client for the process."""

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self.continues = settings.continues
        self._settings = settings
        key = settings.api_key.get_secret_value()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.next_token_timeout_s, connect=settings.connect_timeout_s),
            limits=httpx.Limits(
                max_connections=settings.connections, max_keepalive_connections=settings.connections
            ),
            trust_env=False,  # settings come from the settings
        )

    async def warm_up(self) -> None:
        """Opens a connection; a server that is not there yet is no reason not to start."""
        try:
            await self._client.get(f"{self._settings.url.rstrip('/')}/models")
        except httpx.HTTPError as error:
            log.warning("the LLM server does not answer yet: %s", type(error).__name__)

    async def prefill(self, prompt: Prompt) -> None:
        """Has the server read the prompt, if the settings want that."""
        if not self._settings.prefill:
            return
        with contextlib.suppress(httpx.HTTPError, StageFailed):
            await self._client.post(self._address, json=self._request(prompt, max_tokens=1, stream=False))

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncGenerator[str, None]:
        """Pieces of the answer. StageFailed when the server refuses, or fails beyond the tries."""
        spaced = prompt.answered[-1:].isspace()
        async with contextlib.aclosing(self._tries(prompt)) as chunks:
            async for chunk in chunks:
                piece = _account(chunk, usage)
                if spaced and piece:
                    piece, spaced = piece.lstrip(), False
                if piece:
                    yield piece

    async def _tries(self, prompt: Prompt) -> AsyncGenerator[dict[str, Any], None]:
        for left in reversed(range(self._settings.tries)):
            try:
                async with contextlib.aclosing(self._stream(prompt)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except _Retryable as error:
                if not left:
                    raise StageFailed(f"the LLM server failed: {error}") from error
                log.warning("the LLM server failed, trying again: %s", error)
                await asyncio.sleep(self._settings.retry_after_s)

    async def _stream(self, prompt: Prompt) -> AsyncGenerator[dict[str, Any], None]:
        """Chunks of one try. _Retryable only before the first that says something."""
        said = False
        request = self._request(prompt, prompt.max_tokens, stream=True)
        try:
            async with contextlib.AsyncExitStack() as opened:
                async with asyncio.timeout(self._settings.first_token_timeout_s):
                    streaming = self._client.stream("POST", self._address, json=request)
                    response = await opened.enter_async_context(streaming)
                    _check(response.status_code)
                    chunks = _chunks(response.aiter_lines())
                    first = await _until_one_says(chunks)
                said = True
                for chunk in first:
                    yield chunk
                async for chunk in chunks:
                    yield chunk
        except (httpx.TransportError, TimeoutError) as error:
            reason = type(error).__name__
            raise (
                StageFailed(f"the LLM server broke off: {reason}") if said else _Retryable(reason)
            ) from error

    @property
    def _address(self) -> str:
        return f"{self._settings.url.rstrip('/')}/chat/completions"

    def _request(self, prompt: Prompt, max_tokens: int, *, stream: bool) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        request: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages,
            "temperature": prompt.temperature,
            "max_tokens": max_tokens,
            "stream": stream,
        }
        if stream:
            request["stream_options"] = {"include_usage": True}
        if self.continues and (answered := prompt.answered.rstrip()):
            messages.append({"role": "assistant", "content": answered})
            request |= {"continue_final_message": True, "add_generation_prompt": False}
        return request | self._settings.extra

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _check(status: int) -> None:
    if status in RETRYABLE:
        raise _Retryable(f"status {status}")
    if status >= 400:
        raise StageFailed(f"the LLM server refused the request: status {status}")


async def _chunks(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON of each data line of a stream of server-sent events, until [DONE]."""
    async for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or not data:
            continue
        if data == "[DONE]":
            break
        yield _decoded(data)
    with contextlib.suppress(
        httpx.TransportError, TimeoutError
    ):  # read to its end, the connection can be used again
        async with asyncio.timeout(END_S):
            async for _ in lines:
                pass


def _decoded(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise StageFailed("the LLM server sent broken JSON") from error
    if not isinstance(chunk, dict) or "error" in chunk:
        raise StageFailed("the LLM server reported an error")
    return chunk


async def _until_one_says(chunks: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chunks up to the first with words in it, or all of an empty answer."""
    found = []
    async for chunk in chunks:
        found.append(chunk)
        if any(_piece(choice) for choice in _choices(chunk)):
            break
    return found


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    return chunk.get("choices") or []


def _piece(choice: dict[str, Any]) -> str:
    return (choice.get("delta") or {}).get("content") or ""


def _account(chunk: dict[str, Any], usage: Usage) -> str:
    """Notes what the chunk says of tokens and of the end; returns its piece of the answer."""
    if counts := chunk.get("usage"):
        usage.input_tokens = counts.get("prompt_tokens") or 0
        usage.output_tokens = counts.get("completion_tokens") or 0
    for choice in _choices(chunk):
        if choice.get("finish_reason") == "length":
            usage.stopped = "length"
    return "".join(_piece(choice) for choice in _choices(chunk))


def build(settings: Settings, slots: int) -> OpenAiLlm:
    """The engine."""
    return OpenAiLlm(settings, slots)
