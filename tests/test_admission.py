"""Who is let in, who waits and who is sent away: a real stack with room for two, and an operator who looks at it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import websockets
from websockets.asyncio.client import ClientConnection, connect

from config import redis_keys as keys
from tasks import fleet, sessions
from tasks.leases import Reservations
from tasks.sessions import Ending
from tests import fair_clock
from tests.house import ROOT, House, open_house, wait_for
from tests.raw_client import base64_of, connected, voice
from tests.talker import PATIENCE_S, REPLY, Talker

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: The longest wait in the line of these houses, and how many may stand in it.
WAIT_S, MOST_WAITING = 3.0, 2

SPEECH_S = 1.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admission")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[House]:
    """One worker for each stage, with room for two, and characters of its own."""
    voices = folder / "voices.yaml"
    voices.write_text((ROOT / "voices.yaml").read_text())
    env = {
        "ANTIPHON_ADMISSION__LONGEST_WAIT_S": str(WAIT_S),
        "ANTIPHON_ADMISSION__MOST_WAITING": str(MOST_WAITING),
        "ANTIPHON_ADMISSION__MEMORY_LOOK_S": "0.2",
        "ANTIPHON_ADMISSION__LOOK_S": "0.2",
        "ANTIPHON_OBSERVE__LOOK_S": "0.2",
        "ANTIPHON_VOICES_FILE": str(voices),
    }
    with open_house(folder, workers=1, env=env, worker_options=("--slots", "2")) as house:
        yield house


@pytest.fixture
def house(stack: House) -> House:
    """The stack, with no place taken by who vanished in the test before."""
    stack.furnish(workers=1)
    with stack.state.server.client(0) as client:
        client.delete(keys.reserved(), keys.waiting(), keys.waiting_until())
    return stack


@pytest.fixture
def state_client(house: House) -> Iterator[redis.Redis]:
    with house.state.server.client(0) as client:
        yield client


@pytest.fixture
def media_client(house: House) -> Iterator[redis.Redis]:
    with house.media.server.client(0) as client:
        yield client


async def event(client: ClientConnection, timeout_s: float = 5.0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), timeout_s))
    return answer


async def closed(client: ClientConnection, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
    """Code and reason, once the server has closed."""
    async with asyncio.timeout(timeout_s):
        try:
            while True:
                await client.recv()
        except websockets.ConnectionClosed:
            return client.close_code or 0, client.close_reason or ""


async def turned_away(house: House) -> str:
    """Why, once a new session is: web looks at its servers now and again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with connect(f"{house.url}?model=test") as late:
                with suppress(TimeoutError):
                    code, reason = await closed(late, 1.0)
                    assert code == 1013
                    return reason


async def two_talk(stack: AsyncExitStack, house: House) -> list[Talker]:
    """The house is full."""
    return [await stack.enter_async_context(Talker(house.url)) for _ in range(2)]


def test_sound_in_an_item_finds_no_recogniser_in_a_full_house_and_its_sender_learns_that_soon(
    house: House,
) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Talker(house.url))
            client = await stack.enter_async_context(connected(house.url))
            wait_for(lambda: house.health()["stages"]["stt"]["free"] == 0, "a full house")
            content = [{"type": "input_audio", "audio": base64_of(voice(0.9))}]
            item = {"type": "message", "role": "user", "content": content, "id": "mine"}
            asked_s = time.monotonic()
            await client.send("conversation.item.create", item=item)
            failed = await client.until("conversation.item.input_audio_transcription.failed")
            assert (failed["item_id"], failed["error"]["code"]) == ("mine", "server_full"), house.said(
                of="web"
            )
            assert time.monotonic() - asked_s < 8.0, "before anybody would have listened in vain"
            said = [{key: value for key, value in item.items() if key != "id"}]
            await client.send("response.create", event_id="r", response={"input": said})
            error = (await client.until("error"))["error"]
            assert (error["code"], error["event_id"]) == ("server_full", "r")
            assert error["message"].startswith("the audio of response.input[0]: no recogniser is free")

    asyncio.run(scene())


# --- waiting


def test_a_plain_client_hears_of_nothing_it_does_not_know_and_is_served_in_its_turn(house: House) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            first, _ = await two_talk(stack, house)
            plain = await stack.enter_async_context(connect(f"{house.url}?model=test"))
            assert (await event(plain))["type"] == "session.created"
            with pytest.raises(TimeoutError):
                await event(plain, 1.0)
            await first.leave()
            assert (await event(plain))["type"] == "session.updated"

    asyncio.run(scene())


