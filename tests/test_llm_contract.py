"""What every language model engine keeps, the null one and the real ones alike; tests/engine_cases.py says who is
excused from what.
"""

import asyncio
import time

import pytest

from config.errors import PromptTooLong, StageFailed
from config.messages import ChatMessage
from gpu_workers.engine import Prompt
from tests.engine_drivers import SLOTS, answer, engines, running

QUESTION = [
    ChatMessage("system", "You answer in one short sentence."),
    ChatMessage("user", "What is the capital of France?"),
]


@pytest.fixture(scope="module", params=engines("llm"))
def llm(request):
    name, _ = request.param
    with running(name) as (engine, runner):
        yield engine, runner


def asked(text):
    return [ChatMessage("system", "You answer in one short sentence."), ChatMessage("user", text)]


def test_an_answer_streams_and_is_counted(llm):
    engine, runner = llm
    text, usage = runner.run(answer(engine, Prompt(QUESTION, max_tokens=24, session="a")))
    assert text.strip() and usage.output_tokens > 0
    assert usage.stopped in ("stop", "length")


def test_an_answer_ends_at_its_longest(llm):
    engine, runner = llm
    story = [ChatMessage("user", "Tell me a very long story.")]
    _, usage = runner.run(answer(engine, Prompt(story, max_tokens=3, session="a")))
    assert 0 < usage.output_tokens <= 3 and usage.stopped == "length"


def test_answers_of_all_slots_at_once(llm):
    engine, runner = llm

    async def all_at_once():
        prompts = [Prompt(QUESTION, max_tokens=8, session=f"s{number}") for number in range(SLOTS + 1)]
        return await asyncio.gather(*(answer(engine, prompt) for prompt in prompts))

    assert all(text.strip() for text, _ in runner.run(all_at_once()))


def test_an_answer_is_the_same_beside_others(llm):
    """Of a model at temperature 0; the others come, go and are called off meanwhile."""
    engine, runner = llm
    prompt = Prompt(QUESTION, temperature=0.0, max_tokens=8, session="same")

    async def beside():
        others = [
            answer(engine, Prompt(asked(text), max_tokens=12, session=text), stop_after)
            for text, stop_after in (("Count to ten.", 1), ("Who are you?", 10_000))
        ]
        text, *_ = await asyncio.gather(answer(engine, prompt), *others)
        return text[0]

    alone, _ = runner.run(answer(engine, prompt))
    assert runner.run(beside()) == alone


def test_a_closed_answer_frees_the_model_soon(llm):
    engine, runner = llm
    story = [ChatMessage("user", "Tell me a very long story. " * 20)]

    async def closed():
        await answer(engine, Prompt(story, session="a"), stop_after=2)
        began = time.monotonic()
        await answer(engine, Prompt(QUESTION, session="a"), stop_after=1)
        return time.monotonic() - began

    assert runner.run(closed()) < 1.5


def test_an_answer_that_is_called_off_before_its_first_word_frees_its_slot(llm):
    engine, runner = llm

    async def called_off():
        story = [ChatMessage("user", "Tell me a very long story. " * 40)]
        tasks = [
            asyncio.create_task(answer(engine, Prompt(story, session=f"c{number}")))
            for number in range(2 * SLOTS)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await asyncio.wait_for(answer(engine, Prompt(QUESTION, max_tokens=4, session="c0")), 40)

    assert runner.run(called_off())[0].strip()


def test_a_prompt_read_ahead_is_answered(llm):
    engine, runner = llm

    async def ahead():
        await engine.prefill(Prompt(QUESTION, session="p"))
        return await answer(engine, Prompt(QUESTION, max_tokens=8, session="p"))

    assert runner.run(ahead())[0].strip()


def test_an_answer_is_continued_not_begun_again(llm):
    engine, runner = llm
    if not engine.continues:
        pytest.skip("it does not continue")
    prompt = Prompt(QUESTION, temperature=0.0, max_tokens=12, answered="alpha bravo charlie ", session="c")
    text, _ = runner.run(answer(engine, prompt))
    assert not text.startswith((" ", "alpha"))


STRANGE = {
    "nothing": "",
    "spaces": "   \n ",
    "emoji": "What is 👩‍👩‍👧‍👦 🎉?",
    "right to left": "שלום مرحبا \u202e?",
    "combining marks": "Z̷̧̛a̸͝l̵g̶o cafe\u0301",
    "control characters": "A\x00B \x07\x1b[31m\x7f",
    "marks of chat formats": "<|im_end|>\n<|im_start|>system\n</s>[INST] <|endoftext|>",
    "the edge of unicode": "\U0010ffff \ufffd \ufeff",
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_whatever_is_asked_is_answered(llm, text):
    engine, runner = llm
    said, _ = runner.run(answer(engine, Prompt(asked(text), max_tokens=4, session="u")))
    said.encode()  # whole characters


def test_a_question_longer_than_the_window_is_refused_or_answered_and_harms_nobody(llm):
    engine, runner = llm

    async def too_long():
        prompt = Prompt(asked("word " * 20_000), max_tokens=4, session="l")
        beside = asyncio.create_task(answer(engine, Prompt(QUESTION, max_tokens=4, session="m")))
        try:
            await asyncio.wait_for(answer(engine, prompt), 40)
        except (StageFailed, PromptTooLong) as error:
            assert str(error)
        return [await beside, await answer(engine, Prompt(QUESTION, max_tokens=4, session="l"))]

    assert all(text.strip() for text, _ in runner.run(too_long()))
