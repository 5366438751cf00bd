"""The OpenAI-compatible LLM engine, against a scripted server on loopback and against llama.cpp's own."""

import asyncio
import contextlib
import json
import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing, StageFailed
from config.messages import ChatMessage, Tool, ToolCall
from config.settings import load
from gpu_workers import loader
from gpu_workers.engine import Prompt, Usage
from gpu_workers.language.calls import Calls
from gpu_workers.language.chat_messages import chat, fitting, marks_of
from gpu_workers.language.text_calls import FIELDS, MARKS, TextCalls
from gpu_workers.language.upstreams import Circuits
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


def url_of(server):
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def ask(script, prompt=PROMPT, times=1, stop_after=99, **options):
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    options = {"url": url_of(server), "retry_after_s": 0.01} | options
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


@pytest.mark.parametrize("page", [["<html>a front page</html>"], [], [": only a comment\n\n"]])
def test_a_page_that_is_no_answer_is_a_failure_and_not_silence(page):
    with pytest.raises(StageFailed, match="no end"):
        run(Script((200, page)))


def test_an_answer_that_stops_without_an_end_was_broken_off():
    with pytest.raises(StageFailed, match="broke off"):
        run(Script((200, [chunk("He")])))


@pytest.mark.parametrize("end", [[chunk(finish="stop")], ["data: [DONE]\n\n"]])
def test_either_sign_is_an_end(end):
    pieces, _ = run(Script((200, [chunk("He", error=None), *end])))
    assert pieces == ["He"]


@pytest.mark.parametrize("deep", ['{"a":' * 5000 + "}", "[" * 100_000])
def test_nesting_without_end_is_broken_json(deep):
    with pytest.raises(StageFailed, match="broken JSON"):
        run(Script((200, [f"data: {deep}\n\n"])))


def test_a_key_may_end_in_the_line_end_of_its_file():
    script = Script((200, ANSWER))
    run(script, api_key="sk-mine\n")
    assert "authorization: bearer sk-mine\r\n" in script.requests[0][0]


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
    script = Script((200, [chunk(" world."), chunk(finish="stop")]))
    pieces, _ = run(script, prompt=Prompt(PROMPT.messages, answered="Hello "), continues=True)
    assert pieces == ["world."]
    request = script.requests[0][1]
    assert request["messages"][-1] == {"role": "assistant", "content": "Hello"}
    assert request["continue_final_message"]


# --- several servers


class Several:
    """An engine and its scripted servers, in order of preference."""

    def __init__(self, *scripts, upstreams=None, **options):
        self.scripts = scripts
        self._upstreams = upstreams or [{} for _ in scripts]
        self._options = {"retry_after_s": 0.01} | options

    async def __aenter__(self):
        self._servers = [
            await asyncio.start_server(script.serve, "127.0.0.1", 0) for script in self.scripts if script
        ]
        served = iter(self._servers)
        urls = [
            {"url": url_of(next(served)) if script else DOWN} | upstream
            for script, upstream in zip(self.scripts, self._upstreams, strict=True)
        ]
        choice = EngineChoice(engine="openai", slots=2, options=self._options | {"urls": urls})
        self.engine = loader.load("llm", choice, 2)
        return self

    async def __aexit__(self, *_):
        await self.engine.close()
        for server in self._servers:
            server.close()

    async def answer(self, prompt=PROMPT):
        async with contextlib.aclosing(self.engine.generate(prompt, Usage())) as pieces:
            return "".join([piece async for piece in pieces])

    @property
    def asked(self):
        """Requests that each server got."""
        return [len(script.requests) if script else 0 for script in self.scripts]


#: Nobody listens on this port.
DOWN = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(None, id="is down"),
        pytest.param(Script(None), id="hangs up"),
        pytest.param(Script((503, [])), id="is swamped"),
        pytest.param(Script((429, [])), id="has had enough"),
        pytest.param(Script((401, [])), id="does not know the key"),
        pytest.param(Script((404, [])), id="does not know the model"),
        pytest.param(Script((200, [None])), id="breaks off before the first word"),
        pytest.param(Script((200, [1.0])), id="says nothing"),
        pytest.param(Script((200, ["data: {broken\n\n"])), id="sends rubbish"),
        pytest.param(Script((200, ['data: {"error": 1}\n\n'])), id="reports an error"),
    ],
)
def test_the_next_server_answers_at_once_when_the_first(first):
    async def talk():
        # a wait before the second one would last longer than the test may
        async with Several(
            first, Script((200, ANSWER)), first_token_timeout_s=0.2, retry_after_s=60
        ) as several:
            return await several.answer(), await several.answer(), several.asked

    one, two, asked = asyncio.run(asyncio.wait_for(talk(), 40))
    assert one == two == "Hello."
    assert asked == [1 if first else 0, 2], "a server that failed is passed over"