def test_what_was_asked_and_said_in_the_line_is_answered_after_it(house: House) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            first, _ = await two_talk(stack, house)
            third = Talker(house.url)
            entering = asyncio.create_task(stack.enter_async_context(third))
            await third.until("session.created")
            await third.send("input_audio_buffer.append", audio="AAAA")  # half a sample
            await asyncio.sleep(0.5)
            assert not third.errors, "it is not its turn yet"
            await first.leave()
            await entering
            await third.until("error")
            assert third.errors[0]["code"] == "invalid_audio"
            third.speak(SPEECH_S)
            assert (await third.answered(1)).transcript == REPLY

    asyncio.run(scene())


def test_clients_of_unmute_are_warned_with_their_place(house: House) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            first, _ = await two_talk(stack, house)
            page = await stack.enter_async_context(connect(house.url, subprotocols=["realtime"]))  # type: ignore[list-item]
            await page.send('{"type": "session.update", "session": {"allow_recording": false}}')
            told = (await event(page))["error"]
            assert (told["type"], told["code"]) == ("warning", "queued")
            assert "number 1" in told["message"]
            await first.leave()
            assert (await event(page))["type"] == "session.updated"

    asyncio.run(scene())


def looked(house: House) -> float:
    """How often the web process has looked at what its metrics tell."""
    return house.metric("antiphon_redis_round_trip_seconds_count", server="state")


def test_nobody_waits_for_ever_and_the_line_has_an_end(house: House) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            await two_talk(stack, house)
            misses = house.metric("worker_service_misses_total")
            fatal = house.metric("worker_fatal_service_misses_total")
            waiting = [
                await stack.enter_async_context(connect(f"{house.url}?extensions=antiphon&model=test"))
                for _ in range(MOST_WAITING)
            ]
            began_s, fair_s = time.monotonic(), fair_clock.now_s()
            for number, client in enumerate(waiting, 1):
                assert (await event(client))["type"] == "session.created"
                queued = await event(client)
                assert (queued["type"], queued["place"]) == ("antiphon.queued", number)
            looks = looked(house)
            await asyncio.to_thread(wait_for, lambda: looked(house) >= looks + 2, "a look at who waits")
            assert house.metric("antiphon_sessions_waiting") == MOST_WAITING
            late = await stack.enter_async_context(connect(f"{house.url}?model=test"))
            code, reason = await closed(late)
            assert code == 1013
            assert "many wait" in reason
            for client in waiting:
                code, reason = await closed(client)
                assert code == 1013
                assert "all places are taken" in reason
            assert time.monotonic() - began_s > WAIT_S - 0.5 and fair_clock.now_s() - fair_s < WAIT_S + 2
        assert house.metric("worker_service_misses_total") == misses + MOST_WAITING + 1
        assert house.metric("antiphon_sessions_refused_total", reason="waited") == MOST_WAITING
        assert house.metric("antiphon_sessions_refused_total", reason="line_full") == 1
        assert house.metric("antiphon_sessions_refused_total", reason="server_full") == 0, "counted twice"
        assert house.metric("worker_fatal_service_misses_total") == fatal + MOST_WAITING + 1
        assert house.metric("antiphon_sessions_waiting") == 0

    asyncio.run(scene())


def test_who_waits_and_leaves_makes_room_in_the_line(house: House, state_client: redis.Redis) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            await two_talk(stack, house)
            for _ in range(2 * MOST_WAITING):
                async with connect(f"{house.url}?extensions=antiphon&model=test") as client:
                    await event(client)
                    assert (await event(client))["place"] == 1
                await asyncio.to_thread(
                    wait_for, lambda: state_client.zcard(keys.waiting()) == 0, "the line to be empty"
                )

    asyncio.run(scene())


def test_a_client_that_comes_back_finds_its_place_while_others_wait(house: House) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            first, _ = await two_talk(stack, house)
            third = await stack.enter_async_context(connect(f"{house.url}?extensions=antiphon&model=test"))
            await event(third)
            assert (await event(third))["place"] == 1
            assert first._socket is not None
            first._socket.transport.abort()  # no goodbye
            await first.until("session.created", count=2)
            first.speak(SPEECH_S)
            assert (await first.answered(1)).transcript == REPLY
            assert first.connections == 2

    asyncio.run(scene())


# --- memory


def test_new_sessions_are_refused_before_redis_is_full_and_those_there_go_on(
    house: House, media_client: redis.Redis
) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            talker = await stack.enter_async_context(Talker(house.url))
            # a tenth of it must do for a conversation; written in parts, for buffers count as long as they are there
            for _ in range(80):
                media_client.rpush("test:ballast", bytes(1 << 19))
            used = int(media_client.info("memory")["used_memory"])
            media_client.config_set("maxmemory", int(used / 0.9))
            assert "memory" in await turned_away(house)
            talker.speak(SPEECH_S)
            assert (await talker.answered(1)).transcript == REPLY
            assert not talker.errors
            media_client.config_set("maxmemory", 0)
            await stack.enter_async_context(Talker(house.url))

    try:
        asyncio.run(scene())
    finally:
        media_client.config_set("maxmemory", 0)
        media_client.delete("test:ballast")
    assert house.metric("antiphon_sessions_refused_total", reason="memory") >= 1


