"""More than there is room for, clients that do not read, and clients that send rubbish: nobody else notices."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from config import redis_keys as keys
from config.settings import SAMPLE_RATE
from config.tuning import LimitSettings
from tasks import sessions
from tests import fair_clock
from tests.house import House, open_house, wait_for
from tests.talker import PATIENCE_S, REPLY, Talker
from web.session import MAILBOX_WAIT_S

pytestmark = [pytest.mark.server, pytest.mark.slow]

SPEECH_S = 1.3

LIMITS = LimitSettings()

EAGER = {"ANTIPHON_LIMITS__CLIENT_BURST_S": "10"}

#: A session that nobody disturbs hears its reply without a hole longer than this.
UNDISTURBED_S = 0.6

#: Told within this time that there is no room.
TOLD_S = 3.0


@pytest.fixture
def house(full_house: House) -> House:
    """The module's stack; places and seats of clients that vanished in the test before are not waited for."""
    with full_house.state.server.client(0) as state, full_house.media.server.client(0) as media:
        for left in sessions.listed(state):
            sessions.end(state, media, left.sid, "the test is over")
        state.delete(keys.reserved())
    wait_for(lambda: all_free(full_house), "all seats to be free")
    return full_house


def all_free(house: House) -> bool:
    return all(stage["free"] == stage["slots"] for stage in house.health()["stages"].values())


@pytest.fixture(scope="module")
def full_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One worker for each stage, with room for two. It reads its clients as fast as they send for long: what is done
    then would hardly be seen else."""
    folder = tmp_path_factory.mktemp("full-house")
    with open_house(folder, workers=1, worker_options=("--slots", "2"), env=EAGER) as house:
        yield house


async def assert_answered(talker: Talker, number: int = 1, timeout_s: float = PATIENCE_S) -> None:
    answer = await talker.answered(number, timeout_s)
    assert answer.transcript == REPLY, talker.story()
    assert answer.status == ["completed"], talker.story()
    assert not talker.complaints, f"{talker.complaints}: {talker.story()}"


def assert_undisturbed(talker: Talker) -> None:
    assert not talker.errors, talker.story()
    assert talker.longest_gap("response.output_audio.delta") < UNDISTURBED_S, talker.story()


def test_a_third_session_waits_is_told_its_place_and_is_served_when_one_leaves(house: House) -> None:
    asyncio.run(_third_waits(house))


async def _third_waits(house: House) -> None:
    async with AsyncExitStack() as stack:
        first, leaver = [await stack.enter_async_context(Talker(house.url)) for _ in range(2)]
        third = Talker(house.url, query="&extensions=antiphon")
        came_s = fair_clock.now_s()
        entering = asyncio.create_task(stack.enter_async_context(third))
        await third.until("antiphon.queued")
        told_s = third.next_after(came_s, "antiphon.queued")
        print(f"\ntold after {told_s:.2f} s", end="")
        assert told_s is not None and told_s <= TOLD_S
        for talker in (first, leaver):
            talker.speak(SPEECH_S)
        for talker in (first, leaver):
            await assert_answered(talker)
            assert_undisturbed(talker)
        assert not entering.done()
        left_s = fair_clock.now_s()
        await leaver.leave()
        await entering
        print(f", served {third.next_after(left_s, 'session.updated'):.2f} s after one left", end="")
        assert [heard.event["place"] for heard in third.heard if heard.kind == "antiphon.queued"] == [1]
        third.speak(SPEECH_S)
        await assert_answered(third)
        assert third.user_texts == ["one two three"]


def test_who_talks_and_asks_without_end_in_the_line_is_held_up_and_served_in_its_turn(house: House) -> None:
    asyncio.run(_talks_in_line(house))


async def _talks_in_line(house: House) -> None:
    async with AsyncExitStack() as stack:
        leaver, _ = [await stack.enter_async_context(Talker(house.url)) for _ in range(2)]
        third = await stack.enter_async_context(connect(f"{house.url}?model=test&extensions=antiphon"))
        sid = (await expect(third, "session.created"))["session"]["id"].removeprefix("sess_")
        await expect(third, "antiphon.queued")
        second = base64.b64encode(bytes(2 * SAMPLE_RATE)).decode()
        for _ in range(2 * int(LIMITS.audio_keep_s)):
            await third.send(json.dumps({"type": "input_audio_buffer.append", "audio": second}))
        asking = asyncio.create_task(ask_on(third))
        done, _ = await asyncio.wait([asking], timeout=MAILBOX_WAIT_S + 1.0)
        assert not done, "it was thrown out"
        with house.media.server.client(0) as media:
            assert media.xlen(keys.audio_in(sid)) == LIMITS.audio_keep_s, "of its audio, too, no more is kept"
        await leaver.leave()
        async with asyncio.timeout(10):
            kinds = [json.loads(await third.recv())["type"] for _ in range(LIMITS.mailbox_items)]
        assert set(kinds) == {"session.updated"}, "what it asked for is answered"
        asking.cancel()


async def ask_on(client: ClientConnection) -> None:
    """Ends when the client is closed."""
    flood = json.dumps({"type": "session.update", "session": {"type": "realtime"}})
    with suppress(websockets.ConnectionClosed):
        while True:
            await client.send(flood)


def test_a_client_that_never_reads_harms_nobody(house: House) -> None:
    asyncio.run(_never_reads(house))


async def _never_reads(house: House) -> None:
    async with Talker(house.url) as talker, deaf(house) as client:
        flood = json.dumps({"type": "session.update", "session": {"type": "realtime"}})
        talker.speak(SPEECH_S)
        with pytest.raises(websockets.ConnectionClosed):
            # every event is answered with 1 kB that nobody takes
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await client.send(flood)
        await assert_answered(talker)
        assert_undisturbed(talker)


def deaf(house: House) -> connect:
    """A connection whose client takes almost nothing from the kernel."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", house.port))
    return connect(f"{house.url}?model=test", sock=raw, max_queue=1, compression=None, close_timeout=0.1)


