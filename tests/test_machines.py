"""Conversations across several machines: slow and lossy links, links that are cut, more machines, wrong clocks.

Each machine is a network namespace with processes of its own; the engines are null engines. What is asserted is what
becomes of the conversations and how soon; how long turns take is measured by `python -m bench machines`.
"""

import asyncio
import json
import re
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack

import pytest

from bench.machines import layout
from bench.machines.fleet import MACHINES, MEDIA, WEB, Fleet, machine_of, running
from bench.machines.wire import Quality
from cli.loadtest import histogram
from config.redis_keys import STAGES
from tests import fair_clock
from tests.conftest import missing, needs_redis
from tests.house import SLOW_LLM, SLOW_TTS
from tests.talker import PATIENCE_S, Talker
from tests.whole import SPEECH_S, assert_undisturbed, assert_whole

pytestmark = [pytest.mark.server, pytest.mark.slow]

SETTINGS = {
    "ANTIPHON_PROFILE": "null",
    "ANTIPHON_LLM__OPTIONS": json.dumps(SLOW_LLM),
    "ANTIPHON_TTS__OPTIONS": json.dumps(SLOW_TTS),
}

WORKERS = ("stt1", "stt2", "llm1", "tts1")

#: By how many seconds the wall clocks of these machines are ahead; those of the others are right.
CLOCKS = {WEB: 300, "stt1": -300, "stt2": 300, "tts1": -300}

#: No figure is off by more on a machine under load; with a wrong clock in it, it is off by 300 s.
SKEW_SEEN_S = 30.0

#: From the cut of a worker's link until somebody else works: its lease, and the watchdog's next look.
TAKEOVER_S = 2.5

#: From the end of a cut until the machine takes work again: the next attempt to connect, and a task's way.
REJOINED_S = 6.0

#: From a cut that leaves a worker its leases: the deadline of a step, its lease, and the watchdog's next look.
DEAF_S = 9.0

#: Whoever waits longest for a task gets it, so five go to all of three; a machine under load may have missed a round.
ROUNDS = 3

#: Longer than a worker needs to notice it: TCP's probes give up after 6 s.
CUT_S = 6.5


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    needs_redis()
    if lacking := layout.lacks():
        missing(lacking)
    with running(WORKERS, SETTINGS, CLOCKS) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def sound(fleet: Fleet) -> Iterator[None]:
    """Whatever a test did to the wire, the next one finds it whole."""
    yield
    fleet.layout.mend()
    fleet.layout.worsen(Quality(), ())


def there(fleet: Fleet, scenario: Coroutine[None, None, None]) -> None:
    """Runs it on the clients' machine."""

    try:
        fleet.layout.inside(lambda: asyncio.run(scenario))
    except AssertionError:
        print(fleet.said())
        raise


async def held(fleet: Fleet, stage: str, sid: str, other_than: str = "") -> str:
    """The machine that works on it, once there is one, or another one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            holder = await asyncio.to_thread(fleet.holder, stage, sid)
            if holder is not None and machine_of(holder) != other_than:
                return machine_of(holder)
            await asyncio.sleep(0.02)


async def held_each(fleet: Fleet, works: list[tuple[str, str]]) -> list[str]:
    """The same of each stage of a session; none of them is gone while another is waited for."""
    return await asyncio.gather(*(held(fleet, stage, sid) for stage, sid in works))


async def replaced(fleet: Fleet, stage: str, sid: str, machine: str) -> float:
    """Seconds until another machine works on it."""
    began_s = fair_clock.now_s()
    await held(fleet, stage, sid, other_than=machine)
    return fair_clock.now_s() - began_s


async def rejoined(fleet: Fleet, machine: str) -> float:
    """Seconds until the machine takes work again: sessions begin until one is listened to there."""
    began_s = fair_clock.now_s()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with Talker(fleet.url) as talker:
                if await held(fleet, machine[:3], talker.sid) == machine:
                    return fair_clock.now_s() - began_s


async def some_audio(talker: Talker) -> None:
    await talker.wait(
        lambda: any(answer.samples > 24_000 for answer in talker.answers.values()), PATIENCE_S, "audio"
    )


def test_a_conversation_crosses_six_machines_whose_clocks_are_minutes_off(fleet: Fleet) -> None:
    """Each does its part; a wrong clock is told, and enters no figure. All tests of this file run with them."""

    async def scenario() -> None:
        async with Talker(fleet.url) as talker:
            talker.speak(SPEECH_S)
            # from the beginning on: the text of a reply is written before its first second is heard
            at = dict(
                zip(STAGES, await held_each(fleet, [(stage, talker.sid) for stage in STAGES]), strict=True)
            )
            assert_whole(talker, await talker.answered(1))
            assert_undisturbed(talker)
        assert at["stt"] in ("stt1", "stt2") and (at["llm"], at["tts"]) == ("llm1", "tts1")
        for machine, ahead_s in CLOCKS.items():
            assert_told(fleet, machine, ahead_s)
        for machine, name in (
            (at["stt"], "antiphon_frame_wait_seconds"),
            (WEB, "antiphon_word_lag_seconds"),
        ):
            found = histogram.read(fleet.page(machine), name)
            assert found.mean is not None and found.mean < SKEW_SEEN_S, machine

    there(fleet, scenario())


def assert_told(fleet: Fleet, machine: str, ahead_s: float) -> None:
    """The machine's metrics and log say by how much its clock is off."""
    (told,) = re.findall(r"^antiphon_clock_ahead_seconds\S* (\S+)$", fleet.page(machine), re.MULTILINE)
    assert abs(float(told) - ahead_s) < SKEW_SEEN_S, machine
    said = re.search(r"the clock of this machine is ([\d.]+) s", fleet.log(machine).read_text())
    assert said and abs(float(said[1]) - abs(ahead_s)) < SKEW_SEEN_S, machine


