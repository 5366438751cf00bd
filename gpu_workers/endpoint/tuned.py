"""The rules that every listener has, and what becomes of them when a session asks for its own."""

from typing import Self

from pydantic import BaseModel, Field

from gpu_workers.endpoint.endpointer import Rules as VoiceRules
from gpu_workers.endpoint.levels import Rules as LevelRules
from gpu_workers.engine import Tuning


class TunedRules(BaseModel, frozen=True):
    """When voice becomes an utterance."""

    voice: VoiceRules = VoiceRules()  # type: ignore[call-arg]
    levels: LevelRules = LevelRules()  # type: ignore[call-arg]
    pre_roll_ms: int = Field(300, ge=0)
    """Audio before the onset that belongs to an utterance: soft consonants come before the voice."""

    def tuned(self, tuning: Tuning) -> Self:
        """The same for a session that asks for a threshold or a pre-roll."""
        asked: dict[str, object] = {}
        if tuning.threshold is not None:
            asked["voice"] = self.voice.with_onset(tuning.threshold)
        if tuning.prefix_ms is not None:
            asked["pre_roll_ms"] = tuning.prefix_ms
        return self.model_copy(update=asked)
