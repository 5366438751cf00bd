"""One turn of a conversation and the replies to it, as the turn book keeps them. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.sound import RATE, Listener

#: A player's head start: what a browser's jitter buffer commonly holds.
PLAYER_START_S = 0.080


@dataclass
class Turn:
    """One turn of the user."""

    number: int
    ended_at: float
    spoken_at: float | None
    replies: list["Reply"] = field(default_factory=list)

    @property
    def dropped(self) -> bool:
        """Every reply to it was cancelled before it had a voice."""
        silent = [reply.status == "cancelled" and not reply.samples for reply in self.replies]
        return bool(silent) and all(silent)

    @property
    def reply(self) -> "Reply | None":
        """The reply that answers it: the last one with a voice, else the last."""
        voiced = [reply for reply in self.replies if reply.samples]
        candidates = voiced or self.replies
        return candidates[-1] if candidates else None


@dataclass
class Reply:
    """One reply of the assistant; `turn` is None where nobody had asked."""

    id: str
    turn: Turn | None
    first_word_at: float | None = None
    first_audio_at: float | None = None
    audible_at: float | None = None
    done_at: float | None = None
    status: str | None = None
    words: list[str] = field(default_factory=list)
    stages: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    late_s: float = 0.0
    #: When the player has played all it was given.
    runs_out_at: float = 0.0
    listener: Listener = field(default_factory=Listener)

    @property
    def text(self) -> str:
        """All of the reply's words so far."""
        return "".join(self.words).strip()

    @property
    def audio_s(self) -> float:
        """The length of the reply's voice so far."""
        return round(self.samples / RATE, 3)

    def play(self, t: float, samples: int) -> None:
        """The player gets a packet: it starts 80 ms after the first, and stalls when one comes after it ran dry."""
        if not self.samples:
            self.runs_out_at = t + PLAYER_START_S
        elif t > self.runs_out_at:
            self.late_s += t - self.runs_out_at
            self.runs_out_at = t
        self.runs_out_at += samples / RATE
        self.samples += samples
