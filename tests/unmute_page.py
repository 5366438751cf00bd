"""A client of Unmute, written from what Unmute documents of its wire; it shares no code with ours.

Facts: docs/browser_backend_communication.md and unmute/openai_realtime_api_events.py of kyutai-labs/unmute at 84aa28d;
Ogg pages by RFC 3533, Opus in them by RFC 7845. Like Unmute's load tester it fails of an event that it does not know.
"""

import asyncio
import base64
import io
import json
import math
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import opuslib
import soundfile
from websockets import Subprotocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

RATE = 24_000

#: The page's encoder makes pages of so much sound.
PAGE_SAMPLES = 1920

#: Every server event, and its fields but `type` and `event_id`.
EVENTS: dict[str, dict[str, type]] = {
    "session.updated": {"session": dict},
    "response.created": {"response": dict},
    "response.text.delta": {"delta": str},
    "response.text.done": {"text": str},
    "response.audio.delta": {"delta": str},
    "response.audio.done": {},
    "conversation.item.input_audio_transcription.delta": {"delta": str, "start_time": float},
    "input_audio_buffer.speech_started": {},
    "input_audio_buffer.speech_stopped": {},
    "unmute.additional_outputs": {"args": dict},
    "unmute.response.text.delta.ready": {"delta": str},
    "unmute.interrupted_by_vad": {},
    "error": {"error": dict},
}

#: What its debug view always has; more is there when it was measured.
DEBUG = {
    "timing", "connection", "chatbot", "conversation_state", "tts_voice", "stt_pause_prediction", "last_receive_time",
}  # fmt: skip

Event = dict[str, Any]


class Microphone:
    """Sound and silence as one Ogg-Opus stream."""

    def __init__(self) -> None:
        self._encoder = opuslib.Encoder(RATE, 1, opuslib.APPLICATION_VOIP)
        self._pages = 0
        self._samples = 0

    def head(self) -> bytes:
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, RATE, 0, 0)
        tags = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)
        return self._page([head], 0, flags=2) + self._page([tags], 0)

    def page(self, *, loud: bool) -> bytes:
        """80 ms of a low voice, or of nothing."""
        at = self._samples + np.arange(PAGE_SAMPLES)
        tone = sum(np.sin(2 * math.pi * 120 * n * at / RATE) / n for n in range(1, 6)) if loud else 0 * at
        pcm = (6000 * tone).astype("<i2").tobytes()
        packets = [self._encoder.encode(pcm[begin : begin + 960], 480) for begin in range(0, len(pcm), 960)]
        self._samples += PAGE_SAMPLES
        return self._page(packets, 2 * self._samples)

    def _page(self, packets: list[bytes], granule: int, flags: int = 0) -> bytes:
        lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
        page = bytearray(
            struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 77, self._pages, 0, len(lacing))
        )
        page += lacing + b"".join(packets)
        page[22:26] = struct.pack("<I", checksum(page))
        self._pages += 1
        return bytes(page)


def checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page: polynomial 0x04c11db7, nothing reflected, from 0."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return crc


