"""A death of any process in the middle of a turn loses nothing: real processes, null engines, kill -9."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from celery import Celery

from config import redis_keys as keys
from config.messages import Order, encode
from config.settings import SAMPLE_RATE
from config.tuning import OwnershipSettings
from config.versions import VERSION
from tasks.leases import Leases
from tests import fair_clock
from tests.house import House, open_house, wait_for
from tests.talker import PATIENCE_S, Talker
from tests.whole import SPEECH_S, assert_undisturbed, assert_whole

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: The bar with a second warm worker: from the kill until somebody else works on it.
TAKEOVER_S = 2.5

#: The bar for telling a client that nobody can go on with its turn.
TOLD_S = 3.0

#: A worker that is told to end hands its sessions over within this time.
HANDED_OVER_S = 0.5


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), workers=2) as house:
        yield house


@pytest.fixture
def house(stack: House) -> Iterator[House]:
    """The module's stack, with two warm workers for each stage whatever the test before killed."""
    stack.furnish(workers=2)
    yield stack
    stack.replace_dead(workers=2)


Come = Callable[[Talker], Awaitable[object]]


@dataclass(frozen=True)
class Moment:
    """When who is killed."""

    stages: tuple[str, ...]
    come: Come


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
    await talker.wait(lambda: _words_of(talker, 1), PATIENCE_S, "the first word")


async def _some_words(talker: Talker) -> None:
    await talker.wait(lambda: _words_of(talker, 6), PATIENCE_S, "six words")


async def _some_audio(talker: Talker) -> None:
    await talker.wait(lambda: _audio_of(talker, 1.0), PATIENCE_S, "a second of audio")


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
    """Waits until somebody holds the stage in a later epoch; returns the moment by the fair clock."""
    while True:
        holder = house.holder(stage, sid)
        if holder is not None and holder.epoch > epoch:
            return fair_clock.now_s()
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
        killed_s = fair_clock.now_s()
        for child in doomed:
            child.kill()
        for stage in moment.stages:
            moved_s = await asyncio.wait_for(
                taken_over(house, stage, talker.sid, before[stage].epoch), PATIENCE_S
            )
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


#: When each moment comes after the user began to speak, about.
COMES_AFTER_S: dict[Come, float] = {
    _speaking: 1.0, _paused: 1.6, _asked: 2.2, _first_word: 2.4, _some_words: 2.8, _some_audio: 3.3,
}  # fmt: skip


@asynccontextmanager
async def talkers_at(house: House, *moments: Come) -> AsyncIterator[list[Talker]]:
    """One talker for each moment, each of them there at the same time."""
    last_s = max(COMES_AFTER_S[come] for come in moments)

    async def reach(talker: Talker, come: Come) -> None:
        await asyncio.sleep(0.3 + last_s - COMES_AFTER_S[come])
        talker.speak(SPEECH_S)
        await come(talker)

    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url)) for _ in moments]
        await asyncio.gather(*map(reach, talkers, moments))
        yield talkers


async def assert_all_whole(talkers: list[Talker]) -> None:
    """Everybody's first turn."""
    for talker in talkers:
        assert_whole(talker, await talker.answered(1))


async def assert_next_turns(talkers: list[Talker]) -> None:
    """Every session is as good as new."""
    numbers = [len(talker.answers) + 1 for talker in talkers]
    for talker in talkers:
        talker.user_texts.clear()
        talker.speak(SPEECH_S)
    for talker, number in zip(talkers, numbers, strict=True):
        assert_whole(talker, await talker.answered(number))


@pytest.mark.parametrize("died", ["before", "after"])
def test_a_committed_utterance_outlives_its_listener_that_died(died: str, house: House) -> None:
    asyncio.run(_committed(died, house))


async def _committed(died: str, house: House) -> None:
    """The successor reads the commit of the turn before as well: it must not pass for the one that is awaited."""
    async with Talker(house.url, detection=None) as talker:
        await asyncio.sleep(0.3)
        for turn in (1, 2):
            talker.user_texts.clear()
            if turn == 2 and died == "before":
                house.worker_of("stt", talker.sid).kill()
            talker.speak(SPEECH_S - 0.05)
            await talker.spoken()
            if turn == 2 and died == "after":
                house.worker_of("stt", talker.sid).kill()
            await talker.send("input_audio_buffer.commit")
            await talker.send("response.create")
            assert_whole(talker, await talker.answered(turn))
        assert not talker.errors, talker.story()


EVERY_PHASE = (_speaking, _paused, _asked, _some_words, _some_audio)


def test_clients_that_return_go_on_when_web_died(house: House) -> None:
    asyncio.run(_web_dies(house))


async def _web_dies(house: House) -> None:
    async with talkers_at(house, *EVERY_PHASE) as talkers:
        killed_s = fair_clock.now_s()
        house.kill_web()
        await assert_all_whole(talkers)
        for talker in talkers:
            print(f"\nback after {talker.next_after(killed_s, 'session.created'):.2f} s", end="")
            assert not talker.errors, talker.story()
        await assert_next_turns(talkers)


