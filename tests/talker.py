"""A user for tests: speaks the GA dialect in real time, records what comes, returns after a loss, minds the order.

Its voice is a hum, which the null engine takes for a word every 0.4 s.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection, connect

from config.settings import SAMPLE_RATE
from gpu_workers.null_timing import WORDS
from tests import fair_clock
from tests.coded import Coded

#: Fundamental of the hum: that of a deep voice.
HUM_HZ = 140.0

#: What the null language model answers to everything.
REPLY = " ".join(WORDS) + "."

#: Between attempts to come back.
RETRY_S = 0.1

#: What is waited for comes within some seconds; this is for a machine under load.
PATIENCE_S = 40.0

#: Packets sent at once when the talker was away: no more than a burst that a server must take.
BURST_PACKETS = 50


def hum(samples: int, at: int) -> bytes:
    """pcm16 of a voice, in phase from session sample `at`."""
    t = (at + np.arange(samples)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * k * HUM_HZ * t) / k for k in range(1, 8))
    return bytes((0.15 * tone * 32767).astype("<i2").tobytes())


@dataclass(frozen=True)
class Heard:
    """An event, when it came (by tests/fair_clock.py), and over which connection."""

    at_s: float
    connection: int
    event: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.event["type"])


@dataclass
class Answer:
    """What arrived of one response. A response announced again tells its words again."""

    number: int
    created_s: float
    transcript: str = ""
    pieces: dict[int, bytearray] = field(default_factory=dict)
    """Audio by connection."""
    status: list[str] = field(default_factory=list)
    done_s: float = 0.0

    @property
    def pcm(self) -> bytes:
        return b"".join(bytes(piece) for piece in self.pieces.values())

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class Talker:
    """One user. `complaints` holds every breach of the protocol's order."""

    def __init__(
        self,
        url: str,
        *,
        packet_ms: int = 20,
        detection: str | None = "semantic_vad",
        query: str = "",
        session: dict[str, Any] | None = None,
        coded: Coded | None = None,
    ) -> None:
        self._url = f"{url}?model=test{query}"
        self._session = session or {}
        self.coded = coded or Coded("pcm16")
        self._packet = SAMPLE_RATE * packet_ms // 1000
        self._detection = detection
        self._token = ""
        self._socket: ClientConnection | None = None
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._voice: list[tuple[int, int]] = []
        self._left = 0
        self._gone = False
        self.sent = 0
        """Session samples produced; the microphone never stops."""
        self.sid = ""
        self.connections = 0
        self.closes: list[int] = []
        self.refused: list[int] = []
        """HTTP statuses of handshakes that came to nothing."""
        self.heard: list[Heard] = []
        self.answers: dict[str, Answer] = {}
        self.user_texts: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._order = Order(self.complaints)

    # --- life

    async def __aenter__(self) -> "Talker":
        self._tasks = [asyncio.create_task(self._live())]
        await self.until("session.updated")
        self._tasks.append(asyncio.create_task(self._microphone()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def leave(self) -> None:
        """Says goodbye, for good."""
        self._gone = True
        if self._socket is not None:
            await self._socket.close()

    async def _live(self) -> None:
        while not self._gone:
            try:
                protocols = ["realtime", f"antiphon-resume.{self._token}"] if self._token else None
                async with connect(
                    self._url, subprotocols=protocols, open_timeout=PATIENCE_S, compression=None
                ) as socket:  # type: ignore[arg-type]
                    await self._converse(socket)
            except websockets.InvalidStatus as error:
                self.refused.append(error.response.status_code)
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            await asyncio.sleep(RETRY_S)

    async def _converse(self, socket: ClientConnection) -> None:
        self.connections += 1
        self._order.connected()
        try:
            async for raw in socket:
                await self._take(json.loads(raw), socket)
        finally:
            self._socket = None
            self.closes.append(socket.close_code or 1006)

    async def _take(self, event: dict[str, Any], socket: ClientConnection) -> None:
        self.heard.append(Heard(fair_clock.now_s(), self.connections, event))
        self._order.heard(event)
        kind = event["type"]
        if kind == "session.created":
            extension = event["session"]["antiphon"]
            self._token = extension["resume_token"]
            self.sid = event["session"]["id"].removeprefix("sess_")
            if not extension["resumed"]:
                await self._configure(socket)
            self._socket = socket
        elif kind == "error":
            self.errors.append(event["error"])
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.user_texts.append(event["transcript"])
        elif kind.startswith("response."):
            self._take_response(kind, event)
        async with self._changed:
            self._changed.notify_all()

    def _take_response(self, kind: str, event: dict[str, Any]) -> None:
        now_s = fair_clock.now_s()
        if kind == "response.created":
            answer = self.answers.setdefault(
                event["response"]["id"], Answer(len(self.answers) + 1, created_s=now_s)
            )
            answer.transcript = ""
        elif kind == "response.done":
            answer = self.answers[event["response"]["id"]]
            answer.status.append(event["response"]["status"])
            answer.done_s = now_s
        elif kind == "response.output_audio_transcript.delta":
            self.answers[event["response_id"]].transcript += event["delta"]
        elif kind == "response.output_audio.delta":
            pieces = self.answers[event["response_id"]].pieces
            pieces.setdefault(self.connections, bytearray()).extend(self.coded.sound_of(event))

    async def _configure(self, socket: ClientConnection) -> None:
        detection = {"type": self._detection} if self._detection else None
        hear = {"turn_detection": detection, "format": self.coded.name}
        audio = {"input": hear, "output": {"format": self.coded.name}}
        session = {"type": "realtime", "audio": audio, **self._session}
        await socket.send(json.dumps({"type": "session.update", "session": session}))

    # --- speaking

    async def _microphone(self) -> None:
        """A packet whenever its time has come; what cannot leave now leaves after the return."""
        began_s = time.monotonic()
        backlog: list[dict[str, Any]] = []
        while True:
            while self.sent + self._packet <= (time.monotonic() - began_s) * SAMPLE_RATE:
                loud = any(begin <= self.sent < end for begin, end in self._voice)
                pcm = hum(self._packet, self.sent) if loud else bytes(2 * self._packet)
                backlog += self.coded.appends(pcm)
                self.sent += self._packet
            with contextlib.suppress(websockets.ConnectionClosed):
                for _ in range(min(len(backlog), BURST_PACKETS)):
                    if self._socket is None:
                        break
                    await self.send("input_audio_buffer.append", **backlog[0])
                    backlog.pop(0)
                    self._left += self._packet
            await asyncio.sleep(self._packet / SAMPLE_RATE / 2)

    async def send(self, kind: str, **fields: Any) -> None:
        """An event of the client; nothing while it is away."""
        if self._socket is not None:
            await self._socket.send(json.dumps({"type": kind, **fields}))

    def speak(self, seconds: float, *more: float) -> None:
        """The user's voice sounds for so long from now on; `more`: is silent for so long, sounds, …"""
        at, self._voice = self.sent, []
        for number, lasts_s in enumerate((seconds, *more)):
            begin, at = at, at + int(lasts_s * SAMPLE_RATE)
            if number % 2 == 0:
                self._voice.append((begin, at))

    async def spoken(self) -> None:
        """Until all of the voice is on its way to the server."""
        async with asyncio.timeout(PATIENCE_S):
            while self._left < self._voice[-1][1]:
                await asyncio.sleep(self._packet / SAMPLE_RATE / 2)

    # --- waiting

    async def wait(self, true: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Until something is so; else a message that says what came instead."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(true), timeout_s)
            except TimeoutError:
                raise AssertionError(f"waited {timeout_s} s in vain for {what}; {self.story()}") from None

    async def until(self, kind: str, *, count: int = 1, timeout_s: float = PATIENCE_S) -> Heard:
        """The event of this kind with this number."""
        await self.wait(lambda: len(self.of(kind)) >= count, timeout_s, f"{kind} no. {count}")
        return self.of(kind)[count - 1]

    async def answered(self, number: int, timeout_s: float = PATIENCE_S) -> Answer:
        """The answer with this number, once it is done."""
        await self.wait(
            lambda: sum(bool(a.status) for a in self.answers.values()) >= number,
            timeout_s,
            f"answer {number}",
        )
        return list(self.answers.values())[number - 1]

    def of(self, kind: str) -> list[Heard]:
        """All events of a kind so far."""
        return [heard for heard in self.heard if heard.kind == kind]

    def next_after(self, moment_s: float, *kinds: str) -> float | None:
        """Seconds from a moment of the same clock to the next event of these kinds; None if none came."""
        later = [heard.at_s for heard in self.heard if heard.at_s > moment_s and heard.kind in kinds]
        return later[0] - moment_s if later else None

    def longest_gap(self, kind: str, since_s: float = 0.0) -> float:
        """Longest silence between two events of a kind, in seconds."""
        times = [heard.at_s for heard in self.of(kind) if heard.at_s >= since_s]
        return max((b - a for a, b in pairwise(times)), default=0.0)

    def story(self) -> str:
        """What came, deltas counted, for the message of a failed test."""
        first_s = self.heard[0].at_s if self.heard else 0.0
        lines: list[str] = []
        for kind, run in groupby(self.heard, lambda heard: heard.kind):
            for first, *more in [[*run]] if kind.endswith(".delta") else [[heard] for heard in run]:
                told = f" {first.event['error']}" if kind == "error" else ""
                to = f" to {more[-1].at_s - first_s:.2f} ({len(more) + 1})" if more else ""
                lines.append(f"{first.at_s - first_s:.2f}{to}{told} {kind}")
        return f"connections {self.connections}, closes {self.closes}:\n" + "\n".join(lines)


class Order:
    """Checks what a client may rely on: nothing is told before it is announced, and nothing after it is done."""

    def __init__(self, complaints: list[str]) -> None:
        self._complaints = complaints
        self._fresh = True
        self._open: set[str] = set()
        self._done: set[str] = set()
        self._committed: set[str] = set()
        self._transcribed: set[str] = set()
        self._speaking = False

    def connected(self) -> None:
        """A new connection: responses under way are announced again, and a voice that sounds."""
        self._fresh = True
        self._speaking = False
        self._open.clear()

    def heard(self, event: dict[str, Any]) -> None:
        """One event, in order."""
        kind = event["type"]
        self._mind(kind == "session.created" or not self._fresh, f"{kind} instead of session.created")
        self._fresh = False
        if kind.startswith("response."):
            self._response(kind, event)
        elif kind.startswith("input_audio_buffer."):
            self._input(kind, event)
        elif kind == "conversation.item.input_audio_transcription.completed":
            item = event["item_id"]
            self._mind(item in self._committed, "a transcript of what was not committed")
            self._mind(item not in self._transcribed, "a second transcript of one item")
            self._transcribed.add(item)

    def _response(self, kind: str, event: dict[str, Any]) -> None:
        response = event["response"]["id"] if "response" in event else event["response_id"]
        self._mind(response not in self._done, f"{kind} after response.done")
        if kind == "response.created":
            self._mind(not self._open, "two responses at once")
            self._open.add(response)
        else:
            self._mind(response in self._open, f"{kind} before response.created")
        if kind == "response.done":
            self._open.discard(response)
            self._done.add(response)

    def _input(self, kind: str, event: dict[str, Any]) -> None:
        if kind.endswith("speech_started"):
            self._mind(not self._speaking, "speech_started twice")
            self._speaking = True
        elif kind.endswith("speech_stopped"):
            self._mind(self._speaking, "speech_stopped without speech_started")
            self._speaking = False
        elif kind.endswith("committed"):
            self._committed.add(event["item_id"])

    def _mind(self, holds: bool, complaint: str) -> None:
        if not holds:
            self._complaints.append(complaint)
