"""Who takes part in a step of the speech model. Pure.

A full step costs the same however many slots take part, so all that can do. A step that only reads text costs a
fraction of it, and is all a reply needs before its first audio: such steps are put in between, as long as nobody who
speaks runs out of audio for it. Whoever starts takes part in every full step too, so nobody starves.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field

from gpu_workers.engine import Slot


class Rules(BaseModel, frozen=True):
    """How starts and speech are interleaved."""

    between: int = Field(2, ge=0)
    """Text-only steps before each full one while somebody speaks: a start then takes 6 rounds instead of 16."""
    alone: int = Field(4, gt=0)
    """The same while nobody speaks: the loop looks for words and cancels between calls."""
    hurry_s: float = Field(0.16, ge=0)
    """Audio in hand below which a slot is not kept waiting: two frames, as a full step may take one."""


class Candidate(NamedTuple):
    """A slot that is wanted."""

    slot: Slot
    ready: bool
    """Its text suffices for a step."""
    starting: bool
    """It only reads text as yet."""
    spare_s: float | None = None
    """Audio its listener has in hand; None: nobody listens yet."""


class Step(NamedTuple):
    """Who takes part, most urgent first, and whether audio is made."""

    slots: Sequence[Slot]
    text_only: bool


def choose(candidates: Sequence[Candidate], taken: int, rules: Rules) -> Step | None:
    """The next step after `taken` text-only ones of the same round; a full one ends it. None: nobody can do one."""
    ready = [candidate for candidate in candidates if candidate.ready]
    starting = [candidate.slot for candidate in ready if candidate.starting]
    speaking = [candidate for candidate in ready if not candidate.starting]
    if starting and taken < _text_steps(speaking, rules):
        return Step(starting, text_only=True)
    if speaking:
        return Step([candidate.slot for candidate in ready], text_only=False)
    return None


def _text_steps(speaking: Sequence[Candidate], rules: Rules) -> int:
    if not speaking:
        return rules.alone
    hurried = any(one.spare_s is not None and one.spare_s < rules.hurry_s for one in speaking)
    return 0 if hurried else rules.between
