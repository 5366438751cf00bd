"""Any language model behind OpenAI-compatible URLs: vLLM, Ollama, a hosted one; several, in order of preference."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
from pydantic import BaseModel, Field, SecretStr, field_validator

from config.errors import StageFailed
from config.messages import ChatMessage, ToolCall
from gpu_workers.engine import Prompt, Usage
from gpu_workers.language import chat_messages
from gpu_workers.language.calls import Calls
from gpu_workers.language.text_calls import TextCalls
from gpu_workers.language.upstreams import Circuits, Upstream, listed

log = logging.getLogger(__name__)

#: Answers worth another try: too many requests, and servers that start, are swamped or restart.
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

#: Refusals that are about the server, not about what it was asked: no key, no money, no such model.
ITS_OWN = frozenset({401, 402, 403, 404})

#: What is read of a refusal's page, and what may be told of it.
REASON_BYTES = 2000
NAMED = (
    "tool_choice", "tools", "--enable-auto-tool-choice", "--tool-call-parser", "--jinja", "max_tokens", "temperature",
    "stream_options", "model", "context length", "continue_final_message",
)  # fmt: skip

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
    urls: tuple[Upstream, ...] = ()
    """Several servers instead, the preferred one first: URLs, or {url, model, api_key} where they differ. `api_key`
    goes to none of them: a key is for one host."""
    cool_down_s: float = Field(10.0, gt=0)
    """A server that failed is passed over for so long, and for longer each time, unless all failed."""
    connect_timeout_s: float = Field(2.0, gt=0)
    """Longest wait for a connection, for each try; it is part of `first_token_timeout_s`. Longer helps with a server
    far away, and keeps users waiting for one that is gone."""
    first_token_timeout_s: float = Field(4.0, gt=0)
    """Longest wait for the first piece of an answer, for each try. The web waits 5 s in all (first_word_deadline_s):
    with several servers, less than half of that lets a second one answer when the first hangs."""
    next_token_timeout_s: float = Field(5.0, gt=0)
    """Longest silence in mid-answer."""
    tries: int = Field(2, ge=1)
    """Tries before the first piece, of each server. After it there is none: half an answer was heard."""
    retry_after_s: float = Field(0.2, ge=0)
    """Before all servers are tried again; from one to the next it goes at once."""
    connections: int = Field(64, gt=0)
    """Connections kept; a reply holds one while it streams."""
    continues: bool = False
    """The server goes on with an answer whose beginning it is given (vLLM and llama.cpp do)."""
    prefill: bool = False
    """Send probable prompts ahead, for one token, so that the server has them in its cache. Costs money at some."""
    extra: dict[str, Any] = {}
    """More fields of each request, as the server understands them."""

    _listed = field_validator("urls", mode="before")(listed)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All servers."""
        return self.urls or (Upstream(url=self.url, api_key=self.api_key),)