class UnmutePage:
    """One visit to the page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._changed = asyncio.Condition()
        self._loud_until = 0
        self._sent = 0
        self.heard: list[Event] = []
        self.closed: tuple[int, str] | None = None

    # --- the wire

    async def read(self) -> None:
        """Whatever comes, until the end."""
        try:
            async for raw in self._socket:
                assert isinstance(raw, str)
                event = json.loads(raw)
                judge(event)
                async with self._changed:
                    self.heard.append(event)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        async with self._changed:
            self.closed = (self._socket.close_code or 1006, self._socket.close_reason or "")
            self._changed.notify_all()

    async def talk_on(self, *, stale: bool) -> None:
        """The microphone is never off."""
        if stale:
            before = Microphone()
            before.head()
            await self.append(before.page(loud=True))
        microphone, began_s = Microphone(), time.monotonic()
        await self.append(microphone.head())
        try:
            while True:
                await self.append(microphone.page(loud=self._sent < self._loud_until))
                self._sent += PAGE_SAMPLES
                await asyncio.sleep(max(0.0, began_s + self._sent / RATE - time.monotonic()))
        except ConnectionClosed:
            pass

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, "event_id": "event_page", **fields}))

    async def send_bytes(self, data: bytes) -> None:
        await self._socket.send(data)

    async def append(self, pages: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pages).decode())

    async def configure(
        self, kind: str = "smalltalk", *, allow_recording: bool = False, **session: Any
    ) -> None:
        instructions = {"type": kind}
        session = {"instructions": instructions, "allow_recording": allow_recording, **session}
        await self.send("session.update", session=session)

    def speak(self, seconds: float) -> None:
        self._loud_until = self._sent + int(seconds * RATE)

    # --- what came

    async def until(self, kind: str, count: int = 1, timeout_s: float = 20.0) -> Event:
        """The `count`-th event of a kind."""
        await self.wait(lambda: len(self.of(kind)) >= count, timeout_s, f"{kind} no. {count}")
        return self.of(kind)[count - 1]

    async def end(self, timeout_s: float = 20.0) -> tuple[int, str]:
        """Code and reason of the server's goodbye."""
        await self.wait(lambda: self.closed is not None, timeout_s, "the end")
        assert self.closed is not None
        return self.closed

    async def wait(self, true: Callable[[], bool], timeout_s: float, what: str) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(true), timeout_s)
            except TimeoutError:
                story = [event["type"] for event in self.heard if not event["type"].endswith(".delta")]
                raise AssertionError(f"waited in vain for {what}: {story}, {self.closed}") from None

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.heard if event["type"] == kind]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What was shown beside the talk."""
        return [event["args"] for event in self.of("unmute.additional_outputs")]

    @property
    def history(self) -> list[tuple[str, str]]:
        """The newest that was shown."""
        return [(message["role"], message["content"]) for message in self.outputs[-1]["chat_history"]]

    @property
    def user_words(self) -> str:
        kind = "conversation.item.input_audio_transcription.delta"
        return " ".join(event["delta"] for event in self.of(kind))

    @property
    def samples_heard(self) -> int:
        """Of the replies' one Ogg-Opus stream, decoded by another library than the server's."""
        stream = b"".join(base64.b64decode(event["delta"]) for event in self.of("response.audio.delta"))
        assert stream[:4] == b"OggS" and stream[5] & 2, "the stream has no beginning"
        pcm, rate = soundfile.read(io.BytesIO(stream))
        assert rate == RATE
        return len(pcm)


def judge(event: Event) -> None:
    """As strict as Unmute's own models."""
    assert event["type"] in EVENTS, f"unknown event {event['type']}"
    assert isinstance(event["event_id"], str)
    for field, kind in EVENTS[event["type"]].items():
        value = event[field]
        assert isinstance(value, kind) or (kind is float and isinstance(value, int)), (event["type"], field)
    match event["type"]:
        case "error":
            assert event["error"]["type"] in {"fatal", "warning", "invalid_request_error", "server_error"}
            assert isinstance(event["error"]["message"], str)
        case "response.created":
            response = event["response"]
            assert (response["object"], response["status"]) == ("realtime.response", "in_progress")
            assert isinstance(response["voice"], str) and isinstance(response["chat_history"], list)
        case "session.updated":
            assert isinstance(event["session"]["allow_recording"], bool)
        case "unmute.additional_outputs":
            assert {"chat_history", "debug_dict", "debug_plot_data"} <= set(event["args"])
            assert set(event["args"]["debug_dict"]) >= DEBUG


@asynccontextmanager
async def visiting(url: str, *, stale: bool = False) -> AsyncIterator[UnmutePage]:
    """A page with an open microphone, as long as the context lasts. stale: what its encoder had left of an earlier
    visit comes first."""
    async with connect(url, subprotocols=[Subprotocol("realtime")], compression=None) as socket:
        assert socket.subprotocol == "realtime"
        page = UnmutePage(socket)
        tasks = [asyncio.create_task(page.read()), asyncio.create_task(page.talk_on(stale=stale))]
        try:
            yield page
        finally:
            await socket.close()
            await asyncio.gather(*tasks)