def test_delay_and_loss_between_all_machines_cost_time_and_nothing_else(fleet: Fleet) -> None:
    async def scenario() -> None:
        before = fleet.layout.count().lost
        fleet.layout.worsen(Quality(delay_ms=20, jitter_ms=5, loss=0.01), MACHINES[1:])
        async with AsyncExitStack() as stack:
            talkers = [Talker(fleet.url, packet_ms=80) for _ in range(4)]
            await asyncio.gather(*map(stack.enter_async_context, talkers))
            for talker in talkers:
                talker.speak(SPEECH_S)
            for talker in talkers:
                assert_whole(
                    talker, await talker.answered(1)
                )  # it may have been told that a stage is waited for
        assert fleet.layout.count().lost > before

    there(fleet, scenario())


def test_a_listener_whose_link_is_cut_is_replaced_fenced_out_and_joins_again(fleet: Fleet) -> None:
    async def scenario() -> None:
        async with Talker(fleet.url) as talker:
            talker.speak(SPEECH_S)
            await talker.until("input_audio_buffer.speech_started")
            machine = await held(fleet, "stt", talker.sid)
            lost = read_count(fleet, machine)
            fleet.layout.cut(machine)
            took_s = await replaced(fleet, "stt", talker.sid, machine)
            assert took_s <= TAKEOVER_S
            assert_whole(talker, await talker.answered(1))
            assert not talker.errors, talker.story()
            fleet.layout.mend()
            talker.speak(SPEECH_S)
            back_s = await rejoined(fleet, machine)
            print(f"\ntaken over after {took_s:.2f} s, joined again after {back_s:.2f} s", end="")
            assert back_s <= REJOINED_S
            # what it said meanwhile was refused, and the conversation goes on with its successor
            async with asyncio.timeout(PATIENCE_S):
                while read_count(fleet, machine) <= lost:
                    await asyncio.sleep(0.1)
            assert_whole(talker, await talker.answered(2))

    there(fleet, scenario())


def read_count(fleet: Fleet, machine: str) -> float:
    """Seats that the machine lost to others."""
    for line in fleet.page(machine).splitlines():
        if line.startswith(f'antiphon_seats_lost_total{{stage="{machine[:3]}"}}'):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_a_listener_that_reaches_only_the_state_server_lets_others_listen(fleet: Fleet) -> None:
    async def scenario() -> None:
        async with Talker(fleet.url) as talker:
            talker.speak(SPEECH_S)
            await talker.until("input_audio_buffer.speech_started")
            machine = await held(fleet, "stt", talker.sid)
            fleet.layout.cut(machine, MEDIA)
            assert await replaced(fleet, "stt", talker.sid, machine) <= DEAF_S
            assert_whole(talker, await talker.answered(1))

    there(fleet, scenario())


def test_a_second_without_the_media_server_is_heard_and_nothing_is_lost(fleet: Fleet) -> None:
    async def scenario() -> None:
        async with Talker(fleet.url) as speaking, Talker(fleet.url) as hearing:
            hearing.speak(SPEECH_S)
            await some_audio(hearing)
            speaking.speak(SPEECH_S)
            await speaking.until("input_audio_buffer.speech_started")
            fleet.layout.cut(WEB, MEDIA)
            await asyncio.sleep(1.0)
            fleet.layout.mend()
            for talker in (speaking, hearing):
                assert_whole(talker, await talker.answered(1))
                assert not talker.errors, talker.story()

    there(fleet, scenario())


def test_more_speakers_share_new_replies_and_nobody_notices(fleet: Fleet) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(Talker(fleet.url, packet_ms=80)) for _ in range(6)]
            talkers[0].speak(SPEECH_S)
            for machine in ("tts2", "tts3"):
                fleet.start_worker(machine)
            await asyncio.to_thread(fleet.when_ready, "tts2", "tts3")
            assert_whole(talkers[0], await talkers[0].answered(1))
            assert_undisturbed(talkers[0])
            speakers: set[str] = set()
            for number in range(1, ROUNDS + 1):
                for talker in talkers[1:]:
                    talker.user_texts.clear()
                    talker.speak(SPEECH_S)
                speakers |= {*await held_each(fleet, [("tts", talker.sid) for talker in talkers[1:]])}
                for talker in talkers[1:]:
                    assert_whole(talker, await talker.answered(number))
                    assert not talker.errors, talker.story()
                if len(speakers) == 3:
                    break
            assert speakers == {"tts1", "tts2", "tts3"}

    there(fleet, scenario())


def test_a_speaker_whose_link_is_cut_in_mid_reply_is_replaced_and_no_word_comes_twice(fleet: Fleet) -> None:
    async def scenario() -> None:
        if "tts2" not in fleet.processes:
            fleet.start_worker("tts2")
            await asyncio.to_thread(fleet.when_ready, "tts2")
        async with Talker(fleet.url) as talker:
            talker.speak(SPEECH_S)
            await some_audio(talker)
            machine = await held(fleet, "tts", talker.sid)
            lost = read_count(fleet, machine)
            fleet.layout.cut(machine)
            noticed = asyncio.create_task(asyncio.sleep(CUT_S))
            assert await replaced(fleet, "tts", talker.sid, machine) <= TAKEOVER_S
            assert_whole(talker, await talker.answered(1))
            await noticed
            fleet.layout.mend()
            await asyncio.to_thread(fleet.when_ready, machine)
            await asyncio.to_thread(
                fleet.wait, lambda: read_count(fleet, machine) > lost, f"{machine} to be told that it lost"
            )

    there(fleet, scenario())