class _Failed(Exception):
    """A try failed before the first piece; `again`: in a way that may pass at the same server."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class OpenAiLlm:
    """One HTTP client for the process."""

    calls_tools = True

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self.continues = settings.continues
        self._settings = settings
        self._upstreams = settings.upstreams
        self._circuits = Circuits(len(self._upstreams), settings.cool_down_s)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.next_token_timeout_s, connect=settings.connect_timeout_s),
            limits=httpx.Limits(
                max_connections=settings.connections, max_keepalive_connections=settings.connections
            ),
            trust_env=False,  # settings come from the settings
        )

    async def warm_up(self) -> None:
        """Opens a connection to each; a server that is not there yet is no reason not to start."""
        await asyncio.gather(*map(self._look_at, self._upstreams))

    async def _look_at(self, upstream: Upstream) -> None:
        try:
            await self._client.get(f"{upstream.url.rstrip('/')}/models", headers=upstream.headers)
        except httpx.HTTPError as error:
            log.warning("the LLM server %s does not answer yet: %s", _host(upstream), type(error).__name__)

    async def prefill(self, prompt: Prompt) -> None:
        """Has the server read the prompt, if the settings want that."""
        preferred = self._circuits.first()
        if not self._settings.prefill or preferred is None:
            return
        upstream = self._upstreams[preferred]
        request = self._request(upstream, prompt, max_tokens=1, stream=False)
        with contextlib.suppress(httpx.HTTPError):
            await self._client.post(_address(upstream), json=request, headers=upstream.headers)

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncGenerator[str | ToolCall, None]:
        """The answer. StageFailed when the server refuses, breaks off, or all of them fail beyond the tries."""
        spaced = prompt.answered[-1:].isspace()
        calls, written = Calls(), TextCalls(offered=bool(prompt.tools))
        async with contextlib.aclosing(self._tries(prompt)) as chunks:
            async for chunk in chunks:
                piece = written.take(_account(chunk, usage))
                if spaced and piece:
                    piece, spaced = piece.lstrip(), False
                if piece:
                    yield piece
                for call in _called(chunk, calls):
                    yield call
        if rest := written.rest():
            yield rest
        for call in calls.finish(cut=usage.stopped == "length"):
            yield call

    async def _tries(self, prompt: Prompt) -> AsyncGenerator[dict[str, Any], None]:
        """Chunks of the first server that says something."""
        given_up: set[int] = set()
        for left in reversed(range(self._settings.tries)):
            tried = set(given_up)
            while (number := self._circuits.next(tried)) is not None:
                tried.add(number)
                try:
                    async with contextlib.aclosing(self._tried(number, prompt)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    return
                except _Failed as error:
                    failure = error
                    log.warning("the LLM server %s failed: %s", _host(self._upstreams[number]), error)
                    if not error.again:
                        given_up.add(number)
            if not left or len(given_up) == len(self._upstreams):
                raise StageFailed(f"the LLM server failed: {failure}") from failure
            await asyncio.sleep(self._settings.retry_after_s)

    async def _tried(self, number: int, prompt: Prompt) -> AsyncGenerator[dict[str, Any], None]:
        """Chunks of one try, of which the circuits hear. _Failed only before the first that says something."""
        said = False
        try:
            async with contextlib.aclosing(self._stream(self._upstreams[number], prompt)) as chunks:
                async for chunk in chunks:
                    if not said:
                        self._circuits.succeeded(number)
                    said = True
                    yield chunk
        except _Refused:
            raise
        except (httpx.TransportError, TimeoutError, _Failed, StageFailed) as error:
            self._circuits.failed(number)
            reason = str(error) if isinstance(error, _Failed | StageFailed) else type(error).__name__
            if said:
                raise StageFailed(f"the LLM server broke off: {reason}") from error
            again = error.again if isinstance(error, _Failed) else not isinstance(error, StageFailed)
            raise _Failed(reason, again=again) from error
        finally:
            if not said:
                self._circuits.dropped(number)

    async def _stream(self, upstream: Upstream, prompt: Prompt) -> AsyncGenerator[dict[str, Any], None]:
        request = self._request(upstream, prompt, prompt.max_tokens, stream=True)
        async with contextlib.AsyncExitStack() as opened:
            async with asyncio.timeout(self._settings.first_token_timeout_s):
                streaming = self._client.stream(
                    "POST", _address(upstream), json=request, headers=upstream.headers
                )
                response = await opened.enter_async_context(streaming)
                if response.status_code >= 400:
                    raise _refused(response.status_code, await _beginning(response), prompt)
                chunks = _chunks(response.aiter_lines())
                first = await _until_one_says(chunks)
            for chunk in first:
                yield chunk
            async for chunk in chunks:
                yield chunk

    def _request(
        self, upstream: Upstream, prompt: Prompt, max_tokens: int, *, stream: bool
    ) -> dict[str, Any]:
        messages = [*prompt.messages]
        request: dict[str, Any] = {
            "model": upstream.model or self._settings.model,
            "temperature": prompt.temperature,
            "max_tokens": max_tokens,
            "stream": stream,
        }
        if stream:
            request["stream_options"] = {"include_usage": True}
        if prompt.tools:
            request["tools"] = chat_messages.functions(prompt.tools)
            if prompt.tool_choice != "auto":  # what it is without; and there are servers that know no choice
                request["tool_choice"] = chat_messages.choice(prompt.tool_choice)
        if self.continues and (answered := prompt.answered.rstrip()):
            messages.append(ChatMessage("assistant", answered))
            request |= {"continue_final_message": True, "add_generation_prompt": False}
        return request | {"messages": chat_messages.chat(messages)} | self._settings.extra

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


class _Refused(StageFailed):
    """The request itself is wrong: no server will take it."""


def _address(upstream: Upstream) -> str:
    return f"{upstream.url.rstrip('/')}/chat/completions"


def _host(upstream: Upstream) -> str:
    """For the log; a URL may hold a password."""
    url = httpx.URL(upstream.url)
    return f"{url.host}:{url.port}" if url.port else url.host


async def _beginning(response: httpx.Response) -> bytes:
    """Of a page that says why."""
    async for part in response.aiter_bytes(REASON_BYTES):
        return part[:REASON_BYTES]
    return b""


def _refused(status: int, page: bytes, prompt: Prompt) -> Exception:
    """Why, as far as it can be told: the page may hold what a user said, so only fields that it names are taken."""
    if status in RETRYABLE or status in ITS_OWN:
        return _Failed(f"status {status}", again=status in RETRYABLE)
    why = f"the LLM server refused the request: status {status}"
    if named := [name for name in NAMED if name.encode() in page]:
        why += f", and named {', '.join(named)}"
    if prompt.tools:
        why += (
            "; it was offered tools, which not every server and model takes (vLLM: --enable-auto-tool-choice and "
            "--tool-call-parser; llama.cpp: --jinja)"
        )
    return _Refused(why)


async def _chunks(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON of each data line of a stream of server-sent events, until [DONE]. StageFailed when it has no end.

    Some servers send no [DONE], but all say why they stopped: without either it is half an answer, or none at all.
    """
    ended = False
    async for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or not data:
            continue
        if data == "[DONE]":
            ended = True
            break
        chunk = _decoded(data)
        ended = ended or any(choice.get("finish_reason") for choice in _choices(chunk))
        yield chunk
    if not ended:
        raise StageFailed("the LLM server's answer has no end")
    with contextlib.suppress(
        httpx.TransportError, TimeoutError
    ):  # read to its end, the connection can be used again
        async with asyncio.timeout(END_S):
            async for _ in lines:
                pass


