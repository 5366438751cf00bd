"""Replies that call the server's own functions: what the model is shown, what is said, what a successor does again."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.errors import ConfigError
from config.messages import (
    Body,
    Called,
    ChatMessage,
    Consulted,
    Consulting,
    Failed,
    Order,
    TextDone,
    Tool,
    ToolCall,
    Words,
)
from config.own_tools import ToolSettings
from gpu_workers.clauses.speech_text import Rules, clause
from gpu_workers.engine import Prompt, Usage
from tasks import streams
from tasks.leases import Emitter, Lease
from tasks.llm_loop import LlmLoop, Pen
from tasks.own_tools import ENOUGH, UNKNOWN, OwnTools, require_room
from tasks.talk import Talk
from tasks.tool_threads import ToolThreads
from tasks.toolbox import OwnTool, own_tool
from tests.samples import Change

DEADLINE_S = 10.0

Answer = list[str | ToolCall]
Script = Callable[[Prompt], Answer]


class Scripted:
    """A model that answers as a function of its prompt says; each answer costs ten tokens and two."""

    slots = 2

    def __init__(self, script: Script, *, continues: bool = True) -> None:
        self.continues = continues
        self.prompts: list[Prompt] = []
        self.read_ahead: list[Prompt] = []
        self._script = script

    async def warm_up(self) -> None: ...

    async def prefill(self, prompt: Prompt) -> None:
        self.read_ahead.append(prompt)

    async def generate(self, prompt: Prompt, usage: Usage) -> AsyncIterator[str | ToolCall]:
        self.prompts.append(prompt)
        usage.input_tokens, usage.output_tokens = 10, 2
        for piece in self._script(prompt):
            await asyncio.sleep(0)
            yield piece

    async def close(self) -> None: ...


def settings(**wanted: Any) -> ToolSettings:
    return ToolSettings(**{"wait_phrase_after_ms": 0, **wanted})


def tools(*functions: Callable[..., Any]) -> dict[str, OwnTool]:
    return {function.__name__: own_tool(function, Path(__file__)) for function in functions}


def weather(town: str) -> str:
    """The weather of a town."""
    return f"Sunny in {town}."


def call(name: str = "weather", arguments: str = '{"town": "Rome"}', id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments)


def told(prompt: Prompt) -> list[str]:
    """What the model was told by functions."""
    return [message.content for message in prompt.messages if message.role == "tool"]


def asks_once(prompt: Prompt) -> Answer:
    """For the weather; and says it."""
    return [f"It is: {told(prompt)[-1]}"] if told(prompt) else [call()]


def order(**more: Any) -> Order:
    return Order(1, [ChatMessage("user", "How is it?")], voice="nova", format="pcm16", **more)


Write = Callable[..., list[Body]]


@pytest.fixture
def write(media: redis.Redis, new_sid: Callable[[], str]) -> Iterator[Write]:
    """Writes one reply to its end; all that was said of it."""
    loops: list[LlmLoop] = []

    def written(
        engine: Scripted, own: OwnTools, *, of: Order | None = None, before: tuple[Body, ...] = ()
    ) -> list[Body]:
        loop = LlmLoop(engine, Emitter(media, 100, 60), 2, own)  # type: ignore[arg-type]
        loops.append(loop)
        talk, own_talk = Talk(), Talk()
        for body in before:
            talk.take(body)
            own_talk.take(body)
        slot = loop.take_slot()
        assert slot is not None
        pen = Pen(Lease("llm", new_sid(), "me-1", 1, 1), slot, order=of or order(), talk=own_talk)
        loop.enter(pen)
        loop.start()
        assert pen.over.wait(DEADLINE_S), "the reply is never over"
        said = [result.body for result in streams.results_after(media, "llm", pen.sid, 1, 0, 0)]
        for body in said:
            talk.take(body)
        assert (talk.words, talk.rounds) == (pen.talk.words, pen.talk.rounds), (
            "a successor would know the same"
        )
        return said[1:]  # that it was claimed

    yield written
    for loop in loops:
        loop.stop()
        loop.join(DEADLINE_S)


def text(bodies: list[Body]) -> str:
    return "".join(word for body in bodies if isinstance(body, Words) for word in body.words)


def kinds(bodies: list[Body]) -> list[str]:
    return [type(body).__name__ for body in bodies]


# --- one reply


def test_the_result_goes_back_to_the_model_and_the_same_reply_goes_on(write: Write) -> None:
    engine = Scripted(asks_once)
    said = write(engine, OwnTools(tools(weather), settings()))
    assert kinds(said) == ["Consulting", "Consulted", "Words", "Words", "TextDone"]
    assert text(said) == "It is: Sunny in Rome."
    assert said[-1] == TextDone(5, "stop", 20, 4), "both answers are counted"
    asked, after = engine.prompts
    assert [tool.name for tool in asked.tools] == ["weather"]
    assert after.messages[1:] == [
        ChatMessage("assistant", "", (call(),)),
        ChatMessage("tool", "Sunny in Rome.", tool_call_id="c1"),
    ]


def test_what_is_said_before_a_call_is_spoken_meanwhile_and_never_said_again(write: Write) -> None:
    engine = Scripted(lambda prompt: [" It is sunny."] if told(prompt) else ["Let me ", "see", call()])
    said = write(engine, OwnTools(tools(weather), settings()))
    assert kinds(said)[:3] == ["Words", "Words", "Consulting"], "the sentence ends before the wait"
    assert text(said) == "Let me see. It is sunny."
    assert engine.prompts[1].messages[1].content == "Let me see."


def test_several_calls_run_at_once_and_their_results_keep_their_order(write: Write) -> None:
    meet = threading.Barrier(2, timeout=DEADLINE_S)

    def look(town: str) -> str:
        """Looks."""
        meet.wait()
        return town

    both: Answer = [call("look", f'{{"town": "{town}"}}', town) for town in ("Rome", "Oslo")]
    engine = Scripted(lambda prompt: [" ".join(told(prompt))] if told(prompt) else both)
    assert text(write(engine, OwnTools(tools(look), settings()))) == "Rome Oslo"


def test_a_functions_of_the_clients_of_the_same_name_wins(write: Write) -> None:
    engine = Scripted(asks_once)
    said = write(engine, OwnTools(tools(weather), settings()), of=order(tools=[Tool("weather", "Theirs.")]))
    assert [tool.description for tool in engine.prompts[0].tools] == ["Theirs."]
    assert kinds(said) == ["Called", "TextDone"]


@pytest.mark.parametrize("choice", ["none", "required", "theirs"])
def test_who_does_not_leave_the_choice_to_the_model_is_offered_none_of_ours(
    write: Write, choice: str
) -> None:
    engine = Scripted(lambda prompt: ["Well."])
    write(engine, OwnTools(tools(weather), settings()), of=order(tools=[Tool("theirs")], tool_choice=choice))
    assert [tool.name for tool in engine.prompts[0].tools] == ["theirs"]


def test_beside_a_call_of_the_clients_the_reply_ends_with_our_results(write: Write) -> None:
    theirs = call("theirs", "{}", "c2")
    engine = Scripted(lambda prompt: [call(), theirs])
    said = write(engine, OwnTools(tools(weather), settings()), of=order(tools=[Tool("theirs")]))
    assert said[0] == Called(0, theirs) and kinds(said)[1:] == ["Consulting", "Consulted", "TextDone"]
    assert len(engine.prompts) == 1, "the model goes on when it knows both"


def test_a_model_that_asks_in_circles_is_told_to_answer(write: Write) -> None:
    def script(prompt: Prompt) -> Answer:
        return ["Enough."] if prompt.tool_choice == "none" else [call(id=f"c{len(told(prompt))}")]

    engine = Scripted(script)
    said = write(engine, OwnTools(tools(weather), settings(most_calls=3)))
    assert kinds(said).count("Consulted") == 3 and text(said) == "Enough."


def test_a_model_that_does_not_listen_ends_the_reply_with_an_error(write: Write) -> None:
    engine = Scripted(lambda prompt: [call()])
    said = write(engine, OwnTools(tools(weather), settings(most_calls=2)))
    assert said[-1] == Failed("llm_failed", "the model asks for functions without end")
    assert told(engine.prompts[-1])[-1] == ENOUGH


def test_no_more_tokens_are_spent_than_the_reply_may_have(write: Write) -> None:
    engine = Scripted(lambda prompt: [call()])
    said = write(engine, OwnTools(tools(weather), settings()), of=order(max_tokens=4))
    assert [prompt.max_tokens for prompt in engine.prompts] == [4, 2]
    assert isinstance(said[-1], TextDone) and said[-1].reason == "length"


def test_a_prompt_that_was_read_ahead_is_the_one_that_comes(write: Write, media: redis.Redis) -> None:
    """With its tools: they stand at the beginning, so that without them nothing read would be of use."""
    own = OwnTools(tools(weather), settings())
    engine = Scripted(lambda prompt: ["Well."])
    loop = LlmLoop(engine, Emitter(media, 100, 60), 2, own)  # type: ignore[arg-type]
    draft = order(tools=[Tool("theirs")])
    loop.prefill(draft, "session")
    loop._loop.run_until_complete(asyncio.sleep(0.01))
    write(engine, own, of=draft)
    (ahead,), (asked,) = engine.read_ahead, engine.prompts
    assert [tool.name for tool in ahead.tools] == ["theirs", "weather"]
    assert (ahead.messages, ahead.tools, ahead.tool_choice) == (
        asked.messages,
        asked.tools,
        asked.tool_choice,
    )


def test_results_push_old_messages_out_of_a_small_model_and_never_the_question(write: Write) -> None:
    def long(town: str) -> str:
        """Much."""
        return "word " * 300

    old = [ChatMessage(("user", "assistant")[n % 2], f"old {n} " * 20) for n in range(8)]
    asked = Order(
        1, [ChatMessage("system", "Be kind."), *old, ChatMessage("user", "How is it?")], "nova", "pcm16"
    )
    engine = Scripted(lambda prompt: ["Well."] if told(prompt) else [call("long")])
    write(engine, OwnTools(tools(long), settings(), window_tokens=1200), of=asked)
    first, second = engine.prompts
    assert len(first.messages) == len(asked.messages)
    assert len(second.messages) < len(first.messages) and second.messages[0].content == "Be kind."
    assert [message.content for message in second.messages if message.role == "user"][-1] == "How is it?"


def test_functions_that_leave_no_room_for_a_conversation_stop_the_start() -> None:
    def much(town: str) -> str:
        """Much."""
        return town

    much.__doc__ = "word " * 1000
    require_room(tools(much), None)
    require_room(tools(much), 8192)
    with pytest.raises(ConfigError, match=r"make about \d+ tokens, of 2048 .* shorten their docstrings"):
        require_room(tools(much), 2048)


# --- a wait


@pytest.fixture
def slow() -> Iterator[Callable[..., str]]:
    """A function that returns when it is let; nothing waits for it in vain."""
    go_on = threading.Event()

    def slow(town: str) -> str:
        """Takes its time."""
        go_on.wait(DEADLINE_S)
        return "Sunny."

    slow.go_on = go_on  # type: ignore[attr-defined]
    yield slow
    go_on.set()


def slow_answer(prompt: Prompt) -> Answer:
    return ["It is sunny."] if told(prompt) else [call("slow")]


def phrased(bodies: list[Body]) -> list[str]:
    return ["".join(body.words) for body in bodies if isinstance(body, Words) and body.filler]


def test_a_slow_function_is_bridged_by_a_phrase_that_the_model_never_sees(write: Write, slow: Any) -> None:
    threading.Timer(0.3, slow.go_on.set).start()
    engine = Scripted(slow_answer)
    said = write(engine, OwnTools(tools(slow), settings(wait_phrase_after_ms=20)))
    assert kinds(said)[:3] == ["Consulting", "Words", "Consulted"] and phrased(said) == ["One moment. "]
    assert text(said) == "One moment. It is sunny."
    assert engine.prompts[1].answered == "" and "moment" not in str(engine.prompts[1].messages)


@pytest.mark.parametrize(
    ("more", "of"),
    [
        pytest.param({"wait_phrase_after_ms": 0}, {}, id="switched off"),
        pytest.param({}, {"language": "xx"}, id="no phrase in the language"),
        pytest.param({}, {"spoken": False}, id="a reply without a voice"),
        pytest.param({"wait_phrases": {"en": " "}}, {}, id="an empty phrase"),
    ],
)
def test_nothing_bridges(write: Write, slow: Any, more: dict[str, Any], of: dict[str, Any]) -> None:
    threading.Timer(0.1, slow.go_on.set).start()
    own = OwnTools(tools(slow), settings(**{"wait_phrase_after_ms": 5, **more}))
    assert phrased(write(Scripted(slow_answer), own, of=order(**of))) == []


def test_who_spoke_before_needs_no_phrase(write: Write, slow: Any) -> None:
    threading.Timer(0.1, slow.go_on.set).start()
    engine = Scripted(lambda prompt: ["Sunny."] if told(prompt) else ["I look it up.", call("slow")])
    assert phrased(write(engine, OwnTools(tools(slow), settings(wait_phrase_after_ms=5)))) == []


def test_the_language_chooses_the_phrase(write: Write, slow: Any) -> None:
    threading.Timer(0.2, slow.go_on.set).start()
    own = OwnTools(tools(slow), settings(wait_phrase_after_ms=5))
    assert phrased(write(Scripted(slow_answer), own, of=order(language="fr-CA"))) == ["Un instant. "]


def test_the_usual_phrases_are_spoken_at_once() -> None:
    """A voice waits for the end of a clause."""
    for language, phrase in settings().wait_phrases.items():
        words = [f"{word} " for word in phrase.split()]
        assert clause(words, Rules(), first=True, done=False) == len(words), language  # type: ignore[call-arg]


@pytest.mark.parametrize(("on", "phrases"), [(False, []), (True, ["One moment. "])])
def test_calls_of_the_clients_are_announced_where_that_is_set(
    write: Write, on: bool, phrases: list[str]
) -> None:
    engine = Scripted(lambda prompt: [call("theirs", id="a"), call("theirs", id="b")])
    own = OwnTools({}, settings(wait_phrase_before_client_calls=on))
    said = write(engine, own, of=order(tools=[Tool("theirs")]))
    assert phrased(said) == phrases and kinds(said).count("Called") == 2


# --- replies made ahead, and successors


def test_a_reply_made_ahead_calls_nothing_before_it_is_let_out(write: Write) -> None:
    asked: list[tuple[str, int]] = []
    ran: list[int] = []

    def let_out(sid: str, reply: int) -> bool:
        asked.append((sid, reply))
        return len(asked) > 2

    def act(town: str) -> str:
        """Acts."""
        ran.append(len(asked))
        return "Done."

    engine = Scripted(lambda prompt: ["Done."] if told(prompt) else [call("act")])
    write(engine, OwnTools(tools(act), settings(), let_out))
    assert ran == [3]


def begun(*calls: ToolCall) -> tuple[Body, ...]:
    """What a predecessor left that died while functions ran."""
    return Words(0, ["Let ", "me ", "see. "], 0.0), Consulting(list(calls), 11.0)


def test_a_successor_runs_again_what_was_running_and_asks_the_model_for_what_follows(write: Write) -> None:
    engine = Scripted(asks_once)
    said = write(engine, OwnTools(tools(weather), settings()), before=begun(call()))
    assert kinds(said)[0] == "Consulted" and text(said) == "It is: Sunny in Rome."
    (asked,) = engine.prompts
    assert asked.messages[1] == ChatMessage("assistant", "Let me see.", (call(),))


def test_a_successor_does_not_run_again_what_has_effects(write: Write) -> None:
    ran: list[str] = []

    def book(town: str) -> str:
        """Books."""
        ran.append(town)
        return "Booked."

    book.once = True  # type: ignore[attr-defined]
    engine = Scripted(asks_once)
    write(engine, OwnTools(tools(book), settings()), before=begun(call("book")))
    assert ran == [] and told(engine.prompts[0]) == [UNKNOWN]


def test_a_successor_knows_what_functions_gave(write: Write) -> None:
    engine = Scripted(lambda prompt: [" and", " warm."])
    before = (*begun(call()), Consulted(["Sunny."]), Words(3, ["It ", "is ", "sunny "], 0.0))
    said = write(engine, OwnTools(tools(weather), settings()), before=before)
    (asked,) = engine.prompts
    assert told(asked) == ["Sunny."] and asked.answered == "It is sunny "
    assert kinds(said) == ["Words", "Words", "TextDone"] and said[-1] == TextDone(8, "stop", 10, 2)


def test_a_successor_with_other_functions_tells_the_model_so(write: Write) -> None:
    engine = Scripted(lambda prompt: ["Sorry."])
    write(engine, OwnTools({}, settings()), before=begun(call()))
    assert told(engine.prompts[0]) == ["There is no such function any more."]


# --- running one


def run(function: Callable[..., Any], arguments: str = "{}", **wanted: Any) -> str:
    async def one() -> str:
        return await ToolThreads(settings(**wanted)).run(own_tool(function, Path(__file__)), arguments)

    return asyncio.run(one())


def test_what_a_function_returns_is_told_as_text_or_json() -> None:
    results = iter(["plain", {"a": 1}, [1, "é"], None, 2.5])

    def found() -> Any:
        """Finds."""
        return next(results)

    assert [run(found) for _ in range(5)] == ["plain", '{"a":1}', '[1,"é"]', "Done.", "2.5"]


def test_a_long_result_is_cut_and_says_so() -> None:
    def much() -> str:
        """Much."""
        return "x" * 1000

    result = run(much, result_characters=100)
    assert len(result) == 100 and result.endswith("(the rest was cut off)")


def test_an_exception_is_a_result_and_its_words_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def explode(what: str) -> str:
        """Explodes."""
        raise RuntimeError(f"no {what} at db.internal")

    caplog.set_level(logging.DEBUG)
    assert run(explode, '{"what": "secret"}') == "The function failed (RuntimeError)."
    assert "RuntimeError at test_own_tools.py:" in caplog.text
    assert "secret" not in caplog.text and "db.internal" not in caplog.text


def test_a_value_error_is_for_the_model() -> None:
    def find() -> str:
        """Finds."""
        raise ValueError("there is no such town; ask for another")

    assert run(find) == "The function failed: there is no such town; ask for another"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), TimeoutError(), StopIteration()])
def test_whatever_is_raised_ends_the_call_alone(error: BaseException) -> None:
    def odd() -> str:
        """Odd."""
        raise error

    assert run(odd) == f"The function failed ({type(error).__name__})."


def test_what_is_no_json_is_a_failure() -> None:
    def thing() -> object:
        """Returns it."""
        return object()

    assert run(thing) == "The function failed."


def test_runs_are_counted_by_how_they_ended() -> None:
    def fail() -> str:
        """Fails."""
        raise ValueError("no")

    outcomes = ("done", "failed", "refused")
    counted = [Change("antiphon_tool_seconds_count", outcome=outcome) for outcome in outcomes]
    run(weather, '{"town": "Rome"}')
    run(fail)
    run(weather, "{}")
    assert [change() for change in counted] == [1, 1, 1]


def test_arguments_that_do_not_fit_are_told_and_nothing_runs(caplog: pytest.LogCaptureFixture) -> None:
    told = run(weather, '{"city": "Rome"}')
    assert told.startswith("The arguments do not fit: town: Field required; city: Extra inputs")
    assert run(weather, "Rome").startswith("The arguments do not fit: all of it: Invalid JSON")
    assert "Rome" not in caplog.text


def test_what_takes_too_long_is_given_up_and_holds_its_thread(slow: Any) -> None:
    async def story() -> tuple[str, str, str]:
        threads = ToolThreads(settings(timeout_s=0.05, at_once=1))
        late = await threads.run(own_tool(slow, Path(__file__)), '{"town": "Rome"}')
        full = await threads.run(own_tool(weather, Path(__file__)), '{"town": "Rome"}')
        slow.go_on.set()
        deadline = time.monotonic() + DEADLINE_S
        while (free := await threads.run(own_tool(weather, Path(__file__)), '{"town": "Rome"}')) == full:
            assert time.monotonic() < deadline
        return late, full, free

    gave_up = "There is no result: it took longer than 0.05 s."
    assert asyncio.run(story()) == (gave_up, gave_up, "Sunny in Rome.")


def test_a_coroutine_ends_at_its_timeout() -> None:
    ended = threading.Event()

    async def forever() -> str:
        """Never ends."""
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return ""

    assert run(forever, timeout_s=0.05).startswith(
        ("There is no result", "The function failed (TimeoutError)")
    )
    assert ended.wait(DEADLINE_S)
