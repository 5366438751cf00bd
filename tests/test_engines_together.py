"""Engines of all stages in one process, at once, where they say that they share one."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from config.engine_choice import EngineChoice
from config.messages import VoiceStarted
from gpu_workers import loader
from gpu_workers.engine import Prompt
from tests import speech
from tests.conftest import missing
from tests.engine_cases import case
from tests.engine_drivers import SLOTS, Ears, answer, running, speak, warm
from tests.test_llm_contract import QUESTION

#: Two engines of each stage that could be on one machine.
COMPANIES = {
    "null": ("null", "null", "null"),
    "embedded": ("embedded", "llama", "piper"),
    "second": ("whisper", "llama", "mixed"),
}

TEXT = "Hello there! It is a fine day, and the 2 of us are in the park. Goodbye."


def company(names):
    return dict(zip(("stt", "llm", "tts"), names, strict=True))


@pytest.mark.parametrize(
    "names",
    [pytest.param(names, id=id, marks=[] if id == "null" else pytest.mark.model) for id, names in COMPANIES.items()],
)  # fmt: skip
def test_they_listen_think_and_speak_at_the_same_time(names):
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    of = company(names)
    stt, tts = warm("stt", of["stt"]), warm("tts", of["tts"])
    for stage, name in of.items():
        choice = EngineChoice(engine=name, slots=SLOTS, options=case(stage, name).options())
        assert loader.needs(stage, choice, SLOTS).shares_process
    pcm = np.concatenate([speech.silence(0.5), speech.recording("two_cities")[24_000:110_400]])
    together = threading.Barrier(3, timeout=30)

    def listen():
        together.wait()
        ears = Ears(stt, 0, 1).hear(s0=pcm, s1=speech.silence(len(pcm) / speech.RATE))
        return ears.commit(0).text, ears.of(0, VoiceStarted), ears.facts[1]

    def say():
        together.wait()
        return speak(tts, {0: TEXT, 1: "Hello."})

    with ThreadPoolExecutor(2) as threads, running(of["llm"]) as (engine, runner):
        heard, spoken = threads.submit(listen), threads.submit(say)
        together.wait()
        prompts = [Prompt(QUESTION, max_tokens=16, session=str(number)) for number in range(2)]

        async def think():
            return await asyncio.gather(*(answer(engine, prompt) for prompt in prompts))

        assert all(text.strip() for text, _ in runner.run(think()))
        text, started, neighbour = heard.result(timeout=60)
        assert text and started and not neighbour
        frames = spoken.result(timeout=60)
    assert frames[0][-1].spoken == len(TEXT.split()) and frames[1][-1].spoken == 1
    assert not stt.faults() and not tts.faults()
