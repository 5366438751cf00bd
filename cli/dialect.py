"""What the talk client asks of a wire dialect: how to greet, how to send sound, and what a server message means."""

from collections.abc import Sequence
from typing import Protocol

from cli.happenings import Happening


class Dialect(Protocol):
    """One conversation's translator. It may keep state, but owns no socket and no clock."""

    #: Whether the user waits for the assistant's first words.
    assistant_first: bool

    def subprotocols(self, resume_token: str | None) -> Sequence[str]:
        """What to offer at the handshake."""

    def hello(self) -> Sequence[str]:
        """Messages to send as soon as a connection is open."""

    def configure(self) -> Sequence[str]:
        """Messages to send once a new session is opened."""

    def append(self, pcm: bytes) -> Sequence[str]:
        """Messages that carry this 20 ms packet of 24 kHz 16-bit PCM."""

    def understand(self, message: str | bytes) -> Sequence[Happening]:
        """What a server message says; unknown events say nothing, broken ones a ServerError."""
