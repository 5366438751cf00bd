"""A device that dies and a slot that goes wrong, in the middle of turns: real processes, null engines that fail."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from config.redis_keys import STAGES
from tests import fair_clock
from tests.house import SLOW_LLM, SLOW_TTS, Child, House, open_house, pid_of
from tests.talker import Talker
from tests.whole import SPEECH_S, assert_undisturbed, assert_whole

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: tasks/worker.py
DEVICE_LOST = 71

#: From the end of the process to the next owner: the watchdog looks every 0.25 s. A lease would last 1.5 s.
TAKEOVER_S = 1.0

#: The same for a task that was sent again in the very millisecond in which the process ended: claim_timeout_s.
UNLUCKY_S = 2.5

#: Sessions of a test.
TALKERS = 4

#: A step in the middle of somebody's turn, whoever else takes part.
MIDDLE = {"stt": 25, "llm": 12, "tts": 20}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), workers=1) as house:
        yield house


@pytest.fixture
def house(stack: House) -> Iterator[House]:
    """One sound worker for each stage, whatever the test before left."""
    stack.furnish(workers=1)
    sound = [child for stage in STAGES for child in stack.workers[stage]]
    yield stack
    for child in [child for stage in STAGES for child in stack.workers[stage]]:
        if child not in sound:
            child.kill()
    stack.replace_dead(workers=1)


def failing(stage: str, **faults: Any) -> dict[str, str]:
    """Settings of a worker that fails."""
    options = {"stt": {}, "llm": SLOW_LLM, "tts": SLOW_TTS}[stage]
    return {f"ANTIPHON_{stage.upper()}__OPTIONS": json.dumps({**options, "fails": faults})}


@dataclass
class Owners:
    """Who worked on a stage of each session, as its lease said."""

    house: House
    stage: str
    seen: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    """By session: pid, epoch, first seen."""

    async def watch(self, talkers: list[Talker]) -> None:
        """Until cancelled."""
        while True:
            for talker in talkers:
                if (holder := self.house.holder(self.stage, talker.sid)) is not None:
                    owners = self.seen.setdefault(talker.sid, [])
                    pid = pid_of(holder.owner)
                    if [(pid, holder.epoch)] != [owner[:2] for owner in owners[-1:]]:
                        owners.append((pid, holder.epoch, fair_clock.now_s()))
            await asyncio.sleep(0.01)

    def after(self, child: Child, sid: str) -> float | None:
        """When somebody else followed this worker in a session; None when it was not there last."""
        owners = self.seen.get(sid, [])
        for (pid, _, _), (heir, _, since_s) in pairwise(owners):
            if pid == child.pid and heir != pid:
                return since_s
        return None

    def moves(self, sid: str) -> int:
        """How often a session's stage got a new owner, or the same anew."""
        return len(self.seen.get(sid, [])) - 1


async def ended_at(child: Child) -> float:
    while child.alive:
        await asyncio.sleep(0.005)
    return fair_clock.now_s()


async def turn(talkers: list[Talker], number: int) -> None:
    """Everybody speaks, a little apart, and hears a whole answer."""
    for talker in talkers:
        talker.user_texts.clear()
        talker.speak(SPEECH_S)
        await asyncio.sleep(0.1)
    for talker in talkers:
        assert_whole(talker, await talker.answered(number))


@pytest.mark.parametrize("stage", STAGES)
def test_a_lost_device_gives_its_sessions_back_at_once(stage: str, house: House) -> None:
    asyncio.run(_device_lost(stage, house))


