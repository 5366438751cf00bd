"""The user's input on its way to the STT: its clock, and its newest part in case the media server loses it."""

import time
from collections import deque
from collections.abc import Callable

from config.messages import Audio, AudioFormat, Clear, Commit, InEntry
from config.settings import SAMPLE_RATE
from tasks.shared_time import shared_time
from web.clock import SessionClock
from web.intake import Intake
from web.packets import packets_samples


class UserInput:
    """Whatever must keep its place in the audio goes through here, in order."""

    def __init__(self, sid: str, intake: Intake, keep_s: float, received: int) -> None:
        self._sid = sid
        self._intake = intake
        self._keep_s = keep_s
        self.hear_too: Callable[[int, list[bytes]], None] = lambda at, packets: None
        """Somebody who is given all audio, with its session sample."""
        self._newest: deque[tuple[float, InEntry, int]] = deque()
        """When it came, and how many samples it has."""
        self._kept = 0
        self.clock = SessionClock(time.monotonic(), received)

    def open(self) -> None:
        """From now on the intake asks here for what it must send again."""
        self._intake.add_source(self._sid, self._recent)

    def close(self) -> None:
        """No more."""
        self._intake.remove_source(self._sid, self._recent)

    @property
    def now(self) -> int:
        """Session time."""
        return self.clock.now(time.monotonic())

    def ago_s(self, pos: int) -> float:
        """How long a session sample is past."""
        return max(0, self.now - pos) / SAMPLE_RATE

    def hear(self, packets: list[bytes], samples: int, audio_format: AudioFormat | None) -> None:
        """Audio came; its format is None where the session has had only one."""
        pos = self.clock.receive(samples, time.monotonic())
        self.put(Audio(pos, packets, shared_time.now_s(), audio_format), samples)
        self.hear_too(pos, packets)

    def put(self, entry: InEntry, samples: int = 0) -> None:
        """Queues an entry for the STT."""
        now_s = time.monotonic()
        self._newest.append((now_s, entry, samples))
        self._kept += samples
        while now_s - self._newest[0][0] > self._keep_s or self._kept > self._keep_s * SAMPLE_RATE:
            self._kept -= self._newest.popleft()[2]
        self._intake.add(self._sid, entry)

    def go_on_after(self, newest: InEntry | None, audio_format: AudioFormat) -> None:
        """A later connection: the next audio follows the newest entry that an earlier one left."""
        end = 0
        if isinstance(newest, Audio):
            end = newest.pos + packets_samples(newest.packets, newest.format or audio_format)
        elif isinstance(newest, Commit | Clear):
            end = newest.pos
        self.clock.received = max(self.clock.received, end)

    def _recent(self) -> list[InEntry]:
        return [entry for _, entry, _ in self._newest]