def _decoded(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StageFailed("the LLM server sent broken JSON") from error
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise StageFailed("the LLM server reported an error")
    return chunk


async def _until_one_says(chunks: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chunks up to the first with words or a call in it, or all of an empty answer."""
    found = []
    async for chunk in chunks:
        found.append(chunk)
        if any(_piece(choice) or _pieces_of_calls(choice) for choice in _choices(chunk)):
            break
    return found


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise StageFailed("the LLM server sent choices that are none")
    return choices


def _delta(choice: dict[str, Any], field: str, kind: type) -> Any:
    delta = choice.get("delta" if "delta" in choice else "message") or {}  # some do not stream calls
    value = (delta.get(field) if isinstance(delta, dict) else delta) or kind()
    if not isinstance(value, kind):
        raise StageFailed(f"the LLM server sent {field} that is no {kind.__name__}")
    return value


def _piece(choice: dict[str, Any]) -> str:
    return str(_delta(choice, "content", str))


def _pieces_of_calls(choice: dict[str, Any]) -> list[Any]:
    return list(_delta(choice, "tool_calls", list))


def _called(chunk: dict[str, Any], calls: Calls) -> list[ToolCall]:
    """The calls that are whole with this chunk."""
    whole: list[ToolCall] = []
    for choice in _choices(chunk):
        for position, delta in enumerate(_pieces_of_calls(choice)):
            whole += calls.add_delta(delta, position)
    return whole


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
