"""The stock openai client in a test's own process, and the house it talks to: a scripted model and a quick voice."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.house import House, open_house
from tests.raw_client import DEADLINE_S
from tests.scripted_llm import ScriptedLlm

WEATHER: Any = {
    "type": "function", "name": "weather", "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}  # fmt: skip


@contextmanager
def scripted_house(
    model: ScriptedLlm, folders: pytest.TempPathFactory, name: str, *, word_audio_s: float = 0.08
) -> Iterator[House]:
    """A running stack that asks this model; each word of its voice is so long."""
    voice = f'{{"first_audio_after_s": 0.02, "word_audio_s": {word_audio_s}}}'
    env = {**model.settings, "ANTIPHON_TTS__OPTIONS": voice}
    with open_house(folders.mktemp(name), workers=1, env=env) as house:
        yield house


class SdkClient:
    """A connection of the SDK's, and everything that came over it."""

    def __init__(self, connection: AsyncRealtimeConnection, *, strict: bool) -> None:
        """strict: an error that is not waited for fails the test."""
        self.connection = connection
        self.events: list[Any] = []
        self._strict = strict

    async def until(self, *kinds: str) -> Any:
        """The next event of these kinds."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type in kinds:
                    return event
                if event.type == "error" and self._strict:
                    raise AssertionError(event.error.message)

    async def configure(self, **session: Any) -> None:
        asked: Any = {"type": "realtime", **session}
        await self.connection.session.update(session=asked)
        await self.until("session.updated")

    async def say(self, text: str) -> None:
        """A typed message."""
        content: Any = [{"type": "input_text", "text": text}]
        await self.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )

    async def write(self, text: str) -> str:
        """The same; its id, once it is there."""
        await self.say(text)
        return str((await self.until("conversation.item.done")).item.id)

    async def answer(self, **options: Any) -> Any:
        """The response to what was said."""
        await self.connection.response.create(**({"response": options} if options else {}))  # type: ignore[arg-type]
        return (await self.until("response.done")).response

    async def result(self, call: Any, output: str) -> None:
        """What a function gave."""
        await self.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": output}
        )
        await self.until("conversation.item.done")

    async def append(self, pcm: bytes) -> None:
        """All at once, in events of some length."""
        for at in range(0, len(pcm), 9600):
            audio = base64.b64encode(pcm[at : at + 9600]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)

    def errors(self) -> list[tuple[str | None, str | None]]:
        """Code and event_id of each."""
        return [(event.error.code, event.error.event_id) for event in self.of("error")]

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]


@asynccontextmanager
async def connected(house: House, *, strict: bool = True) -> AsyncIterator[SdkClient]:
    """Greeted, if strict."""
    base = f"ws://127.0.0.1:{house.port}/v1"
    openai = AsyncOpenAI(api_key="any", base_url=base.replace("ws", "http"), websocket_base_url=base)
    async with openai.realtime.connect(model="antiphon") as connection:
        client = SdkClient(connection, strict=strict)
        if strict:
            await client.until("session.created")
        yield client


def talk(house: House, program: Callable[[SdkClient], Awaitable[None]], *, strict: bool = True) -> None:
    """One conversation."""

    async def run() -> None:
        async with connected(house, strict=strict) as client:
            await program(client)

    asyncio.run(run())
