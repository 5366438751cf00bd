"""Conversations in every audio format of the GA dialect, with a whole server of null engines."""

import asyncio
import base64
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest

from config.messages import AudioFormat
from tasks.codec import encoder
from tests.coded import Coded
from tests.house import House, open_house
from tests.talker import REPLY, Answer, Talker
from tests.whole import REPLY_PCM, SAID, SPEECH_S

pytestmark = [pytest.mark.server, pytest.mark.slow]

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("formats"), workers=1) as house:
        yield house


def talker(house: House, audio_format: AudioFormat) -> Talker:
    extensions = "&extensions=antiphon" if audio_format == "opus" else ""
    return Talker(house.url, query=extensions, coded=Coded(audio_format))


def coded_reply(audio_format: AudioFormat) -> bytes:
    """The whole reply as one encoder makes it."""
    coder = encoder(audio_format)
    return b"".join(coder.encode(REPLY_PCM) + coder.flush())


def assert_answered(user: Talker, answer: Answer) -> None:
    """In words and in sound: byte for byte what the codec makes of the voice."""
    about = f"{user.coded.format}: {user.story()}"
    assert user.user_texts[-1] == SAID, about
    assert (answer.transcript, answer.status) == (REPLY, ["completed"]), about
    assert not user.complaints, about
    assert not user.errors, about
    assert answer.samples == -(-len(REPLY_PCM) // 480) * 480, about
    deltas = [
        base64.b64decode(heard.event["delta"])
        for heard in user.of("response.output_audio.delta")
        if user.answers[heard.event["response_id"]] is answer
    ]
    assert b"".join(deltas) == coded_reply(user.coded.format), about


def test_a_conversation_in_each_format_at_once(house: House) -> None:
    async def converse(audio_format: AudioFormat) -> None:
        async with talker(house, audio_format) as user:
            for number in (1, 2):
                user.speak(SPEECH_S)
                assert_answered(user, await user.answered(number))
            begin_ms = user.of("input_audio_buffer.speech_started")[-1].event["audio_start_ms"]
            assert begin_ms < user.sent / 24, "the session's time is that of its samples"

    async def all_of_them() -> None:
        await asyncio.gather(*map(converse, FORMATS))

    asyncio.run(all_of_them())


def test_a_client_changes_its_formats_between_turns(house: House) -> None:
    async def run() -> None:
        async with talker(house, "pcm16") as user:
            for number, audio_format in enumerate(("pcm16", "pcmu", "pcma", "pcm16"), 1):
                if number > 1:
                    user.coded = Coded(audio_format)
                    audio = {"input": {"format": user.coded.name}, "output": {"format": user.coded.name}}
                    await user.send("session.update", session={"audio": audio})
                    told = await user.until("session.updated", count=number)
                    assert told.event["session"]["audio"]["input"]["format"] == user.coded.name
                user.speak(SPEECH_S)
                assert_answered(user, await user.answered(number))

    asyncio.run(run())


@pytest.mark.parametrize("audio_format", ["pcmu", "opus"])
def test_what_is_said_while_the_web_dies_is_heard_in_any_format(
    house: House, audio_format: AudioFormat
) -> None:
    async def run() -> None:
        async with talker(house, audio_format) as user:
            user.speak(SPEECH_S)
            await user.until("input_audio_buffer.speech_started")
            house.kill_web()
            answer = await user.answered(1)
            assert user.connections > 1
            assert user.user_texts == [SAID], user.story()
            assert answer.transcript == REPLY
            assert not user.errors, user.story()

    asyncio.run(run())


def test_where_a_voice_begins_is_told_alike_in_all_formats(house: House) -> None:
    """To a packet, which is as close as the null engine looks."""

    async def begin_ms(audio_format: AudioFormat) -> float:
        async with talker(house, audio_format) as user:
            while user.sent < 24_000:
                await asyncio.sleep(0.01)
            user.speak(SPEECH_S)
            said_ms = user.sent / 24
            started = await user.until("input_audio_buffer.speech_started")
            return float(started.event["audio_start_ms"]) - said_ms

    async def all_of_them() -> list[float]:
        return await asyncio.gather(*map(begin_ms, FORMATS))

    began = asyncio.run(all_of_them())
    assert np.ptp(began) <= 40, dict(zip(FORMATS, began, strict=True))
