"""A client that asked for no extensions, through all that has one: waiting, mutes, barge-in, a lost connection."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.house import House, open_house
from tests.raw_client import RawClient, connected, silence, voice
from web.dialects.ga_teller import PARTIAL

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Room for one."""
    env = {"ANTIPHON_TURN__ECHO_SETTLE_S": "0"}
    folder = tmp_path_factory.mktemp("plain")
    with open_house(folder, workers=1, env=env, worker_options=("--slots", "1")) as house:
        yield house


async def waits(client: RawClient) -> None:
    """Until it is served."""
    while not client.of("session.updated"):
        await client.next()


async def is_answered(client: RawClient) -> None:
    await client.speak(1.3)
    await client.until("response.output_audio.delta")


async def coughs(client: RawClient) -> None:
    """A sound without words: the reply is held back, and goes on."""
    before = len(client.of("response.output_audio.delta"))
    await client.append(voice(0.16))
    for _ in range(12):
        await client.append(silence(0.1))
        await asyncio.sleep(0.1)
    while len(client.of("response.output_audio.delta")) < before + 8:
        await client.next()


async def whole_life(house: House, extensions: str) -> list[str]:
    """The kinds of all events that it got."""
    query = f"model=test{extensions}"
    async with AsyncExitStack() as others:
        first = await others.enter_async_context(connected(house.url, query))
        client = await others.enter_async_context(connected(house.url, query))
        token = client.events[0]["session"]["antiphon"]["resume_token"]
        while extensions and not client.of("antiphon.queued"):
            await client.next()
        await first.socket.close()
        await waits(client)
        await is_answered(client)
        await coughs(client)
        await client.append(voice(1.6))
        await client.until("conversation.item.truncated")
        client.socket.transport.abort()
        header = {"X-Antiphon-Resume": token}
        again = await others.enter_async_context(connected(house.url, query, additional_headers=header))
        assert again.events[0]["session"]["antiphon"]["resumed"]
        await again.speak(0.9)
        await again.until("response.done")
        return client.kinds() + again.kinds()


def test_a_plain_client_gets_no_event_outside_the_union(house: House) -> None:
    kinds = asyncio.run(whole_life(house, ""))
    assert not [kind for kind in kinds if kind.startswith("antiphon.")]
    assert {"input_audio_buffer.speech_started", "conversation.item.truncated", "response.done"} <= set(kinds)


def test_who_asks_gets_each_extension(house: House) -> None:
    kinds = asyncio.run(whole_life(house, "&extensions=antiphon"))
    asked = {"antiphon.queued", "antiphon.output.muted", "antiphon.output.resumed", PARTIAL}
    assert asked == {kind for kind in kinds if kind.startswith("antiphon.")}
