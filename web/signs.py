"""How it stands with a session just now, for who debugs it: who works for it, and what its user's pause means. Pure."""

from dataclasses import dataclass
from typing import Literal, Protocol

from web.reply import Reply
from web.turn_state import Phase, Turn

Connection = Literal["none", "connecting", "connected"]
"""Nothing is asked of a stage; it is asked and nobody has taken it, or took it and was lost; a worker has it."""


@dataclass(frozen=True)
class Signs:
    """All of it."""

    stt: Connection = "none"
    tts: Connection = "none"
    p_end: float = 0.0
    """Probability that the newest pause ends the turn; 0 while a voice sounds, and before any."""
    since_voice_s: float | None = None
    """Since the user's voice ended; None while it sounds, and before any."""
    since_words_s: float | None = None
    """Since the end of the newest of their words that is known; None while they say nothing."""
    made: int = 0
    """Reply samples that the voice has made of the reply under way."""


class Stages(Protocol):
    """What is known of the workers."""

    def connection(self, stage: str) -> Connection:
        """Whether one works on it."""
        ...


class Clock(Protocol):
    """Session time."""

    def ago_s(self, pos: int) -> float:
        """How long a session sample is past."""
        ...


def read_signs(turn: Turn, stages: Stages, reply: Reply | None, clock: Clock) -> Signs:
    """As it is now."""
    hearing = turn.phase is Phase.HEARING
    return Signs(
        stt=stages.connection("stt"),
        tts=stages.connection("tts"),
        p_end=turn.p_end,
        since_voice_s=clock.ago_s(turn.voice_to) if turn.voice_to and not turn.voice else None,
        since_words_s=clock.ago_s(turn.text_to) if hearing and turn.text else None,
        made=0 if reply is None else reply.made,
    )
