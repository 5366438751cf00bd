"""Faults on demand, for the null engines: what real ones do when their device dies or one slot goes wrong."""

import time
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, Field

from config.errors import DeviceLost
from gpu_workers.engine import Slot


class Faults(BaseModel, frozen=True):
    """What goes wrong, and when; a step is one with somebody in it (llm: a word), counted from 1. 0: never."""

    warm_up_s: float = Field(0.0, ge=0)
    """Loading and warming take so long."""
    no_memory_at_start: bool = False
    """The device is full when the engine is warmed."""
    device_at_step: int = Field(0, ge=0)
    """The device is gone at this step and ever after."""
    slot_at_step: int = Field(0, ge=0)
    """One slot of this step cannot be served any more: the one of the lowest number. An llm's reply fails."""
    raise_at_step: int = Field(0, ge=0)
    """This step raises an error that names no slot. An llm's reply fails."""
    raise_steps: int = Field(1, gt=0)
    """So do the ones after it, so many in all."""
    raise_at_open: int = Field(0, ge=0)
    """The slot that is opened as this one, counted from 1, cannot be. Not for an llm, which opens none."""


class Mishaps:
    """Counts an engine's steps and does what was asked for."""

    def __init__(self, faults: Faults) -> None:
        self._ask = faults
        self._steps = 0
        self._opened = 0
        self._found: dict[Slot, str] = {}

    def warm_up(self) -> None:
        """Takes its time; raises DeviceLost where that was asked for."""
        time.sleep(self._ask.warm_up_s)
        if self._ask.no_memory_at_start:
            raise DeviceLost("the null engine was asked to find no memory")

    def open(self) -> None:
        """One slot is opened. Raises RuntimeError."""
        self._opened += 1
        if self._opened == self._ask.raise_at_open:
            raise RuntimeError("the null engine was asked not to open it")

    def step(self, slots: Iterable[Slot]) -> Slot | None:
        """One step with these slots; the one of them that goes wrong. Raises DeviceLost, RuntimeError."""
        taking_part = sorted(slots)
        if not taking_part:
            return None
        self._steps += 1
        if self._steps >= self._ask.device_at_step > 0:
            raise DeviceLost("the null engine was asked to lose its device")
        if 0 <= self._steps - self._ask.raise_at_step < self._ask.raise_steps and self._ask.raise_at_step:
            raise RuntimeError("the null engine was asked to fail")
        if self._steps != self._ask.slot_at_step:
            return None
        self._found[taking_part[0]] = "the null engine was asked to lose it"
        return taking_part[0]

    def faults(self) -> Mapping[Slot, str]:
        """Slots that went wrong since it was asked last."""
        found, self._found = self._found, {}
        return found
