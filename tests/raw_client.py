"""A client for tests that writes JSON by hand, and holds everything that comes against the SDK's strict union."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection, connect

from config.settings import SAMPLE_RATE
from tests.talker import hum

SERVER: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)

#: What is waited for comes within a second; this is for a machine under load.
DEADLINE_S = 30.0

#: Of one append.
PACKET_S = 0.1

Json = dict[str, Any]


def silence(seconds: float) -> bytes:
    """pcm16 of nobody."""
    return bytes(np.zeros(int(seconds * SAMPLE_RATE), "<i2").tobytes())


def voice(seconds: float) -> bytes:
    """pcm16 of somebody: to the null engine, a word every 0.4 s."""
    return hum(int(seconds * SAMPLE_RATE), 0)


def base64_of(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


class RawClient:
    """One connection, and everything that came over it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[Json] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> Json:
        """The next event, whatever it is; valid by the SDK unless it is an extension."""
        event: Json = json.loads(await asyncio.wait_for(self.socket.recv(), DEADLINE_S))
        if not event["type"].startswith("antiphon."):
            SERVER.validate_python(event)
        self.events.append(event)
        return event

    async def until(self, *kinds: str) -> Json:
        """The next event of these kinds. Errors are raised if they are none of them."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = await self.next()
                if event["type"] in kinds:
                    return event
                assert event["type"] != "error", event["error"]

    async def update(self, **session: Any) -> Json:
        """The session that is in effect then."""
        await self.send("session.update", session={"type": "realtime", **session})
        updated: Json = (await self.until("session.updated"))["session"]
        return updated

    async def append(self, pcm: bytes) -> None:
        """All at once, in events of some length."""
        size = int(PACKET_S * SAMPLE_RATE) * 2
        for at in range(0, len(pcm), size):
            await self.send("input_audio_buffer.append", audio=base64_of(pcm[at : at + size]))

    async def speak(self, seconds: float, pause_s: float = 0.8) -> None:
        """A voice, and the silence by which its end is known."""
        await self.append(voice(seconds) + silence(pause_s))

    async def refused(self, kind: str, **fields: Any) -> Json:
        """The error that answers an event."""
        await self.send(kind, event_id="asked", **fields)
        error: Json = (await self.until("error"))["error"]
        assert (error["type"], error["event_id"]) == ("invalid_request_error", "asked")
        return error

    async def write(self, text: str, **fields: Any) -> str:
        """A typed message; its id."""
        await self.send("conversation.item.create", item=typed(text), **fields)
        return str((await self.until("conversation.item.done"))["item"]["id"])

    def kinds(self, since: int = 0) -> list[str]:
        return [event["type"] for event in self.events[since:]]

    def of(self, kind: str) -> list[Json]:
        return [event for event in self.events if event["type"] == kind]


def typed(text: str, role: str = "user", item_id: str | None = None) -> Json:
    """A message."""
    kind = "output_text" if role == "assistant" else "input_text"
    item: Json = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return item if item_id is None else {"id": item_id, **item}


@asynccontextmanager
async def connected(url: str, query: str = "model=test", **options: Any) -> AsyncIterator[RawClient]:
    """Greeted."""
    async with connect(f"{url}?{query}", max_size=None, **options) as socket:
        client = RawClient(socket)
        await client.until("session.created")
        yield client