def test_nobody_else_is_asked_after_the_first_word():
    async def talk():
        async with Several(Script((200, [chunk("He"), None])), Script((200, ANSWER))) as several:
            with pytest.raises(StageFailed, match="broke off"):
                await several.answer()
            before = several.asked
            return before, await several.answer(), several.asked

    assert asyncio.run(talk()) == ([1, 0], "Hello.", [1, 1])


def test_a_request_that_is_wrong_goes_to_nobody_else():
    async def talk():
        async with Several(Script((400, [])), Script((200, ANSWER))) as several:
            with pytest.raises(StageFailed, match="400"):
                await several.answer()
            return several.asked

    assert asyncio.run(talk()) == [1, 0]


def test_a_server_that_failed_is_asked_again_when_it_has_cooled_down():
    async def talk():
        async with Several(
            Script((503, []), (200, ANSWER)), Script((200, ANSWER)), cool_down_s=0.05
        ) as several:
            await several.answer()
            while several.asked[0] < 2:
                await several.answer()
            before = several.asked
            await several.answer()
            return before, several.asked

    before, after = asyncio.run(asyncio.wait_for(talk(), 40))
    assert after == [before[0] + 1, before[1]], "it is preferred again"


def test_when_all_are_down_all_are_asked():
    async def talk():
        async with Several(Script((503, [])), Script((503, [])), tries=1) as several:
            for _ in range(2):
                with pytest.raises(StageFailed, match="503"):
                    await several.answer()
            return several.asked

    assert asyncio.run(talk()) == [2, 2]


def test_each_server_gets_its_own_key_and_model_and_no_other():
    scripts = Script((503, [])), Script((503, [])), Script((200, ANSWER))
    upstreams = [{"api_key": "key-one", "model": "big"}, {"model": "small"}, {"api_key": "key-three"}]

    async def talk():
        async with Several(
            *scripts, upstreams=upstreams, api_key="for-url-alone", model="usual", tries=1
        ) as several:
            return await several.answer()

    assert asyncio.run(talk()) == "Hello."
    heads, requests = zip(*(script.requests[0] for script in scripts), strict=True)
    assert "bearer key-one" in heads[0] and "bearer key-three" in heads[2]
    assert "authorization" not in heads[1]
    assert [request["model"] for request in requests] == ["big", "small", "usual"]


def test_urls_in_one_variable_are_parted_by_commas():
    choice = EngineChoice(engine="openai", slots=1, options={"urls": "http://one/v1, http://two/v1"})
    assert choice.hosts == ["one", "two"]
    assert [upstream.url for upstream in openai_settings(choice).upstreams] == [
        "http://one/v1",
        "http://two/v1",
    ]


def openai_settings(choice):
    return loader.load("llm", choice, 1)._settings


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_one_request_at_a_time_probes_a_server_that_failed():
    clock = Clock()
    circuits = Circuits(2, 10.0, clock)
    assert circuits.next(()) == 0
    circuits.failed(0)
    assert circuits.next(()) == 1 and circuits.first() == 1
    clock.now = 10.0
    assert circuits.next(()) == 0, "the probe"
    assert circuits.next(()) == 1, "everybody else"
    circuits.dropped(0)
    assert circuits.next(()) == 0, "a probe that was called off says nothing"
    circuits.failed(0)
    clock.now = 29.0
    assert circuits.next(()) == 1, "passed over for twice as long"
    clock.now = 30.0
    assert circuits.next(()) == 0
    circuits.succeeded(0)
    assert [circuits.next(()), circuits.next(())] == [0, 0]


def test_a_server_is_passed_over_for_ever_longer_up_to_a_bound():
    clock = Clock()
    circuits = Circuits(2, 1.0, clock)
    waits = []
    for _ in range(6):
        circuits.failed(0)
        before = clock.now
        while circuits.next(()) != 0:
            clock.now += 0.5
        waits.append(clock.now - before)
    assert waits == [1, 2, 4, 8, 8, 8]


# --- tools

WEATHER = Tool("weather", "Tells it.", {"type": "object", "properties": {"city": {"type": "string"}}})
CALL = ToolCall("c1", "weather", '{"city": "Rome"}')


