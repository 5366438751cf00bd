"""The user of a stock client in tests: when it speaks, how it sounds, and what it saw.

It imports nothing but Python's own: the programs beside it run by an interpreter that has nothing of ours.

It speaks three times, and a fourth time into the third answer.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: pcm16, 24 kHz, mono: 20 ms.
PACKET_BYTES = 960
PACKET_S = 0.02

#: It barges in when it has heard so much of the third answer.
BARGE_IN_AFTER_MS = 1200.0

#: Answers that end: two were heard to their end, the third was cut short, the last answers to who cut it.
ANSWERS = 4


@dataclass
class Report:
    """What the client showed its user, for the test to judge."""

    transcripts: list[str] = field(default_factory=list)
    """The conversation at its end, as the client has it: `role: words`."""
    tools: list[str] = field(default_factory=list)
    """Towns it was asked the weather of."""
    truncated_ms: list[int] = field(default_factory=list)
    """Where the client said that the user had stopped listening."""
    interrupted: int = 0
    """How often it was told to fall silent."""
    ahead_ms: float = 0.0
    """The most sound that it held beyond what was played."""
    errors: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """Types of the server's events, in order; one of several deltas."""

    def event(self, kind: str) -> None:
        if not (kind.endswith(".delta") and self.events[-1:] == [kind]):
            self.events.append(kind)

    def print(self) -> None:
        json.dump(asdict(self), sys.stdout)
        sys.stdout.flush()


class User:
    """Hums when it is its turn."""

    def __init__(self) -> None:
        self.url, hum, self.instructions = sys.argv[1:]
        voice = Path(hum).read_bytes()
        self.report = Report()
        self._voice = [voice[at : at + PACKET_BYTES] for at in range(0, len(voice), PACKET_BYTES)]
        self._saying: list[bytes] = []
        self._began_s = time.monotonic()
        self._sent = 0
        self._ended = 0
        self._played = Playback()

    @property
    def satisfied(self) -> bool:
        return self._ended == ANSWERS

    def due(self) -> list[bytes]:
        """The packets whose time has come."""
        packets = int((time.monotonic() - self._began_s) / PACKET_S) - self._sent
        self._sent += packets
        return [self._saying.pop(0) if self._saying else bytes(PACKET_BYTES) for _ in range(packets)]

    def speak(self) -> None:
        self._saying = list(self._voice)

    def hear(self, audio: bytes) -> None:
        """Sound of an answer; into the third the user speaks."""
        before = self._played.ms
        self._played.add(audio)
        self.report.ahead_ms = max(self.report.ahead_ms, self._played.ahead_ms)
        if self._ended == ANSWERS - 2 and before < BARGE_IN_AFTER_MS <= self._played.ms:
            self.speak()

    def stop_listening(self) -> int:
        """Where its loudspeaker fell silent, in ms of the answer."""
        self.report.interrupted += 1
        return self._played.now_ms

    def answered(self) -> None:
        """An answer is over, if anything was heard of it."""
        if self._played.ms:
            self._played = Playback()
            self._ended += 1
            if self._ended < ANSWERS - 1:
                self.speak()


@dataclass
class Playback:
    """A loudspeaker that begins with the first sound."""

    ms: float = 0.0
    """What came."""
    _began_s: float = 0.0

    def add(self, audio: bytes) -> None:
        self._began_s = self._began_s or time.monotonic()
        self.ms += len(audio) / 48

    @property
    def ahead_ms(self) -> float:
        """What is in hand."""
        return max(0.0, self.ms - (time.monotonic() - self._began_s) * 1000) if self.ms else 0.0

    @property
    def now_ms(self) -> int:
        """What was heard."""
        return int(self.ms - self.ahead_ms)


def said(role: str, words: Any) -> str:
    return f"{role}: {str(words or '').strip()}"
