"""What happens in a conversation, besides the facts of `config.messages`. Times are session samples."""

from dataclasses import dataclass

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted


@dataclass(frozen=True)
class Tick:
    """It is now session sample `at`."""

    at: int


@dataclass(frozen=True)
class CommitAsked:
    """The client says that its turn ends here."""

    at: int


@dataclass(frozen=True)
class ClearAsked:
    """The client wants what it said since the last turn forgotten."""

    at: int


@dataclass(frozen=True)
class ReplyAsked:
    """The client wants a reply now."""


@dataclass(frozen=True)
class CancelAsked:
    """The client wants the reply stopped."""

    at: int


@dataclass(frozen=True)
class SoundBegan:
    """The first audio of the reply was sent."""

    reply: int


@dataclass(frozen=True)
class ReplyHeard:
    """The reply was heard to its end. farewell: with it the assistant took its leave."""

    reply: int
    at: int
    farewell: bool = False


@dataclass(frozen=True)
class ReplyFailed:
    """The reply cannot be made."""

    reply: int
    at: int


@dataclass(frozen=True)
class TranscriptLate:
    """The transcript of the ended turn did not come in time."""

    at: int
    received: int | None = None
    """Samples so far, which may be fewer: time goes on where no audio comes. What comes is another turn's."""


@dataclass(frozen=True)
class RoomChanged:
    """Workers have slots to spare, or none any more: replies may be made ahead, or not."""

    spare: bool


Happening = (
    VoiceStarted | VoiceEnded | Pause | Transcript | Tick | CommitAsked | ClearAsked | ReplyAsked | CancelAsked
    | SoundBegan | ReplyHeard | ReplyFailed | TranscriptLate | RoomChanged
)  # fmt: skip
