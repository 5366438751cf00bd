"""Both kinds of clients on a real server with null engines, from the handshake to an answer."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import opuslib
import pytest
from websockets.asyncio.client import ClientConnection, connect

from cli.ogg_opus import OggOpusReader
from config.settings import SAMPLE_RATE
from tests.house import House, open_house
from tests.talker import REPLY, hum
from tests.test_unmute import SMALLTALK, LoadTester, update
from web.ogg import OggOpusWriter

pytestmark = [pytest.mark.server, pytest.mark.slow]

PACKET = SAMPLE_RATE // 50

#: A whole conversation of two replies takes 10 s.
DEADLINE_S = 40.0

#: Quick words, so that the replies are short.
FAST = {
    "ANTIPHON_LLM__OPTIONS": '{"first_word_s": 0.05, "word_interval_s": 0.01}',
    "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.05, "word_audio_s": 0.08}',
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), workers=1, env=FAST) as house:
        yield house


class Microphone:
    """Streams Ogg-Opus in real time: silence, and a voice for as long as it is told."""

    def __init__(self) -> None:
        self._ogg = OggOpusWriter(11)
        self._encoder = opuslib.Encoder(SAMPLE_RATE, 1, opuslib.APPLICATION_AUDIO)
        self._head = self._ogg.head()
        self._sent = 0
        self._voice_to = 0

    def speak(self, seconds: float) -> None:
        self._voice_to = self._sent + int(seconds * SAMPLE_RATE)

    async def run(self, socket: ClientConnection) -> None:
        began = asyncio.get_running_loop().time()
        while True:
            pcm = hum(PACKET, self._sent) if self._sent < self._voice_to else bytes(2 * PACKET)
            pages = self._head + self._ogg.pages([self._encoder.encode(pcm, PACKET)])
            self._head = b""
            self._sent += PACKET
            await socket.send(append(pages))
            due = began + self._sent / SAMPLE_RATE
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


def append(pages: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pages).decode()})


async def load_test(url: str) -> LoadTester:
    tester, microphone = LoadTester(), Microphone()
    async with connect(url, subprotocols=["realtime"], compression=None) as socket:
        assert socket.subprotocol == "realtime"
        await socket.send(update({**SMALLTALK, "voice": None}))
        sending = asyncio.create_task(microphone.run(socket))
        try:
            async for message in socket:
                before = len(tester.answers)
                tester.hear([str(message)])
                if len(tester.answers) == 2:
                    break
                if len(tester.answers) > before:
                    microphone.speak(1.3)
        finally:
            sending.cancel()
    return tester


def test_the_load_tester_of_unmute_is_answered(house: House) -> None:
    tester = asyncio.run(asyncio.wait_for(load_test(house.url), DEADLINE_S))
    assert tester.answers == [REPLY, REPLY], house.said()
    assert tester.user_asked == ["one two three"]
    pcm = np.frombuffer(opus_pcm(tester.audio), "<i2")
    assert len(pcm) > 2 * 20 * 0.08 * SAMPLE_RATE * 0.9
    assert np.abs(pcm).max() > 3000


def opus_pcm(stream: bytes) -> bytes:
    return OggOpusReader().read(stream)


async def mistaken(url: str) -> list[dict[str, Any]]:
    """Says what is wrong, and then what is right."""
    async with connect(url, subprotocols=["realtime"], compression=None) as socket:
        for wrong in ("{", append(b"RIFF" * 20), update({**SMALLTALK, "instructions": {"type": "pirate"}})):
            await socket.send(wrong)
        await socket.send(update({**SMALLTALK, "voice": "nobody"}))
        await socket.send(update({**SMALLTALK, "voice": None}))
        events = []
        while not events or events[-1]["type"] != "response.created":
            events.append(json.loads(await socket.recv()))
        return events


def test_mistakes_before_the_conversation_do_not_prevent_it(house: House) -> None:
    events = asyncio.run(asyncio.wait_for(mistaken(house.url), DEADLINE_S))
    assert [event["type"] for event in events] == ["error"] * 4 + ["session.updated", "response.created"]
    assert {event["error"]["type"] for event in events[:4]} == {"invalid_request_error"}
    assert "there is no voice 'nobody'" in events[3]["error"]["message"]


async def waits_to_be_greeted(url: str) -> list[str]:
    """A client that says nothing before it was greeted."""
    headers = {"Authorization": "Bearer key"}
    async with connect(f"{url}?model=gpt-realtime", additional_headers=headers, compression=None) as socket:
        kinds = [json.loads(await asyncio.wait_for(socket.recv(), 20))["type"]]
        await socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
        kinds.append(json.loads(await asyncio.wait_for(socket.recv(), 20))["type"])
        return kinds


def test_a_client_that_waits_for_session_created_gets_it(house: House) -> None:
    assert asyncio.run(waits_to_be_greeted(house.url)) == ["session.created", "session.updated"]
