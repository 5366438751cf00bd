"""How loud the room and the speaker are, and so which voice is not the speaker's. Pure; time is that of the frames.

A voice detector hears a television, or the assistant out of a loudspeaker, as well as a person. What is far below the
level at which this person spoke lately, or hardly above what the room sounds like all the time, is not this person.
"""

from collections import deque
from math import exp, log10

import numpy as np
from pydantic import BaseModel, Field

from gpu_workers.engine import Pcm

#: Digital zeros have no level; this is what they get.
SILENCE_DB = -90.0

#: The room's level is the least of so many parts of its window.
ROOM_PARTS = 10


class Rules(BaseModel, frozen=True):
    """What counts as this speaker's voice. Levels are smoothed, in dB below full scale."""

    loud_db: float = Field(9.0, gt=0)
    """A loud moment reaches the speaker's level but for this; voice begins with one. With 9 dB, recordings of people
    lose 5 % of their voice, all at its soft edges, and of another person 15 dB below 1.4 s (of 7.3) and 3.6 s (of 15.4)
    count as voice; with 10 dB 2.0 and 4.8 s."""
    soft_db: float = Field(18.0, gt=0)
    """Between loud moments voice is no further below."""
    loud_above_room_db: float = Field(8.0, ge=0)
    """Loud moments rise so far above the room. The babble of eight people moves 4 dB about its middle."""
    soft_above_room_db: float = Field(3.0, ge=0)
    """Voice between loud moments rises so far."""
    room_below_speaker_db: float = Field(10.0, ge=0)
    """The room is not believed to be louder than this below the speaker: the stops of fast speech are no room."""
    loud_kept_ms: int = Field(260, gt=0)
    """Soft voice so long after a loud moment is still this speaker's."""
    smooth_ms: int = Field(96, gt=0)
    """Time constant of the level. It never starts below what counts, so that a first word is loud after 64 ms."""
    certain: float = Field(0.8, gt=0, le=1)
    """Frames that are voice with this probability tell the speaker's level."""
    rise_ms: int = Field(1000, gt=0)
    """Voice over which the speaker's level rises to that of louder frames; a cough is shorter."""
    rise_db: float = Field(6.0, gt=0)
    """It rises no more in one go: who laughs or shouts once is still heard in the voice of before."""
    stretch_ms: int = Field(1000, gt=0)
    """Without voice for so long, the next voice is another go."""
    fall_ms: int = Field(12_000, gt=0)
    """Voice over which it falls to that of softer ones: so it stays near the speaker's loud syllables."""
    trust_ms: int = Field(800, gt=0)
    """Voice after which the level is believed: until then whatever is heard is the speaker."""
    room_ms: int = Field(5000, gt=0)
    """The room's level is the lowest of so much time: people stop for breath."""
    relax_after_ms: int = Field(10_000, gt=0)
    """Without the speaker's voice for so long somebody softer may be the speaker."""
    relax_db_s: float = Field(2.0, ge=0)
    """How fast the level then falls."""


class Levels:
    """One slot's ear for loudness. Frames are given in order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._level: float | None = None
        self._parts: deque[float] = deque(maxlen=ROOM_PARTS)
        self._part_ms = 0.0
        self._since_loud_ms = 0.0
        self._since_voice_ms = 0.0
        self._learned_ms = 0.0
        self._ceiling = 0.0
        self.speaker_db = SILENCE_DB
        """Level of the speaker's louder syllables; believed after `trust_ms` of it."""

    @property
    def room_db(self) -> float:
        """Level of the room while nobody speaks."""
        return min(self._parts, default=SILENCE_DB)

    def hear(self, level: float, probability: float, ms: float) -> bool:
        """Whether a frame of `ms` may be the speaker's voice, if the detector hears voice with this probability."""
        smooth = self._smoothed(level, ms)
        self._follow_room(smooth, ms)
        counts = self._counts(smooth, ms)
        if counts and probability >= self._rules.certain:
            self._learn(level, ms)
        else:
            self._relax(ms)
        return counts

    def _smoothed(self, level: float, ms: float) -> float:
        lowest = max(self.room_db, self.speaker_db - self._rules.soft_db)
        before = level if self._level is None else max(self._level, lowest)
        self._level = level + exp(-ms / self._rules.smooth_ms) * (before - level)
        return self._level

    def _follow_room(self, level: float, ms: float) -> None:
        self._part_ms += ms
        if not self._parts or self._part_ms >= self._rules.room_ms / ROOM_PARTS:
            self._parts.append(level)
            self._part_ms = 0.0
        self._parts[-1] = min(self._parts[-1], level)

    def _counts(self, level: float, ms: float) -> bool:
        rules = self._rules
        if self._learned_ms < rules.trust_ms:
            return True
        room = min(self.room_db, self.speaker_db - rules.room_below_speaker_db)
        loud = max(self.speaker_db - rules.loud_db, room + rules.loud_above_room_db)
        soft = max(self.speaker_db - rules.soft_db, room + rules.soft_above_room_db)
        self._since_loud_ms = 0.0 if level >= loud else self._since_loud_ms + ms
        return level >= soft and self._since_loud_ms <= rules.loud_kept_ms

    def _learn(self, level: float, ms: float) -> None:
        known = self._learned_ms >= self._rules.trust_ms
        if self._since_voice_ms > self._rules.stretch_ms:
            self._ceiling = self.speaker_db + self._rules.rise_db if known else 0.0
        self._since_voice_ms = 0.0
        self._learned_ms += ms
        slow_ms = self._rules.rise_ms if level > self.speaker_db else self._rules.fall_ms
        step = (level - self.speaker_db) * ms / min(slow_ms, self._learned_ms)
        self.speaker_db = min(self.speaker_db + step, max(self._ceiling, self.speaker_db))

    def _relax(self, ms: float) -> None:
        self._since_voice_ms += ms
        if self._since_voice_ms > self._rules.relax_after_ms:
            self.speaker_db = max(SILENCE_DB, self.speaker_db - self._rules.relax_db_s * ms / 1e3)


def level_db(pcm: Pcm) -> float:
    """Level of a frame, dB below full scale."""
    return max(SILENCE_DB, 10 * log10(max(1e-12, float(np.dot(pcm, pcm)) / max(1, len(pcm)))))