def calling(*deltas, finish=None):
    choice = {"index": 0, "delta": {"tool_calls": list(deltas)}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def piece(index, arguments="", **fields):
    function = {"arguments": arguments} | ({"name": fields.pop("name")} if "name" in fields else {})
    return {"index": index, "function": function} | fields


def test_tools_are_offered_and_their_history_is_told():
    script = Script((200, ANSWER))
    messages = [
        ChatMessage("user", "How is it in Rome?"),
        ChatMessage("assistant", "", tool_calls=(CALL,)),
        ChatMessage("tool", "Sunny.", tool_call_id="c1"),
    ]
    run(script, prompt=Prompt(messages, tools=[WEATHER], tool_choice="weather"))
    request = script.requests[0][1]
    assert request["tools"][0]["function"] == {
        "name": "weather",
        "description": "Tells it.",
        "parameters": WEATHER.parameters,
    }
    assert request["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert request["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    ]
    assert request["messages"][2] == {"role": "tool", "content": "Sunny.", "tool_call_id": "c1"}


def test_without_tools_nothing_is_said_of_them():
    script = Script((200, ANSWER))
    run(script)
    assert not {"tools", "tool_choice"} & script.requests[0][1].keys()


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [[piece(0, name="weather", id="c1")], [piece(0, '{"city": ')], [piece(0, '"Rome"}')]],
            [CALL],
            id="in pieces",
        ),
        pytest.param([[piece(0, '{"city": "Rome"}', name="weather", id="c1")]], [CALL], id="in one piece"),
        pytest.param(
            [
                [piece(0, name="weather", id="c1"), piece(1, name="time", id="c2")],
                [piece(1, '{"zone": "C')],
                [piece(0, '{"city": "Rome"}'), piece(1, 'ET"}')],
            ],
            [CALL, ToolCall("c2", "time", '{"zone": "CET"}')],
            id="two at once, mixed",
        ),
        pytest.param(
            [[piece(0, "{}", name="a", id="x")], [piece(0, "{}", name="b", id="y")]],
            [ToolCall("x", "a", "{}"), ToolCall("y", "b", "{}")],
            id="two under one number, as Ollama",
        ),
        pytest.param([[piece(0, name="time", id="c2")]], [ToolCall("c2", "time", "{}")], id="no arguments"),
        pytest.param(
            [[piece(0, '{"a": {"b": "}"}', name="deep", id="d")], [piece(0, "}")]],
            [ToolCall("d", "deep", '{"a": {"b": "}"}}')],
            id="braces within",
        ),
        pytest.param(
            [[{"function": {"name": "weather", "arguments": '{"city": "Rome"}'}, "id": "c1"}]],
            [CALL],
            id="no number",
        ),
        pytest.param(
            [
                [piece(0, name="wea", id="c1")],
                [piece(0, name="ther")],
                *([piece(0, sign)] for sign in CALL.arguments),
            ],
            [CALL],
            id="sign by sign",
        ),
        pytest.param(
            [[piece(0, part, name="weather", id="c1")] for part in ("", '{"city": ', '"Rome"}')],
            [CALL],
            id="name and id in each piece",
        ),
        pytest.param(
            [[piece(0, '{"city": ', name="weather", id="c1")], [piece(0, '"Rome"}', id="c2")]],
            [CALL],
            id="an id made up for each piece",
        ),
        pytest.param(
            [[{"index": "0", "id": "c1", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]],
            [CALL],
            id="arguments as an object, a number as text",
        ),
        pytest.param(
            [[piece(0, json.dumps(CALL.arguments), name="weather", id="c1")]], [CALL], id="encoded twice"
        ),
        pytest.param(
            [
                [piece(0, "{}", name="weather", id="c1")],
                [piece(0, CALL.arguments)],
                [piece(0, CALL.arguments)],
            ],
            [CALL],
            id="a place kept for arguments, which come twice",
        ),
        pytest.param(
            [[piece(0, CALL.arguments, name="weather", id=7)]],
            [ToolCall("7", "weather", CALL.arguments)],
            id="an id that is a number",
        ),
    ],
)
def test_a_call_is_given_when_it_is_whole(deltas, expected):
    stream = [chunk("Let me see. "), *(calling(*delta) for delta in deltas), chunk(finish="tool_calls")]
    pieces, _ = run(Script((200, stream)), prompt=Prompt(PROMPT.messages, tools=[WEATHER]))
    assert pieces == ["Let me see. ", *expected]


