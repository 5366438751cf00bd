"""Where voice begins, ends and pauses, from one probability per frame. Pure; positions are session samples."""

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, Field, field_validator

from config.environment import by_commas
from config.messages import VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE


class Rules(BaseModel, frozen=True):
    """When a frame is voice, and how long a pause is worth a question."""

    onset: float = Field(0.5, gt=0, lt=1)
    """Probability from which voice may begin."""
    offset: float = Field(0.35, gt=0, lt=1)
    """Probability below which it may end; lower than `onset`, so that a trembling one does not chop words."""
    onset_ms: int = Field(64, gt=0)
    """Voice must last this long before it is believed: a click lasts one frame."""
    hangover_ms: int = Field(140, gt=0)
    """Silence that ends voice; stops inside words are shorter."""
    lag_ms: int = Field(48, ge=0)
    """The detector hears voice for so long after it ended: 48 to 104 ms over the clips measured."""
    ask_ms: tuple[int, ...] = (140, 320, 600, 1000)
    """Lengths of a pause at which the transcript and the end of the turn are asked for, in rising order. A judgement
    needs some silence: one question in five that Smart Turn took for unfinished at first it knew to be over later."""

    _listed = field_validator("ask_ms", mode="before")(by_commas)

    def with_onset(self, onset: float) -> Self:
        """The same for voice of another probability; it may end in the same proportion below it."""
        return self.model_copy(update={"onset": onset, "offset": onset * self.offset / self.onset})


@dataclass(frozen=True)
class PauseAsked:
    """Silence since `at`, `ms` long now: time to decode and to judge."""

    at: int
    ms: int


Heard = VoiceStarted | VoiceEnded | PauseAsked


class Endpointer:
    """One speaker's voice. Frames are given in order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._rising: int | None = None
        self._asked = len(rules.ask_ms)
        self.voice = False
        self.voice_from = 0
        """Onset of the newest voice."""
        self.voice_to = 0
        """Its last voiced sample, so far."""

    def hear(self, probability: float, begin: int, end: int) -> list[Heard]:
        """A frame from `begin` to `end` (exclusive) is voice with this probability."""
        if self.voice:
            return self._hear_on(probability, end)
        if probability >= self._rules.onset:
            return self._rise(begin, end)
        if probability < self._rules.offset:
            self._rising = None
        return self._pause(end) if self._rising is None else []

    def retune(self, rules: Rules) -> None:
        """These hold from the next frame on."""
        self._rules = rules
        self._asked = min(self._asked, len(rules.ask_ms))

    def forget(self) -> None:
        """The voice so far belongs to an utterance that is closed: no more questions about its pause."""
        self._asked = len(self._rules.ask_ms)

    def _hear_on(self, probability: float, end: int) -> list[Heard]:
        if probability >= self._rules.offset:
            self._voiced_until(end)
            return []
        if end - self.voice_to < _samples(self._rules.hangover_ms):
            return []
        self.voice = False
        self._asked = 0
        return [VoiceEnded(self.voice_to), *self._pause(end)]

    def _rise(self, begin: int, end: int) -> list[Heard]:
        if self._rising is None:
            self._rising = begin
        if end - self._rising < _samples(self._rules.onset_ms):
            return []
        self.voice, self.voice_from, self._rising = True, self._rising, None
        self._voiced_until(end)
        return [VoiceStarted(self.voice_from)]

    def _voiced_until(self, end: int) -> None:
        self.voice_to = max(self.voice_from, end - _samples(self._rules.lag_ms))

    def _pause(self, end: int) -> list[Heard]:
        silent = end - self.voice_to
        due = sum(silent >= _samples(ms) for ms in self._rules.ask_ms)
        if due <= self._asked:
            return []
        self._asked = due
        return [PauseAsked(self.voice_to, silent * 1000 // SAMPLE_RATE)]


def _samples(ms: int) -> int:
    return ms * SAMPLE_RATE // 1000
