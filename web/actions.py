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
class UserSilent:
    """Tell the client that nobody has spoken from `since` to `at`, so that the assistant goes on."""

    since: int
    at: int


@dataclass(frozen=True)
class StartReply:
    """Make reply `reply`."""

    reply: int
    goodbye: bool = False
    """It says goodbye, whatever the LLM would say."""


@dataclass(frozen=True)
class PrepareReply:
    """Make reply `reply` to a user who has probably said `text`, and let nobody know."""

    reply: int
    text: str


@dataclass(frozen=True)
class ConfirmReply:
    """Reply `reply`, made ahead, is the one: let it out."""

    reply: int


@dataclass(frozen=True)
class DropReply:
    """Reply `reply`, made ahead, was for nothing: it has never been."""

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
class HangUp:
    """The goodbye was heard: close the session."""


@dataclass(frozen=True)
class Mute:
    """Send no audio: the user may be barging in."""


@dataclass(frozen=True)
class Unmute:
    """Nobody did: go on, from the beginning of the word that was cut."""


@dataclass(frozen=True)
class SkipVoice:
    """What sounded up to `pos` was no turn: the STT forgets it, and the client was never told."""

    pos: int


@dataclass(frozen=True)
class ForgetInput:
    """Drop the open utterance at `pos`."""

    pos: int


Action = (
    SpeechBegan | SpeechStopped | CloseUtterance | TakeText | UserSilent | StartReply | PrepareReply | ConfirmReply
    | DropReply | CancelReply | EndReply | HangUp | Mute | Unmute | SkipVoice | ForgetInput
)  # fmt: skip