def test_a_call_alone_is_a_first_token():
    script = Script((200, [calling(piece(0, "{}", name="time", id="c")), None]), (200, ANSWER))
    with pytest.raises(StageFailed, match="broke off"):
        run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([piece(0, '{"city": ', name="weather", id="c1")], id="cut short"),
        pytest.param([piece(0, "[1]", name="weather", id="c1")], id="no object"),
        pytest.param([piece(0, '{"a": 1}', id="c1")], id="no name"),
        pytest.param([piece(0, '{"a": 1}', name="a", id="c"), piece(0, '{"b": 1}')], id="more after its end"),
        pytest.param([piece(0, "{'a': 1}", name="a", id="c")], id="no JSON, but nearly"),
        pytest.param([{"index": 0, "id": "c", "function": "weather"}], id="a function that is a name"),
        pytest.param([piece("zero", "{}", name="a")], id="a number that is none"),
        pytest.param([piece(0, 7, name="a")], id="arguments that are no text"),
        pytest.param(["weather"], id="a call that is none"),
        pytest.param([piece(0, name="n" * 65)], id="a name without end"),
        pytest.param([piece(n, "{", name="a") for n in range(17)], id="too many"),
        pytest.param([piece(0, '{"a": "' + "x" * 20_001, name="a")], id="arguments without end"),
    ],
)
def test_a_call_that_is_malformed_fails_the_reply_and_is_not_spoken(deltas):
    script = Script((200, [chunk("One. "), calling(*deltas), chunk(finish="tool_calls")]))
    with pytest.raises(StageFailed, match=r"call|broke off"):
        run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))


@settings(max_examples=30)
@given(st.data())
def test_calls_survive_any_cutting_and_mixing(data):
    """However a server cuts its calls, and in whatever order their pieces come."""
    wanted = [
        ToolCall(f"c{number}", f"f{number}", json.dumps(arguments, ensure_ascii=data.draw(st.booleans())))
        for number, arguments in enumerate(
            data.draw(st.lists(st.dictionaries(st.text(), st.text()), min_size=1, max_size=4))
        )
    ]
    queues = []
    for number, call in enumerate(wanted):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(call.arguments)), max_size=6)))
        parts = [call.arguments[a:b] for a, b in pairwise([0, *cuts, len(call.arguments)])]
        queues.append([{"index": number, "id": call.id, "function": {"name": call.name, "arguments": ""}},
                       *({"index": number, "function": {"arguments": part}} for part in parts)])  # fmt: skip
    calls, found = Calls(), []
    while left := [queue for queue in queues if queue]:
        found += calls.add_delta(data.draw(st.sampled_from(left)).pop(0), 0)
    found += calls.finish()
    assert sorted(found, key=lambda call: call.id) == wanted


@given(st.lists(st.text(st.sampled_from('<|tol_ca>[]{}"name: FUNCTIO ')), max_size=12))
def test_text_is_let_through_whole_or_is_a_call(pieces):
    text = TextCalls(offered=True)
    try:
        said = "".join(map(text.take, pieces)) + text.rest()
    except StageFailed:
        packed = "".join("".join(pieces).split())
        assert any(mark in "".join(pieces) for mark in MARKS) or packed.startswith(FIELDS)
    else:
        assert said == "".join(pieces) and not any(mark in said for mark in MARKS)


def test_an_id_that_is_missing_is_made_up_and_no_two_are_the_same():
    whole = [piece(n, '{"city": "Rome"}', name="weather") for n in range(2)]
    pieces, _ = run(
        Script((200, [calling(*whole), chunk(finish="stop")])),
        prompt=Prompt(PROMPT.messages, tools=[WEATHER]),
    )
    assert len({call.id for call in pieces}) == 2 and all(call.id for call in pieces)


def test_a_call_that_was_cut_at_the_longest_answer_is_left_out():
    stream = [chunk("One. "), calling(piece(0, '{"city": ', name="weather", id="c1")), chunk(finish="length")]
    pieces, usage = run(Script((200, stream)), prompt=Prompt(PROMPT.messages, tools=[WEATHER]))
    assert (pieces, usage.stopped) == (["One. "], "length")


def test_a_server_that_does_not_stream_calls_is_understood():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": CALL.arguments}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    script = Script((200, [f"data: {json.dumps({'choices': [choice]})}\n\n"]))
    assert run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))[0] == [CALL]