BIG = LIMITS.message_bytes

#: What is sent, and the code of the one error that answers it.
RUBBISH = {
    "no JSON": ("{", "invalid_json"),
    "JSON that is no event": ("[1, 2]", "invalid_event"),
    "an unknown type": ('{"type": "make.coffee"}', "invalid_value"),
    "a type that is no text": ('{"type": 7}', "invalid_value"),
    "wrong base64": ('{"type": "input_audio_buffer.append", "audio": "***"}', "invalid_value"),
    "half a sample": ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_audio"),
    "a format that does not exist": (
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/mp3"}}}}}',
        "invalid_audio",
    ),
    "deep nesting": ('{"type": "session.update", "session": ' + '{"a":' * 5000 + "1" + "}" * 5001, None),
}


def test_rubbish_gets_one_error_and_the_session_lives_on(house: House) -> None:
    asyncio.run(_rubbish(house))


async def _rubbish(house: House) -> None:
    async with Talker(house.url) as talker, connect(f"{house.url}?model=test") as client:
        talker.speak(SPEECH_S)
        await expect(client, "session.created")
        for what, (raw, code) in RUBBISH.items():
            await client.send(raw)
            error = (await expect(client, "error"))["error"]
            assert code in (None, error["code"]), f"{what}: {error}"
            assert error["message"], what
        # one error each, and the session still serves
        await client.send('{"type": "session.update", "session": {"type": "realtime"}}')
        await expect(client, "session.updated")
        await assert_answered(talker)
        assert_undisturbed(talker)


async def expect(client: ClientConnection, kind: str) -> dict:
    """The next event, which must be of this kind."""
    event = json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))
    assert event["type"] == kind, event
    return event


@pytest.mark.parametrize(
    ("message", "code"), [("x" * (BIG + 1), 1009), (b"\x00" * 10, 1003)], ids=["big", "binary"]
)
def test_a_message_that_cannot_be_taken_closes_its_own_connection(
    message: str | bytes, code: int, house: House
) -> None:
    asyncio.run(_closed_with(message, code, house))


async def _closed_with(message: str | bytes, code: int, house: House) -> None:
    async with Talker(house.url) as talker, connect(f"{house.url}?model=test", compression=None) as client:
        await expect(client, "session.created")
        await client.send(message)
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await asyncio.wait_for(client.recv(), PATIENCE_S)
        assert client.close_code == code
        assert client.close_reason
        talker.speak(SPEECH_S)
        await assert_answered(talker)
        assert_undisturbed(talker)