async def _device_lost(stage: str, house: House) -> None:
    doomed = house.start_worker(stage, **failing(stage, device_at_step=MIDDLE[stage]))
    await asyncio.to_thread(house.ready)
    owners = Owners(house, stage)
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url, packet_ms=80)) for _ in range(TALKERS)]
        watching = asyncio.create_task(owners.watch(talkers))
        ending = asyncio.create_task(ended_at(doomed))
        await asyncio.sleep(0.3)
        for number in range(1, 6):  # whoever is quicker takes a task: in the end it is the doomed one's
            await turn(talkers, number)
            if ending.done():
                break
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        assert doomed.process.returncode == DEVICE_LOST, doomed.log.read_text()[-2000:]
        ended_s = ending.result()
        moments_s = [moment for talker in talkers if (moment := owners.after(doomed, talker.sid))]
        taken_s = sorted(moment - ended_s for moment in moments_s)
        print(f"\n{stage}: moved {[round(took_s, 2) for took_s in taken_s]} s after the end", end="")
        assert taken_s and taken_s[0] < TAKEOVER_S and taken_s[-1] < UNLUCKY_S
        for talker in talkers:
            assert not talker.errors, talker.story()
            if owners.after(doomed, talker.sid) is None:
                assert_undisturbed(talker)
    said = doomed.log.read_text()
    assert f"antiphon worker: {stage} gives" in said and "asked to lose its device" in said


def frail(house: House, stage: str, **faults: Any) -> Child:
    """The only worker of a stage, and it fails."""
    for child in house.workers[stage]:
        child.kill()
    house.workers[stage].clear()
    return house.start_worker(stage, **failing(stage, **faults))


@pytest.mark.parametrize("stage", ["stt", "tts"])
def test_a_slot_that_goes_wrong_costs_its_seat_alone(stage: str, house: House) -> None:
    asyncio.run(_slot_lost(stage, house))


async def _slot_lost(stage: str, house: House) -> None:
    worker = frail(house, stage, slot_at_step=MIDDLE[stage])
    await asyncio.to_thread(house.ready)
    owners = Owners(house, stage)
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url, packet_ms=80)) for _ in range(TALKERS)]
        watching = asyncio.create_task(owners.watch(talkers))
        await asyncio.sleep(0.3)
        await turn(talkers, 1)
        watching.cancel()
        moved = [talker for talker in talkers if owners.moves(talker.sid)]
        assert len(moved) == 1, {talker.sid: owners.seen[talker.sid] for talker in talkers}
        for talker in talkers:
            assert not talker.errors, talker.story()
            if talker not in moved:
                assert_undisturbed(talker)
        assert worker.alive
        assert worker.log.read_text().count(" is given up: the null engine was asked to lose it") == 1


def test_a_reply_that_the_engine_loses_is_the_only_one(house: House) -> None:
    asyncio.run(_reply_lost(house))


async def _reply_lost(house: House) -> None:
    worker = frail(house, "llm", slot_at_step=MIDDLE["llm"])
    await asyncio.to_thread(house.ready)
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url, packet_ms=80)) for _ in range(TALKERS)]
        await asyncio.sleep(0.3)
        for talker in talkers:
            talker.speak(SPEECH_S)
        answers = [await talker.answered(1) for talker in talkers]
        failed = [
            talker for talker, answer in zip(talkers, answers, strict=True) if answer.status != ["completed"]
        ]
        assert len(failed) == 1
        assert [error["code"] for error in failed[0].errors] == ["stage_failed"], failed[0].story()
        assert worker.alive
        for talker, answer in zip(talkers, answers, strict=True):
            if talker not in failed:
                assert_whole(talker, answer)
                assert_undisturbed(talker)
        await turn(failed, len(failed[0].answers) + 1)


@pytest.mark.parametrize("stage", ["stt", "tts"])
def test_a_step_that_raises_costs_nobody_the_turn(stage: str, house: House) -> None:
    asyncio.run(_step_raises(stage, house))


async def _step_raises(stage: str, house: House) -> None:
    worker = frail(house, stage, raise_at_step=MIDDLE[stage])
    await asyncio.to_thread(house.ready)
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(Talker(house.url, packet_ms=80)) for _ in range(TALKERS)]
        await asyncio.sleep(0.3)
        await turn(talkers, 1)
        assert worker.alive
        assert "RuntimeError: the null engine was asked to fail" in worker.log.read_text()
        assert not [error for talker in talkers for error in talker.errors]