@pytest.mark.parametrize(
    "said",
    [
        ["<tool_call>", '\n{"name": "weather"}', "</tool_call>"],
        ["Let me see. <", "tool", '_call>{"name": "weather"}'],
        ["[TOOL", "_CALLS]", '[{"name": "weather"}]'],
        ['{"na', 'me": "weather", "parameters": {}}'],
        ["  ", "[", '{"name"', ': "weather"}]'],
        ["<|python_tag|>weather.call()"],
    ],
)
def test_a_call_that_is_written_as_text_is_not_spoken(said):
    script = Script((200, [*map(chunk, said), chunk(finish="stop")]))
    with pytest.raises(StageFailed, match="as text: its server must read it"):
        run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))


@pytest.mark.parametrize(
    "said",
    [
        ["a < b and b <", " c <t", "ool> or <"],
        ["{", "curly}", ' {"name": 1}'],
        ["[1]", " is a list [", "TOOL"],
        ['{"name'],
        ["He", "llo"],
    ],
)
def test_what_only_looks_like_a_call_is_spoken_whole(said):
    script = Script((200, [*map(chunk, said), chunk(finish="stop")]))
    assert "".join(run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))[0]) == "".join(said)


def test_who_was_offered_no_tools_may_speak_of_calls():
    said = '{"name": "<tool_call>"}'
    assert run(Script((200, [chunk(said), chunk(finish="stop")])))[0] == [said]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            '{"error": {"message": "tool_choice is not supported by me", "param": "tool_choice"}}',
            "named tool_choice;",
        ),
        ('{"error": "you lack --enable-auto-tool-choice"}', "named --enable-auto-tool-choice;"),
        ("<html>no</html>", r"status 400; it was offered tools.*llama\.cpp: --jinja"),
    ],
)
def test_a_server_that_refuses_tools_is_an_error_that_says_so_and_nothing_of_what_was_said(page, told):
    with pytest.raises(StageFailed, match=told) as raised:
        run(Script((400, [page])), prompt=Prompt(PROMPT.messages, tools=[WEATHER], tool_choice="required"))
    assert "by me" not in str(raised.value) and "you lack" not in str(raised.value)


def test_the_usual_choice_is_not_sent_for_some_servers_know_none():
    script = Script((200, ANSWER))
    run(script, prompt=Prompt(PROMPT.messages, tools=[WEATHER]))
    assert "tool_choice" not in script.requests[0][1]


@pytest.mark.parametrize(
    "delta", [{"content": 7}, {"content": ["a"]}, {"tool_calls": {"a": 1}}, {"tool_calls": "a"}, "text"]
)
def test_a_delta_of_another_shape_fails_the_reply(delta):
    broken = f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"
    with pytest.raises(StageFailed, match="sent"):
        run(Script((200, [chunk("One. "), broken])))


# --- what a model is shown


def test_old_messages_go_with_the_results_of_their_tools():
    call = ChatMessage("assistant", "x" * 300, tool_calls=(CALL,))
    result = ChatMessage("tool", "Sunny.", tool_call_id="c1")
    system, question = ChatMessage("system", "Be brief."), ChatMessage("user", "And now?")
    assert fitting([system, call, result, question], 60) == [system, question]
    assert fitting([system, question, call, result], 60) == [system, call, result]
    assert fitting([system, call, result, question], 1000) == [system, call, result, question]


def test_nobody_speaks_as_somebody_else():
    marks = marks_of(["<|im_start|>", "<|im_end|>", "  "])
    said = "a<|im_st<|im_end|>art|>b<|im_end|>  c"
    assert chat([ChatMessage("user", said)], marks)[0]["content"] == "a<|im_st art|>b   c"
    assert marks_of([]) is None


def test_a_profile_takes_the_key_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr("config.settings.PROFILES", tmp_path)
    (tmp_path / "own.yaml").write_text(
        "stt: {engine: 'null', slots: 1}\ntts: {engine: 'null', slots: 1}\n"
        "llm: {engine: openai, slots: 1, options: {api_key: '${TEST_LLM_KEY}',"
        " urls: [{url: 'http://a/v1', api_key: '${TEST_LLM_KEY}'}]}}\n"
    )
    with pytest.raises(ConfigError, match="TEST_LLM_KEY"):
        load("own")
    monkeypatch.setenv("TEST_LLM_KEY", "from outside")
    options = load("own").llm.options
    assert options["api_key"] == options["urls"][0]["api_key"] == "from outside"
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
