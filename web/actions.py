"""What turn-taking wants done. Times are session samples."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SpeechBegan:
    """Tell the client that the user speaks since `at`."""

    at: int


@dataclass(frozen=True)
class SpeechStopped:
    """Tell the client that the user's voice ended at `at`."""

    at: int


@dataclass(frozen=True)
class CloseUtterance:
    """The user's turn is over at `pos`: tell the client and the STT."""

    pos: int


@dataclass(frozen=True)
class TakeText:
    """The user said this in the oldest turn still without text; empty: nothing that could be understood."""

    text: str


@dataclass(frozen=True)
class StartReply:
    """Make reply `reply`."""

    reply: int


@dataclass(frozen=True)
class CancelReply:
    """Stop reply `reply`; keep what was heard of it."""

    reply: int
    reason: Literal["turn_detected", "client_cancelled", "failed"]


@dataclass(frozen=True)
class EndReply:
    """Reply `reply` is complete and heard."""

    reply: int


@dataclass(frozen=True)
class Mute:
    """Send no audio: the user may be barging in."""


@dataclass(frozen=True)
class Unmute:
    """Nobody did: go on."""


@dataclass(frozen=True)
class ForgetInput:
    """Drop the open utterance at `pos`."""

    pos: int


Action = (
    SpeechBegan | SpeechStopped | CloseUtterance | TakeText | StartReply | CancelReply | EndReply | Mute | Unmute
    | ForgetInput
)  # fmt: skip
