"""A user with a microphone: speaks utterances into one session, one after another, and waits for each answer.

It measures by the rules of `antiphon talk` (cli/measure.py) and speaks its dialect (cli/ga_client.py); unlike that
command it knows what it will say next only when the answer before is over.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.server import BenchFailed
from bench.speech import Utterance
from cli import happenings as h
from cli.call import MAX_MESSAGE_BYTES
from cli.ga_client import GaClient
from cli.measure import Report, TurnBook
from cli.sound import PACKET_S, SILENCE, Clip
from cli.turn import Reply

#: A session that is not open by then is a failure of its own.
OPENING_S = 30.0

#: An answer that is not over by then is none.
ANSWER_S = 45.0
#: An answer that has not begun by then is none; beyond any bar.
BEGIN_S = 15.0

#: How long a person listens before the next word.
GAP_S = 0.7

LOOK_S = 0.02


@dataclass(frozen=True)
class Answered:
    """What became of one utterance. `figures` are those of the turn that ended it; empty where none did."""

    utterance: Utterance
    turns: int
    """In how many turns the server took it; more than one: it answered too early."""
    figures: Report = field(default_factory=dict)
    understood: str = ""
    status: str | None = None
    """How the last reply ended; None: there was none, or it has no end."""

    @property
    def voice_to_voice_ms(self) -> float | None:
        """None: not answered."""
        value = self.figures.get("voice_to_voice_ms")
        return value if isinstance(value, float) else None


@dataclass(frozen=True)
class BargedIn:
    """An interruption: from the first audible packet of it sent to the last audio of the reply received."""

    stopped_ms: float | None
    """None: the reply was not cancelled."""


class Talker:
    """One session. `open` makes it."""

    def __init__(self, socket: ClientConnection, instructions: str, max_tokens: int | None) -> None:
        self.book = TurnBook()
        #: When the server complained of something, on the monotonic clock.
        self.told_at: list[float] = []
        self._socket = socket
        self._dialect = GaClient()
        self._instructions = instructions
        self._max_tokens = max_tokens
        self._ready = asyncio.Event()
        self._zero = monotonic()
        self._clip: Clip | None = None
        self._at = 0
        self._spoken = asyncio.Event()
        self._onset: float | None = None
        self._audio_at: dict[str, float] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, instructions: str, max_tokens: int | None = None) -> AsyncIterator[Self]:
        """A session that listens; silence flows until something is said. Raises BenchFailed."""
        try:
            async with (
                connect(
                    url, compression=None, max_size=MAX_MESSAGE_BYTES, proxy=None, close_timeout=1
                ) as socket,
                asyncio.TaskGroup() as group,
            ):
                talker = cls(socket, instructions, max_tokens)
                tasks = [group.create_task(talker._listen())]
                async with asyncio.timeout(OPENING_S):
                    await talker._ready.wait()
                tasks.append(group.create_task(talker._microphone()))
                yield talker
                for task in tasks:
                    task.cancel()
        except* (OSError, TimeoutError, WebSocketException) as errors:
            raise BenchFailed(f"the conversation at {url} broke: {errors.exceptions[0]!r}") from None

    def _now(self) -> float:
        return monotonic() - self._zero

    # --- what a user does

    async def ask(self, utterance: Utterance) -> Answered:
        """Says it, hears the answer to its end, and is silent for a moment."""
        known, heard_texts = len(self.book.turns), set(self.book.texts)
        await self.say(utterance)
        await self._answer(known)
        reports = self.book.report()[known:]
        texts = [text.text for name, text in self.book.texts.items() if name not in heard_texts]
        last = [*self.book.turns.values()][-1].reply if reports else None
        await asyncio.sleep(GAP_S)
        status = last.status if last is not None else None
        return Answered(utterance, len(reports), reports[-1] if reports else {}, " ".join(texts), status)

    async def say(self, utterance: Utterance) -> float:
        """Says it; returns when its first audible packet left, in seconds of this session."""
        self._spoken.clear()
        self._onset = None
        self._clip, self._at = utterance.clip, 0
        await self._spoken.wait()
        return self._now() if self._onset is None else self._onset

    async def _answer(self, known: int) -> None:
        """Until all that was said is answered and played, or it takes too long."""
        began = self._now()
        while self._now() < began + ANSWER_S:
            await asyncio.sleep(LOOK_S)
            answered = len(self.book.turns) > known and self.book.settled(self._now())
            if answered and self._now() >= self._plays_until():
                return
            started = any(turn.reply for turn in [*self.book.turns.values()][known:])
            if not started and self._now() > began + BEGIN_S:
                return

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for it, but no longer than for an answer."""
        began = self._now()
        while not true() and self._now() < began + ANSWER_S:
            await asyncio.sleep(LOOK_S)

    def _plays_until(self) -> float:
        return max((reply.runs_out_at for reply in self.book.replies.values()), default=0.0)

    async def hear(self, audio_s: float) -> str | None:
        """Waits for so much of a new reply; its id, or None where no reply is that long."""
        known = set(self.book.replies)

        def new() -> list[Reply]:
            return [reply for name, reply in self.book.replies.items() if name not in known]

        await self.until(lambda: any(one.audio_s >= audio_s or (one.status and one.samples) for one in new()))
        return next((one.id for one in new() if one.status is None and one.audio_s >= audio_s), None)

    async def interrupt(self, utterance: Utterance, reply: str) -> BargedIn:
        """Speaks into a reply and hears what becomes of it; the answer to the interruption is not waited for."""
        onset = await self.say(utterance)
        await self.until(lambda: self.book.replies[reply].status is not None)
        stopped = self.book.replies[reply].status == "cancelled"
        return BargedIn(round(1000 * (self._audio_at[reply] - onset), 1) if stopped else None)

    # --- its ears and its microphone

    async def _listen(self) -> None:
        async for message in self._socket:
            t = self._now()
            self.take(message, t)
            for happening in self._dialect.understand(message):
                self.book.note(happening, t)
                match happening:
                    case h.SessionOpened():
                        await self._configure()
                    case h.SessionReady():
                        self._ready.set()
                    case h.ReplyAudio(reply=reply):
                        self._audio_at[reply] = t
                    case h.ServerError():
                        self.told_at.append(monotonic())

    def take(self, message: str | bytes, t: float) -> None:
        """For those who want more of a message than the turn book does."""

    async def _configure(self) -> None:
        # recorded only where ANTIPHON_RECORD_DIR is set: for a look at one session with `antiphon replay`
        consent = {"allow_recording": True}
        session: dict[str, object] = {
            "type": "realtime", "instructions": self._instructions, "antiphon": consent,
        }  # fmt: skip
        if self._max_tokens is not None:
            session["max_output_tokens"] = self._max_tokens
        await self._socket.send(json.dumps({"type": "session.update", "session": session}))
        for message in self._dialect.configure():
            await self._socket.send(message)

    async def _microphone(self) -> None:
        began = self._now()
        position = 0
        while True:
            position += 1
            await asyncio.sleep(max(0.0, began + position * PACKET_S - self._now()))
            await self._send()

    async def _send(self) -> None:
        packet, loud, clear = self.next_packet()
        for message in self._dialect.append(packet):
            await self._socket.send(message)
        t = self._now()
        self.book.note(h.PacketSent(loud, clear), t)
        self.sent(loud, t)

    def next_packet(self) -> tuple[bytes, bool, bool]:
        """What the microphone hears next: the packet, whether it is audible, whether it is surely speech."""
        clip, at = self._clip, self._at
        return (SILENCE, False, False) if clip is None else (clip.packets[at], clip.loud[at], clip.clear[at])

    def sent(self, loud: bool, t: float) -> None:
        """The packet left at `t`."""
        clip = self._clip
        if clip is None:
            return
        if loud and self._onset is None:
            self._onset = t
        self._at += 1
        if self._at == len(clip.packets):
            self._clip = None
            self._spoken.set()
