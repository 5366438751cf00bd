"""The pause heads of a Kyutai recogniser: what they mean for the end of a turn. Pure.

Head k says how probable it is that a pause of about 0.5, 1, 2 or 3 s has begun.
"""

import numpy as np
from pydantic import BaseModel, Field, model_validator

#: A frame's length, by which the head is smoothed.
FRAME_MS = 80


class Rules(BaseModel, frozen=True):
    """Which head is asked, and how its answer becomes `p_end`."""

    head: int | None = Field(2, ge=0)
    """Which one: Unmute takes this. None: words and silence alone decide, as for checkpoints that have no heads."""
    pause_above: float = Field(0.6, gt=0, lt=1)
    """From here the turn is over: Unmute ends it at once, however long the pause is."""
    speech_below: float = Field(0.4, gt=0, lt=1)
    """Up to here the speaker goes on (Unmute)."""
    over_p_end: float = Field(0.9, gt=0, lt=1)
    """What `pause_above` is told as: `turn.certain_p_end`, from which any pause ends a turn."""
    going_on_p_end: float = Field(0.2, gt=0, lt=1)
    """What `speech_below` is told as: `turn.unsure_p_end`, up to which the longest wait is waited."""
    ignored_steps: int = Field(12, ge=0)
    """A new stream's first answers mean nothing (Unmute waits for as many)."""
    smooth_ms: float = Field(0.0, ge=0)
    """Half-life of a mean over answers. Unmute's is 10 ms, which at a frame of 80 ms is none."""

    @model_validator(mode="after")
    def _in_order(self) -> "Rules":
        if not (self.speech_below < self.pause_above and self.going_on_p_end < self.over_p_end):
            raise ValueError(
                "speech_below must be less than pause_above, going_on_p_end less than over_p_end"
            )
        return self


class PauseHead:
    """One slot's head, step by step."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._steps = 0
        self._value = 1.0
        self._keeps = 0.5 ** (FRAME_MS / rules.smooth_ms) if rules.smooth_ms else 0.0

    def hear(self, answer: float) -> None:
        """The head's answer to one frame."""
        self._steps += 1
        self._value = answer + self._keeps * (self._value - answer)

    @property
    def young(self) -> bool:
        """The stream is too young for answers to mean anything."""
        return self._steps <= self._rules.ignored_steps

    @property
    def p_end(self) -> float | None:
        """Probability that the turn is over, in a pause; None while the stream is too young to tell."""
        rules = self._rules
        if self.young:
            return None
        heads = (0.0, rules.speech_below, rules.pause_above, 1.0)
        return float(np.interp(self._value, heads, (0.0, rules.going_on_p_end, rules.over_p_end, 1.0)))
