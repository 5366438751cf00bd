"""The OpenAI-compatible LLM engine, against a scripted server on loopback and against llama.cpp's own."""

import asyncio
import contextlib
import json
import logging

import pytest

from config.errors import ConfigError, EngineMissing, StageFailed
from config.messages import ChatMessage
from config.settings import EngineChoice, load
from gpu_workers import loader
from gpu_workers.engine import Prompt, Usage
from tests.conftest import missing

PROMPT = Prompt([ChatMessage("user", "Hello?")], max_tokens=8)


def chunk(text=None, finish=None, **fields):
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]} | fields)}\n\n"


ANSWER = [
    ": a comment\n\n",
    chunk("He"),
    chunk("llo."),
    chunk(finish="length"),
    f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': 5, 'completion_tokens': 2}})}\n\n",
    "data: [DONE]\n\n",
]


class Script:
    """A server that answers each request as the next of `turns` says: (status, parts); None ends the connection."""

    def __init__(self, *turns):
        self.turns = list(turns)
        self.requests = []
        self.opened = self.closed = 0

    async def serve(self, reader, writer):
        self.opened += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                await self._answer(reader, writer)
        self.closed += 1
        writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        self.requests.append((head, json.loads(await reader.readexactly(length))))
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if turn is None:
            raise ConnectionError
        status, parts = turn
        writer.write(f"HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for part in parts:
            if part is None:
                await writer.drain()
                raise ConnectionError
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.write(b"%x\r\n%s\r\n" % (len(part.encode()), part.encode()))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def ask(script, prompt=PROMPT, times=1, stop_after=99, **options):
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"url": f"http://127.0.0.1:{port}/v1", "retry_after_s": 0.01} | options
    engine = loader.load("llm", EngineChoice(engine="openai", slots=2, options=options), 2)
    try:
        for _ in range(times):
            usage, pieces = Usage(), []
            async with contextlib.aclosing(engine.generate(prompt, usage)) as generated:
                async for piece in generated:
                    pieces.append(piece)
                    if len(pieces) == stop_after:
                        break
        return pieces, usage
    finally:
        await engine.close()
        server.close()


def run(script, **options):
    return asyncio.run(ask(script, **options))


def test_an_answer_streams_with_its_counts():
    script = Script((200, ANSWER))
    pieces, usage = run(script)
    assert pieces == ["He", "llo."]
    assert usage == Usage(5, 2, "length")
    head, request = script.requests[0]
    assert request["stream"] and request["max_tokens"] == 8
    assert "authorization" not in head


@pytest.mark.parametrize(
    "first", [None, (503, []), (429, []), (200, [None]), (200, [": wait\n\n", None]), (200, [0.5])]
)
def test_a_try_that_fails_before_the_first_word_is_repeated(first):
    pieces, _ = run(Script(first, (200, ANSWER)), first_token_timeout_s=0.2)
    assert "".join(pieces) == "Hello."


def test_after_the_first_word_nothing_is_repeated():
    script = Script((200, [chunk("He"), None]), (200, ANSWER))
    with pytest.raises(StageFailed, match="broke off"):
        run(script)
    assert len(script.requests) == 1


def test_silence_in_mid_answer_ends_it():
    with pytest.raises(StageFailed, match="broke off"):
        run(Script((200, [chunk("He"), 1.0, chunk("llo.")])), next_token_timeout_s=0.1)


def test_tries_end():
    script = Script((503, []))
    with pytest.raises(StageFailed, match="503"):
        run(script, tries=3)
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    "turn", [(401, []), (404, []), (200, ["data: {broken\n\n"]), (200, ['data: {"error": 1}\n\n'])]
)
def test_a_refusal_is_final(turn):
    script = Script(turn)
    with pytest.raises(StageFailed):
        run(script)
    assert len(script.requests) == 1


def test_one_connection_serves_many_answers():
    script = Script((200, ANSWER))
    run(script, times=3)
    assert len(script.requests) == 3 and script.opened == 1


def test_a_closed_answer_closes_the_connection():
    script = Script((200, [chunk("one "), *([0.02, chunk("more ")] * 200)]))

    async def closed():
        await ask(script, stop_after=1)
        for _ in range(50):
            if script.closed:
                return True
            await asyncio.sleep(0.02)
        return False

    assert asyncio.run(closed())


def test_the_key_is_sent_and_never_logged(caplog):
    caplog.set_level(logging.DEBUG)
    script = Script((503, []), (200, ANSWER))
    run(script, api_key="secret-key")
    assert "authorization: bearer secret-key" in script.requests[0][0]
    assert "secret-key" not in caplog.text


def test_an_answer_is_continued_where_the_server_can():
    script = Script((200, [chunk(" world.")]))
    pieces, _ = run(script, prompt=Prompt(PROMPT.messages, answered="Hello "), continues=True)
    assert pieces == ["world."]
    request = script.requests[0][1]
    assert request["messages"][-1] == {"role": "assistant", "content": "Hello"}
    assert request["continue_final_message"]


def test_a_profile_takes_the_key_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr("config.settings.PROFILES", tmp_path)
    (tmp_path / "own.yaml").write_text(
        "stt: {engine: 'null', slots: 1}\ntts: {engine: 'null', slots: 1}\n"
        "llm: {engine: openai, slots: 1, options: {api_key: '${TEST_LLM_KEY}'}}\n"
    )
    with pytest.raises(ConfigError, match="TEST_LLM_KEY"):
        load("own")
    monkeypatch.setenv("TEST_LLM_KEY", "from outside")
    assert load("own").llm.options["api_key"] == "from outside"
    load.cache_clear()


@pytest.mark.model
def test_llama_cpp_answers_over_http():
    try:
        llama = loader.load("llm", EngineChoice(engine="llama", slots=1), 1)
    except EngineMissing as error:
        missing(str(error))

    async def talk():
        await llama.warm_up()
        options = {"url": f"{llama.address}/v1", "api_key": llama.key, "prefill": True}
        engine = loader.load("llm", EngineChoice(engine="openai", slots=1, options=options), 1)
        await engine.warm_up()
        await engine.prefill(PROMPT)
        usage, pieces = Usage(), []
        async with contextlib.aclosing(engine.generate(PROMPT, usage)) as generated:
            pieces = [piece async for piece in generated]
        await engine.close()
        await llama.close()
        return pieces, usage

    pieces, usage = asyncio.run(talk())
    assert len(pieces) > 1 and usage.input_tokens > 0 and usage.output_tokens > 1
