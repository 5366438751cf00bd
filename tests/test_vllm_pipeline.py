"""Four people talk at once to a whole server whose language model is vLLM: real speech in, speech out."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from bench import speech
from bench.server import running
from bench.talker import Answered, Talker
from bench.voice import BRIEF, BRIEF_TOKENS
from cli.loadtest import histogram
from tests import smollm
from tests import speech as recordings
from tests.conftest import missing, needs_redis

pytestmark = [pytest.mark.vllm, pytest.mark.server, pytest.mark.slow]

#: `up` and all workers but the LLM's run by `.venv`, as they do for who serves with vLLM.
ROOT = Path(__file__).parent.parent

PEOPLE, TURNS = 4, 3

#: Of the worker, from the claim of a reply. They are printed, not judged: `python -m bench llm` has the bars.
TIMES = ("antiphon_llm_first_token_seconds", "antiphon_llm_first_word_seconds")


async def talk(url, script):
    async with Talker.open(url, BRIEF, BRIEF_TOKENS) as talker:
        return [await talker.ask(utterance) for utterance in script]


async def all_talk(url):
    people = speech.human()
    scripts = [[people[(number + turn) % len(people)] for turn in range(TURNS)] for number in range(PEOPLE)]
    answers = await asyncio.gather(*(talk(url, script) for script in scripts))
    return [answered for one in answers for answered in one]


def test_four_people_talk_to_a_server_with_vllm():
    needs_redis()
    if not recordings.there():
        missing("moonshine-voice, whose recordings are the people")
    settings = {
        "ANTIPHON_LLM__ENGINE": "vllm",
        "ANTIPHON_LLM__PYTHON": sys.executable,
        "ANTIPHON_LLM__SLOTS": str(PEOPLE),
        "ANTIPHON_LLM__OPTIONS": json.dumps(smollm.options()),
    }
    with running("embedded", settings, python=str(ROOT / ".venv/bin/python")) as server:
        before = {name: histogram.read(server.page("llm"), name) for name in TIMES}
        answers = asyncio.run(all_talk(server.url))
        took = {name: histogram.read(server.page("llm"), name) - before[name] for name in TIMES}
    answered = [one.voice_to_voice_ms for one in answers if one.voice_to_voice_ms is not None]
    print(
        f"\n{len(answered)} of {len(answers)} utterances answered; ready after {server.ready_s:.0f} s; voice to voice, "
        f"median {sorted(answered)[len(answered) // 2]:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    for name, times in took.items():
        p50, p95 = times.quantile(0.5), times.quantile(0.95)
        print(f"{name}: {times.count} replies, mean {1e3 * (times.mean or 0):.0f} ms, p50 {p50}, p95 {p95}")
    assert len(answered) == PEOPLE * TURNS, [one for one in answers if one.voice_to_voice_ms is None]
    assert all(isinstance(one, Answered) and one.understood for one in answers)
    assert all(times.count >= PEOPLE * TURNS for times in took.values())