def test_clients_go_on_when_all_of_web_died_and_came_back(house: House) -> None:
    asyncio.run(_all_of_web_dies(house))


async def _all_of_web_dies(house: House) -> None:
    async with talkers_at(house, *EVERY_PHASE) as talkers:
        house.kill_web_whole()
        with house.state.server.client(0) as state:
            left_s = [state.ttl(keys.session(talker.sid)) for talker in talkers]
        assert all(100 < left <= OwnershipSettings().session_s for left in left_s), "as after any other end"
        house.start_web()
        await assert_all_whole(talkers)


def test_web_told_to_end_sends_its_clients_on(house: House) -> None:
    asyncio.run(_web_drained(house))


async def _web_drained(house: House) -> None:
    async with talkers_at(house, *EVERY_PHASE) as talkers:
        assert house.web is not None
        took_s = await asyncio.to_thread(house.web.drain)
        house.start_web()
        print(f"\nweb ended {took_s:.2f} s after SIGTERM", end="")
        assert took_s < 3
        await assert_all_whole(talkers)
        # who came back to it before it was gone was sent on again
        assert {code for talker in talkers for code in talker.closes} == {1012}


#: The moment at which each stage is busiest.
BUSY = {"stt": _speaking, "llm": _some_words, "tts": _some_audio}


def test_turns_wait_when_no_worker_is_left(house: House) -> None:
    asyncio.run(_no_worker_left(house))


async def _no_worker_left(house: House) -> None:
    async with talkers_at(house, *BUSY.values()) as talkers:
        killed_s = fair_clock.now_s()
        for child in [child for group in house.workers.values() for child in group]:
            child.kill()
        for talker in talkers:
            await talker.until("error")
            told_s = talker.next_after(killed_s, "error")
            print(f"\ntold after {told_s:.2f} s", end="")
            assert told_s is not None and told_s <= TOLD_S, talker.story()
        await asyncio.sleep(max(0.0, killed_s + 3.5 - fair_clock.now_s()))
        for stage in BUSY:
            house.start_worker(stage)
        await assert_all_whole(talkers)
        for talker in talkers:
            done_s = max(answer.done_s for answer in talker.answers.values()) - killed_s
            print(f"\nreply done {done_s:.2f} s after the kill", end="")
            assert {error["code"] for error in talker.errors} == {"stage_waiting"}, talker.story()
        await assert_next_turns(talkers)


def test_workers_told_to_end_lose_and_double_nothing(house: House) -> None:
    asyncio.run(_drained(house))


async def _drained(house: House) -> None:
    async with talkers_at(house, *BUSY.values()) as talkers:
        stt = house.holder("stt", talkers[0].sid)
        assert stt is not None
        ending = [house.worker_of(stage, talker.sid) for stage, talker in zip(BUSY, talkers, strict=True)]
        told_s = fair_clock.now_s()
        for child in ending:
            child.process.send_signal(signal.SIGTERM)
        moved_s = await asyncio.wait_for(taken_over(house, "stt", talkers[0].sid, stt.epoch), PATIENCE_S)
        print(f"\nstt handed over after {moved_s - told_s:.2f} s", end="")
        assert moved_s - told_s < HANDED_OVER_S
        await assert_all_whole(talkers)
        for talker in talkers:
            assert_undisturbed(talker)
        for child in ending:
            await asyncio.to_thread(child.process.wait, PATIENCE_S)
            assert child.process.returncode == 0, child.log.read_text()[-2000:]
        await assert_next_turns(talkers)


#: Tasks that come while a worker drains.
MEANWHILE = 8


def test_a_worker_that_finishes_its_replies_keeps_no_task_that_comes_meanwhile(house: House) -> None:
    """It had asked the broker for one when it was told to end, and would be given the next."""
    *others, ending = house.workers["tts"]
    for other in others:
        other.kill()
    broker = house.state.server.url(0)
    with house.state.server.client(0) as state, Celery(broker=broker) as sender:
        order = encode(Order(1, [], "", "pcm16"))  # nobody writes it, so that its voice waits
        Leases(state, 1500).create("waits", {keys.REPLY: "1", keys.ORDER: order, keys.VERSION: VERSION}, 60)
        with sender.producer_pool.acquire() as producer:
            sender.send_task("tts.speak", ["waits", 1], queue="tts", producer=producer)
            wait_for(lambda: house.holder("tts", "waits") is not None, "a reply to finish", ending)
            ending.process.send_signal(signal.SIGTERM)
            for _ in range(MEANWHILE):  # one of them is in the second in which it would be given one
                time.sleep(0.25)
                sender.send_task("tts.speak", ["nobody", 1], queue="tts", producer=producer)
        wait_for(
            lambda: sum(state.llen(name) for name in keys.queue_lists("tts")) == MEANWHILE,
            "all tasks to be where others find them",
            ending,
        )
        assert house.holder("tts", "waits") is not None, "it still finishes"
    ending.kill()