def test_a_redis_that_would_throw_sessions_away_gets_no_more_of_them(
    house: House, media_client: redis.Redis
) -> None:
    """It may have started after the web process, which could not look at it then."""

    async def scene() -> None:
        media_client.config_set("maxmemory-policy", "allkeys-lru")
        assert "not safe" in await turned_away(house)
        media_client.config_set("maxmemory-policy", "noeviction")
        async with Talker(house.url):
            pass

    try:
        asyncio.run(scene())
    finally:
        media_client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("which", ["media", "state"])
def test_a_full_redis_is_told_to_the_client_and_ends_nobody_else(which: str, house: House) -> None:
    async def scene() -> None:
        with getattr(house, which).server.client(0) as full:
            async with Talker(house.url) as talker:
                talker.speak(SPEECH_S)
                await talker.answered(1)
                talker.speak(SPEECH_S)
                await talker.until("input_audio_buffer.speech_started", count=2)
                full.config_set("maxmemory", 1)
                try:
                    await asyncio.to_thread(
                        wait_for,
                        lambda: bool(talker.errors or talker.closes),
                        "the client to be told",
                        None,
                        5.0,
                    )
                finally:
                    full.config_set("maxmemory", 0)
                # what keeps no state of a session keeps no session; what keeps no sound does
                told = [error["code"] for error in talker.errors] or talker.closes[:1]
                assert told[0] == ("memory_full" if which == "media" else 1013)
                await asyncio.to_thread(wait_for, lambda: talker._socket is not None, "the connection")
                answers = len(talker.answers)
                talker.speak(SPEECH_S)
                await talker.wait(
                    lambda: len(talker.answers) > answers and bool(list(talker.answers.values())[-1].status),
                    30, "an answer after that",
                )  # fmt: skip

    processes = [house.web_child(), *(child.pid for group in house.workers.values() for child in group)]
    asyncio.run(scene())
    assert [house.web_child(), *(c.pid for group in house.workers.values() for c in group)] == processes
    assert all(child.alive for group in house.workers.values() for child in group)


def test_a_worker_that_takes_a_task_while_redis_is_full_lives(
    house: House, state_client: redis.Redis
) -> None:
    (worker,) = house.workers["llm"]
    lists = [f"llm{step}".encode() for step in ("", "\x06\x163", "\x06\x166", "\x06\x169")]

    def prefill() -> None:
        ask = "from tasks import submit; submit.prefill('no-such-session')"
        subprocess.run(
            [sys.executable, "-c", ask], env=house._environment(), cwd=ROOT, check=True, timeout=60
        )

    def asks() -> bool:
        """Whether Redis still has a request of the stopped worker's for a task, which it would answer."""
        ports = {one.laddr.port for one in psutil.Process(worker.pid).net_connections("inet")}
        waiting = [one for one in state_client.client_list() if "b" in one["flags"]]
        return any(int(one["addr"].rpartition(":")[2]) in ports for one in waiting)

    os.kill(worker.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: not asks(), "the request to end")
        prefill()
        if not any(
            map(state_client.exists, lists)
        ):  # the worker was waiting for it, and will read it when it goes on
            prefill()
        (queue,) = [name for name in lists if state_client.exists(name)]
        assert queue == lists[3], "what may not be needed goes last"
        state_client.rename(queue, "test:parked")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    state_client.config_set("maxmemory", 1)
    try:
        state_client.rename("test:parked", queue)  # to rename needs no memory
        wait_for(lambda: not state_client.exists(queue), "the task to be taken", worker)
    finally:
        state_client.config_set("maxmemory", 0)
    prefill()
    wait_for(lambda: not state_client.exists(queue), "the next task to be taken", worker)
    assert worker.alive


# --- what an operator does


def test_sessions_are_listed_and_ended_for_good(house: House, state_client: redis.Redis) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            (talker, other) = await two_talk(stack, house)
            talker.speak(SPEECH_S)
            await talker.answered(1)
            found = {session.sid: session for session in sessions.listed(state_client)}
            listed = found[talker.sid]
            assert (listed.dialect, listed.replies, listed.phase) == ("ga", 1, "listening")
            assert abs(listed.since - time.time()) < 60
            assert listed.web.startswith("web-")
            assert listed.holders["stt"].owner == house.holder("stt", talker.sid).owner  # type: ignore[union-attr]
            assert other.sid in found
            with house.media.server.client(0) as media:
                assert sessions.end(state_client, media, talker.sid, "maintenance tonight") is Ending.TOLD
                assert sessions.end(state_client, media, "no-such-session", "x") is Ending.UNKNOWN
            await asyncio.to_thread(
                wait_for, lambda: len(talker.refused) > 0, "the close, and an attempt to return"
            )
            assert (talker.closes, talker.refused[0]) == ([1008], 403)
            await talker.leave()
            await asyncio.to_thread(
                wait_for, lambda: Reservations(state_client, 1, 1).count()[0] == 1, "its place to be free"
            )
            assert not other.closes
            assert talker.sid not in {session.sid for session in sessions.listed(state_client)}

    asyncio.run(scene())


