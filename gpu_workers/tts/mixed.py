"""Several text-to-speech engines in one worker: each reply is spoken by the one that its voice names.

A voice is ENGINE/NAME; several, with commas between, are a character's wishes in order: the first that can be had
speaks. So a character with a fine voice still speaks where that voice is not installed, or is busy with somebody else.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel, Field, field_validator

from config.engine_choice import EngineChoice
from config.errors import ConfigError, EngineMissing
from gpu_workers import loader
from gpu_workers.engine import Needs, Say, Slot, SpeechFrame, TtsEngine, VoiceOptions

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class Part(BaseModel, frozen=True, extra="forbid"):
    """One of the engines."""

    options: dict[str, Any] = {}
    """Fields of its own `Settings`."""
    required: bool = False
    """Whether the worker ends where this engine cannot be built; else it goes on without it, and says so."""
    at_once: int | None = Field(None, gt=0)
    """Replies it speaks at once, where that is less than the slots; the next one gets its character's next voice. With
    more than the machine keeps up with all of them would stutter."""


class Settings(BaseModel, frozen=True):
    """Which engines."""

    engines: dict[str, Part] = Field(min_length=1)
    """By their names; the web offers characters the voices of these."""

    @field_validator("engines")
    @classmethod
    def _not_itself(cls, engines: dict[str, Part]) -> dict[str, Part]:
        if "mixed" in engines:
            raise ValueError("an engine cannot hold itself")
        return engines


@dataclass(eq=False)
class _Desk:
    """An engine, and who is with it."""

    name: str
    engine: TtsEngine
    at_once: int
    slots: set[Slot] = field(default_factory=set)

    @property
    def full(self) -> bool:
        return len(self.slots) >= self.at_once


class MixedTts:
    """Hands each slot to one of its engines. Slots have the same number in each of them."""

    def __init__(self, desks: Sequence[_Desk], slots: int) -> None:
        frames = {desk.name: desk.engine.frame_samples for desk in desks}
        if len(set(frames.values())) > 1:
            raise ConfigError(f"engines that are mixed need frames of one length, not {frames}")
        self.slots = slots
        self.batch = min(desk.engine.batch for desk in desks)
        self.frame_samples = next(iter(frames.values()))
        self._desks = {desk.name: desk for desk in desks}
        self._of: dict[Slot, _Desk] = {}

    def warm_up(self) -> None:
        """Each of them."""
        for desk in self._desks.values():
            desk.engine.warm_up()

    def voices(self) -> Sequence[str]:
        """ENGINE/NAME of all."""
        return tuple(
            f"{name}/{voice}" for name, desk in self._desks.items() for voice in desk.engine.voices()
        )

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a slot with the first engine that can; ConfigError where none can."""
        self.close(slot)
        refused: list[str] = []
        for desk, voice in self._wishes(options):
            try:
                desk.engine.open(slot, replace(options, voice=voice))
            except ConfigError as error:
                refused.append(f"{desk.name}: {error}")
                continue
            desk.slots.add(slot)
            self._of[slot] = desk
            return
        known = f"there is none of the voices {options.voice!r}; there are engines {', '.join(self._desks)}"
        raise ConfigError("; ".join(refused) or known)

    def _wishes(self, options: VoiceOptions) -> list[tuple[_Desk, str]]:
        """Engine and voice of each wish, those that are busy behind the others: better late than not at all.

        A cloned voice is shown to each engine; they know whose it is.
        """
        if options.custom is not None:
            return [(desk, options.voice) for desk in self._desks.values()]
        named = [wish.strip().partition("/") for wish in options.voice.split(",")]
        able = [(self._desks[engine], voice) for engine, _, voice in named if engine in self._desks]
        return sorted(able, key=lambda wish: wish[0].full)

    def feed(self, slot: Slot, say: Say) -> None:
        """To the slot's engine."""
        self._of[slot].engine.feed(slot, say)

    def step(self, wanted: Sequence[Slot]) -> Mapping[Slot, SpeechFrame]:
        """A step of each engine that has slots open."""
        frames: dict[Slot, SpeechFrame] = {}
        for desk in self._desks.values():
            if desk.slots:
                frames |= desk.engine.step([slot for slot in wanted if slot in desk.slots])
        return frames

    def faults(self) -> Mapping[Slot, str]:
        """Those of all; an engine may be late with that of a reply which is over, and somebody else has its slot."""
        told = [(desk, desk.engine.faults()) for desk in self._desks.values()]
        return {slot: why for desk, faults in told for slot, why in faults.items() if slot in desk.slots}

    def close(self, slot: Slot) -> None:
        """Frees it with its engine."""
        desk = self._of.pop(slot, None)
        if desk is not None:
            desk.slots.discard(slot)
            desk.engine.close(slot)


def needs(settings: Settings, slots: int) -> Needs:
    """What all that can be built need together."""
    told = [_unless_missing(loader.needs, name, part, slots) for name, part in settings.engines.items()]
    there = [one for one in told if one is not None]
    return Needs(
        gpu_mb=sum(one.gpu_mb for one in there),
        gpu_share=sum(one.gpu_share for one in there),
        shares_process=all(one.shares_process for one in there),
    )


def _unless_missing(
    ask: Callable[[str, EngineChoice, int], Found], name: str, part: Part, slots: int
) -> Found | None:
    """What the loader says of an engine; None where it is missing and may be."""
    try:
        choice = EngineChoice(engine=name, slots=slots, options=part.options)  # type: ignore[call-arg]
        return ask("tts", choice, slots)
    except EngineMissing as error:
        if part.required:
            raise
        log.info("without the voices of %s: %s", name, error)
        return None


def build(settings: Settings, slots: int) -> MixedTts:
    """The engine. EngineMissing where one that is required cannot be built, or none can."""
    found = {name: _unless_missing(loader.load, name, part, slots) for name, part in settings.engines.items()}
    desks = [
        _Desk(name, engine, settings.engines[name].at_once or slots)
        for name, engine in found.items()
        if engine is not None
    ]
    if not desks:
        raise EngineMissing(f"none of the speech engines {', '.join(settings.engines)} is installed")
    return MixedTts(desks, slots)
