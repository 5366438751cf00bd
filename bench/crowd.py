"""Many cheap users for null engines: `python -m bench.crowd PLAN` holds some sessions in one process.

Packets are made once; of what comes only the type is read, and the length of audio. A voice is a hum: all that null
engines ask for. Prints one JSON object, a `Gathered`, at the end.
"""

import asyncio
import base64
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from cli.call import MAX_MESSAGE_BYTES
from cli.sound import RATE
from cli.turn import Reply

#: One packet is one frame of the null engine: it completes that frame, and nothing of the next.
PACKET_S = 0.080
PACKET_SAMPLES = round(RATE * PACKET_S)

HUM_HZ = 140.0

PING_EVERY_S = 1.0

#: A pause for the reply that never comes; then the next turn.
GIVE_UP_S = 20.0


class Plan(msgspec.Struct):
    """What a process of users has to do. Moments are of the clock that all processes of a machine share."""

    url: str
    sessions: int
    number: int
    """Of the first session, among all."""
    of: int
    begin_s: float
    """From here on it is measured; sessions open before."""
    end_s: float


class Gathered(msgspec.Struct):
    """What the users of one process measured between the plan's moments."""

    voice_to_voice_ms: list[float] = []
    late_audio_ms: list[float] = []
    ping_ms: list[float] = []
    sent_late_ms: list[float] = []
    """How late packets left: the users' own tardiness."""
    unanswered: int = 0
    errors: list[str] = []


class _Heard(msgspec.Struct):
    type: str
    delta: str = ""


def _append(pcm: bytes) -> str:
    return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(pcm).decode()}"}}'


def _hum() -> bytes:
    t = np.arange(PACKET_SAMPLES) / RATE
    tone = np.sum([np.sin(2 * np.pi * k * HUM_HZ * t) / k for k in range(1, 8)], axis=0)
    return bytes((0.15 * tone * 32767).astype("<i2").tobytes())


HUM, SILENCE = _append(_hum()), _append(bytes(2 * PACKET_SAMPLES))

CONFIGURE = msgspec.json.encode(
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "turn_detection": {"type": "semantic_vad"},
                },
                "output": {"format": {"type": "audio/pcm", "rate": RATE}},
            },
        },
    }
).decode()


@dataclass
class _Turn:
    """What a user waits for."""

    spoken_at: float
    player: Reply = field(default_factory=lambda: Reply("", None))
    done: bool = False


class User:
    """One session: hums a while, waits for the answer's end, is silent a while, and so on."""

    def __init__(self, plan: Plan, gathered: Gathered, number: int) -> None:
        self._plan = plan
        self._gathered = gathered
        self._random = random.Random(number)
        self._turn: _Turn | None = None

    async def live(self, socket: ClientConnection, starts_s: float) -> None:
        """Until the plan's end."""
        await socket.send(CONFIGURE)
        tasks = [asyncio.create_task(self._listen(socket)), asyncio.create_task(self._ping(socket))]
        try:
            await self._speak(socket, starts_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _measured(self, now_s: float) -> bool:
        return self._plan.begin_s <= now_s < self._plan.end_s

    async def _speak(self, socket: ClientConnection, starts_s: float) -> None:
        hums, silence = self._next_turn(), 0
        position = 0
        while (due_s := starts_s + position * PACKET_S) < self._plan.end_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await socket.send(HUM if hums else SILENCE)
            now_s = time.monotonic()
            if self._measured(now_s):
                self._gathered.sent_late_ms.append(1000 * (now_s - due_s))
            position += 1
            if hums:
                hums -= 1
                if not hums:
                    self._turn, silence = _Turn(now_s), self._random.randint(6, 18)
            elif self._over(now_s):
                silence -= 1
                if not silence:
                    hums = self._next_turn()

    def _next_turn(self) -> int:
        return self._random.randint(15, 30)

    def _over(self, now_s: float) -> bool:
        """Whether the answer has been heard; one that never comes is given up."""
        turn = self._turn
        if turn is None:
            return True
        if turn.done and now_s >= turn.player.runs_out_at:
            if self._measured(turn.spoken_at):
                self._gathered.late_audio_ms.append(1000 * turn.player.late_s)
                self._gathered.unanswered += not turn.player.samples
            self._turn = None
        elif now_s > turn.spoken_at + GIVE_UP_S:
            self._gathered.unanswered += 1
            self._turn = None
        return self._turn is None

    async def _listen(self, socket: ClientConnection) -> None:
        decoder = msgspec.json.Decoder(_Heard)
        async for message in socket:
            now_s = time.monotonic()
            heard = decoder.decode(message)
            if heard.type == "response.output_audio.delta":
                self._play(len(heard.delta) * 3 // 8, now_s)
            elif heard.type == "response.done" and self._turn is not None:
                self._turn.done = True
            elif heard.type == "error":
                self._gathered.errors.append(str(message)[:200])

    def _play(self, samples: int, now_s: float) -> None:
        turn = self._turn
        if turn is None:
            return
        if not turn.player.samples and self._measured(turn.spoken_at):
            self._gathered.voice_to_voice_ms.append(1000 * (now_s - turn.spoken_at))
        turn.player.play(now_s, samples)

    async def _ping(self, socket: ClientConnection) -> None:
        await asyncio.sleep(self._random.random() * PING_EVERY_S)
        while True:
            now_s = time.monotonic()
            await (await socket.ping())
            if self._measured(now_s):
                self._gathered.ping_ms.append(1000 * (time.monotonic() - now_s))
            await asyncio.sleep(PING_EVERY_S)


async def _session(plan: Plan, gathered: Gathered, number: int) -> None:
    """The packets of all sessions are spread evenly over the length of one."""
    await asyncio.sleep(0.05 * number)
    try:
        async with connect(
            plan.url, compression=None, max_size=MAX_MESSAGE_BYTES, proxy=None, close_timeout=1
        ) as socket:
            phase_s = PACKET_S * number / plan.of
            beat = time.monotonic() // PACKET_S * PACKET_S + 2 * PACKET_S
            await User(plan, gathered, number).live(socket, beat + phase_s)
    except (OSError, TimeoutError, WebSocketException) as error:
        gathered.errors.append(f"session {number}: {error!r}")


async def hold(plan: Plan) -> Gathered:
    """All sessions of the plan, to its end."""
    gathered = Gathered()
    numbers = range(plan.number, plan.number + plan.sessions)
    await asyncio.gather(*(_session(plan, gathered, number) for number in numbers))
    return gathered


def joined(parts: Sequence[Gathered]) -> Gathered:
    """What several processes measured, together."""
    whole = Gathered()
    for part in parts:
        whole.voice_to_voice_ms += part.voice_to_voice_ms
        whole.late_audio_ms += part.late_audio_ms
        whole.ping_ms += part.ping_ms
        whole.sent_late_ms += part.sent_late_ms
        whole.unanswered += part.unanswered
        whole.errors += part.errors
    return whole


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.stdout.buffer.write(
            msgspec.json.encode(asyncio.run(hold(msgspec.json.decode(sys.argv[1], type=Plan))))
        )