def test_a_session_whose_client_is_away_is_ended_too(house: House, state_client: redis.Redis) -> None:
    async def scene() -> str:
        async with connect(f"{house.url}?model=test") as client:
            created = await event(client)
            client.transport.abort()
            return str(created["session"]["id"]).removeprefix("sess_")

    sid = asyncio.run(scene())

    def phase() -> str:
        return next((session.phase for session in sessions.listed(state_client) if session.sid == sid), "")

    wait_for(lambda: phase() == "away", "the session to be alone")
    with house.media.server.client(0) as media:
        assert sessions.end(state_client, media, sid, "enough") is Ending.UNTOLD
        assert phase() == ""
        assert sessions.end(state_client, media, sid, "enough") is Ending.UNKNOWN


def test_a_session_of_an_earlier_web_process_is_ended_without_the_words_it_does_not_know(
    house: House, state_client: redis.Redis
) -> None:
    async def scene() -> None:
        async with Talker(house.url) as talker:
            state_client.hdel(keys.session(talker.sid), keys.VERSION)  # as version 1 leaves it
            with house.media.server.client(0) as media:
                assert sessions.end(state_client, media, talker.sid, "never heard") is Ending.UNTOLD
            await asyncio.to_thread(
                wait_for, lambda: len(talker.refused) > 0, "the close, and an attempt to return"
            )
            assert (talker.closes, talker.refused[0]) == ([1012], 403)

    asyncio.run(scene())


def test_everything_that_beats_is_shown_and_a_worker_can_be_drained_by_name(
    house: House, state_client: redis.Redis
) -> None:
    members = {member.stage: member for member in fleet.look(state_client)}
    assert set(members) == {"stt", "llm", "tts", "web"}
    assert members["stt"].slots == 2
    assert members["web"].pid == house.web_child()
    assert all(member.works and member.age_s < 10 for member in members.values())
    (worker,) = house.workers["tts"]
    with house.media.server.client(0) as media:
        assert not fleet.drain(state_client, media, "nobody-1")
        assert fleet.drain(state_client, media, members["tts"].name)
        assert media.ttl(keys.control(members["tts"].name)) > 0
    assert worker.process.wait(40) == 0
    assert not fleet.look(state_client, ("tts",))


def test_characters_are_read_again_in_place_and_a_mistake_changes_nothing(house: House, folder: Path) -> None:
    file = folder / "voices.yaml"
    before = file.read_text()

    def names() -> list[str]:
        return [voice["name"] for voice in json.loads(house.get("/v1/voices"))]

    async def scene() -> None:
        assert house.web is not None
        child = house.web_child()
        async with Talker(house.url) as talker:
            file.write_text(before.replace("- name: Nora", "- name: Norah"))
            house.web.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(wait_for, lambda: "Norah" in names(), "the new name", house.web)
            file.write_text(before.replace("- name: Nora", "- name: Honora\n  goood: yes"))
            house.web.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(
                wait_for, lambda: "goood" in house.web.log.read_text(), "the mistake to be named", house.web
            )  # type: ignore[union-attr]
            assert "Norah" in names()
            talker.speak(SPEECH_S)
            assert (await talker.answered(1)).transcript == REPLY
            assert (talker.connections, talker.errors) == (1, [])
        assert house.web_child() == child, "the process that serves is the same"

    try:
        asyncio.run(scene())
    finally:
        file.write_text(before)
        assert house.web is not None
        house.web.process.send_signal(signal.SIGHUP)


# --- what is left behind


def test_all_that_a_session_leaves_behind_dies_by_itself(house: House) -> None:
    async def scene() -> str:
        async with Talker(house.url) as talker:
            talker.speak(SPEECH_S)
            await talker.answered(1)
            talker.speak(SPEECH_S)
            await talker.until("response.created", count=2)
            house.kill_web()
            talker._gone = True
            return talker.sid

    sid = asyncio.run(scene())
    wait_for(lambda: house.holder("web", sid) is None, "the web's lease to end")
    for box in (house.state, house.media):
        with box.server.client(0) as client:
            left = [key for key in client.scan_iter(match=f"*{sid}*", count=1000)]
            immortal = [key for key in left if client.ttl(key) == -1]
            assert left
            assert not immortal, f"of {left}"
            for key in left:
                if client.type(key) == b"stream":
                    assert client.xlen(key) < 5000
