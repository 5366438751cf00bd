"""A user in a room: a microphone that never stops, loudspeakers that leak into it, words over the reply."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection

from bench.talker import Talker
from bench.turns.dialogue import Sound
from bench.turns.player import Player
from cli.sound import AUDIBLE_DBFS, PACKET_SAMPLES, RATE, level_dbfs
from gpu_workers.engine import Pcm

#: From a loudspeaker to the microphone beside it, through both sound cards' buffers.
ECHO_DELAY_S = 0.060

#: The assistant's voice at the microphone.
ECHO_GAIN = 10 ** (-20 / 20)


class _Extension(msgspec.Struct):
    heard: str | None = None


class _Response(msgspec.Struct):
    id: str = ""
    status: str | None = None
    antiphon: _Extension | None = None


class _Event(msgspec.Struct):
    """What is read besides the turn book's share."""

    type: str
    response_id: str = ""
    delta: str = ""
    response: _Response | None = None


@dataclass
class ReplyLog:
    """All that came of one reply. Times are seconds of the session."""

    player: Player = field(default_factory=Player)
    words: str = ""
    muted_at: list[float] = field(default_factory=list)
    resumed_at: list[float] = field(default_factory=list)
    done_at: float | None = None
    status: str | None = None
    heard: str | None = None
    """What the server keeps as heard, where it says so."""


class LiveUser(Talker):
    """Says sounds at moments of its choice, over the noise of its room, and writes down all that comes back."""

    def __init__(self, socket: ClientConnection, instructions: str, max_tokens: int | None) -> None:
        super().__init__(socket, instructions, max_tokens)
        self.room: Pcm = np.zeros(1, np.float32)
        """Played in a loop under everything."""
        self.leaks = False
        """Whether the microphone hears the replies."""
        self.replies: dict[str, ReplyLog] = {}
        self.speech_started_at: list[float] = []
        self._air: list[tuple[int, Pcm]] = []
        self._position = 0
        self._sent_at: list[float] = []

    # --- what is said

    def begin(self, sound: Sound) -> int:
        """Says it from the next packet on; the microphone's sample at which it begins."""
        self._air.append((self._position, sound.pcm))
        return self._position

    def moment(self, sample: int) -> float:
        """When a sample of the microphone sounded: packets leave when they are full. IndexError before it was sent."""
        packet, offset = divmod(sample, PACKET_SAMPLES)
        return self._sent_at[packet] - (PACKET_SAMPLES - offset) / RATE

    def passed(self, sample: int) -> bool:
        """Whether the microphone has sent it."""
        return sample < self._position

    @property
    def now(self) -> float:
        """Seconds of this session."""
        return self._now()

    # --- the microphone

    def next_packet(self) -> tuple[bytes, bool, bool]:
        """The room, what is said, and what leaks."""
        pcm = self._mix()
        samples = np.asarray(np.clip(pcm, -1, 1) * 32767, "<i2")
        loud = any(begin <= self._position < begin + len(said) for begin, said in self._air)
        return samples.tobytes(), loud and level_dbfs(samples) > AUDIBLE_DBFS, False

    def _mix(self) -> Pcm:
        at = self._position
        pcm = np.take(self.room, range(at, at + PACKET_SAMPLES), mode="wrap").astype(np.float32)
        for begin, said in self._air:
            part = said[max(0, at - begin) :][: max(0, at + PACKET_SAMPLES - max(at, begin))]
            pcm[max(0, begin - at) : max(0, begin - at) + len(part)] += part
        self._air = [(begin, said) for begin, said in self._air if begin + len(said) > at + PACKET_SAMPLES]
        if self.leaks:
            since = self.now - ECHO_DELAY_S - PACKET_SAMPLES / RATE
            for log in self.replies.values():
                pcm += ECHO_GAIN * log.player.window(since, PACKET_SAMPLES)
        return pcm

    def sent(self, loud: bool, t: float) -> None:
        """The packet left."""
        self._sent_at.append(t)
        self._position += PACKET_SAMPLES

    # --- what comes back

    def take(self, message: str | bytes, t: float) -> None:
        """Writes down one server event."""
        event = msgspec.json.decode(message, type=_Event)
        if event.type == "input_audio_buffer.speech_started":
            self.speech_started_at.append(t)
        name = event.response_id or (event.response.id if event.response is not None else "")
        if name:
            self._write(self.replies.setdefault(name, ReplyLog()), event, t)

    def _write(self, log: ReplyLog, event: _Event, t: float) -> None:
        match event.type:
            case "response.output_audio.delta":
                samples = np.frombuffer(base64.b64decode(event.delta), "<i2")
                log.player.give(t, np.asarray(samples / 32768, np.float32))
            case "response.output_audio_transcript.delta":
                log.words += event.delta
            case "antiphon.output.muted":
                log.muted_at.append(t)
            case "antiphon.output.resumed":
                log.resumed_at.append(t)
            case "response.done" if event.response is not None:
                log.done_at, log.status = t, event.response.status
                log.heard = event.response.antiphon.heard if event.response.antiphon else None

    def newest(self, known: Sequence[str]) -> str | None:
        """The last reply with a voice that is not over, apart from those known."""
        names = [
            name
            for name, log in self.replies.items()
            if name not in known and log.player.pieces and log.status is None
        ]
        return names[-1] if names else None
