"""What can happen in a conversation, seen from the client and free of any wire dialect.

A dialect turns server messages into these, the call adds what it does itself (packets sent, line lost), and
the turn book measures them. Values only: no clock, no socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SessionOpened:
    """The server named the session. `resume_token` is None where a lost line cannot be taken up again."""

    session: str | None
    resume_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SessionReady:
    """Our configuration was accepted: the server listens."""


@dataclass(frozen=True)
class FileStarted:
    """The first sample of the sound file is about to be sent."""


@dataclass(frozen=True)
class FileEnded:
    """The last sample of the sound file was sent; silence follows."""


@dataclass(frozen=True)
class PacketSent:
    """20 ms of the microphone left. `loud`: over the audible threshold. `clear`: as loud as the file's speech."""

    loud: bool
    clear: bool = False


@dataclass(frozen=True)
class SpeechStarted:
    """The server hears the user; `from_s`: since when, in seconds of sound sent, where the dialect says so."""

    from_s: float | None = None


@dataclass(frozen=True)
class SpeechStopped:
    """The server hears the user no longer; the turn may not have ended yet.

    `to_s`: where the voice ended, in seconds of sound sent, where the dialect says so.
    """

    to_s: float | None = None


@dataclass(frozen=True)
class TurnEnded:
    """The server took the user's turn as ended. The same `turn` again: the user had gone on, and ended again."""

    turn: str


@dataclass(frozen=True)
class UserText:
    """What the server understood of a turn so far; `final` once it will not change."""

    turn: str
    text: str
    final: bool


@dataclass(frozen=True)
class TurnLost:
    """The server could not understand the turn."""

    turn: str
    reason: str


@dataclass(frozen=True)
class ReplyStarted:
    """A reply was announced; a reply taken up again after a lost line is announced twice."""

    reply: str


@dataclass(frozen=True)
class ReplyWord:
    """A piece of the reply's text; "" says only that the LLM has begun."""

    reply: str
    text: str


@dataclass(frozen=True)
class ReplyAudio:
    """Part of the reply's voice: 16-bit little-endian mono PCM at 24 kHz."""

    reply: str
    pcm: bytes = field(repr=False)


@dataclass(frozen=True)
class ReplyDone:
    """A reply ended. `status`: completed, cancelled, failed or incomplete. `stages`: the server's own times, in ms."""

    reply: str
    status: str = "completed"
    reason: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerError:
    """The server complained. `refused`: about something we sent, so waiting helps nothing."""

    code: str
    message: str
    refused: bool = False


@dataclass(frozen=True)
class LineLost:
    """The connection broke with this WebSocket close code."""

    code: int


@dataclass(frozen=True)
class LineBack:
    """The session goes on over a new connection; so much of the microphone was given up."""

    skipped_ms: int


Happening = (
    SessionOpened
    | SessionReady
    | FileStarted
    | FileEnded
    | PacketSent
    | SpeechStarted
    | SpeechStopped
    | TurnEnded
    | UserText
    | TurnLost
    | ReplyStarted
    | ReplyWord
    | ReplyAudio
    | ReplyDone
    | ServerError
    | LineLost
    | LineBack
)