#: Hung longer than a lease, shorter than the keeper's patience.
HUNG_S = 3.0


def test_what_workers_say_after_they_hung_is_dropped(house: House) -> None:
    asyncio.run(_zombies(house))


async def _zombies(house: House) -> None:
    async with talkers_at(house, *BUSY.values()) as talkers:
        hung = [house.worker_of(stage, talker.sid) for stage, talker in zip(BUSY, talkers, strict=True)]
        before = [house.holder(stage, talker.sid) for stage, talker in zip(BUSY, talkers, strict=True)]
        hung_s = fair_clock.now_s()
        try:
            for child in hung:
                os.kill(child.pid, signal.SIGSTOP)
            for stage, talker, holder in zip(BUSY, talkers, before, strict=True):
                assert holder is not None
                moved_s = await asyncio.wait_for(
                    taken_over(house, stage, talker.sid, holder.epoch), PATIENCE_S
                )
                print(f"\n{stage} taken over after {moved_s - hung_s:.2f} s", end="")
                assert moved_s - hung_s <= TAKEOVER_S
            await asyncio.sleep(max(0.0, hung_s + HUNG_S - fair_clock.now_s()))
        finally:
            for child in hung:
                os.kill(child.pid, signal.SIGCONT)
        await assert_all_whole(talkers)
        assert not [error for talker in talkers for error in talker.errors]
        await assert_next_turns(talkers)
        assert all(child.alive for child in hung)


#: How long a Redis server is away.
AWAY_S = 1.0


def test_turns_outlive_the_state_server(house: House) -> None:
    asyncio.run(_state_dies(house))


async def _state_dies(house: House) -> None:
    async with talkers_at(house, *EVERY_PHASE) as talkers:
        await asyncio.to_thread(house.state.restart, AWAY_S)
        await assert_all_whole(talkers)
        await assert_next_turns(talkers)


def test_sessions_outlive_the_media_server(house: House) -> None:
    asyncio.run(_media_dies(house))


async def _media_dies(house: House) -> None:
    """What the server forgot of a reply may be gone; then the client is told. The session goes on."""
    async with talkers_at(house, *EVERY_PHASE) as talkers:
        await asyncio.to_thread(house.media.restart, AWAY_S)
        for talker in talkers:
            answer = await talker.answered(1)
            print(f"\n{answer.status}, {len(answer.transcript.split())} words, {answer.samples / SAMPLE_RATE:.2f} s, "
                  f"{[error['code'] for error in talker.errors]}", end="")  # fmt: skip
        for talker in talkers:
            if not talker.errors:
                assert_whole(talker, await talker.answered(1))
        await assert_next_turns(talkers)


@pytest.mark.parametrize("seed", range(3))
def test_turns_outlive_two_deaths_at_any_moment(seed: int, house: House) -> None:
    asyncio.run(_two_deaths(random.Random(seed), house))


async def _two_deaths(chance: random.Random, house: House) -> None:
    victims = chance.sample(["stt", "llm", "tts", "web"], 2)
    moments_s = sorted(chance.uniform(0.2, 4.0) for _ in victims)
    print(f"\n{victims} at {[round(moment_s, 2) for moment_s in moments_s]} s", end="")
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url)) for _ in range(4)]
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        waits = [
            asyncio.create_task(_speak_at(talker, chance.uniform(0.0, 2.0), began_s)) for talker in talkers
        ]
        for victim, moment_s in zip(victims, moments_s, strict=True):
            await asyncio.sleep(max(0.0, began_s + moment_s - time.monotonic()))
            if victim == "web":
                house.kill_web()
            else:
                chance.choice(house.workers[victim]).kill()
        await asyncio.gather(*waits)
        await assert_all_whole(talkers)
        await assert_next_turns(talkers)


async def _speak_at(talker: Talker, after_s: float, began_s: float) -> None:
    await asyncio.sleep(max(0.0, began_s + after_s - time.monotonic()))
    talker.speak(SPEECH_S)


def test_sixteen_sessions_outlive_a_death_of_each_stage(house: House) -> None:
    asyncio.run(_sixteen(house))


async def _sixteen(house: House) -> None:
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url, packet_ms=80)) for _ in range(16)]
        began_s = time.monotonic()
        waits = [
            asyncio.create_task(_speak_at(talker, 0.15 * at, began_s)) for at, talker in enumerate(talkers)
        ]
        await talkers[0].wait(lambda: _audio_of(talkers[0], 0.5), PATIENCE_S, "audio")
        for stage in BUSY:
            house.workers[stage][0].kill()
        await asyncio.gather(*waits)
        await assert_all_whole(talkers)
        assert not [error for talker in talkers for error in talker.errors]
