"""What a session and a dialect say to each other. A dialect is sans-IO: text in, requests out; notices in, text out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from config.errors import AntiphonError
from config.messages import AudioFormat, SpokenWord, ToolCall, Transcript
from web.config import Wishes
from web.items import Item
from web.reply_options import ReplyOptions
from web.signs import Signs


@dataclass(frozen=True)
class AppendAudio:
    """Audio packets."""

    packets: list[bytes]
    samples: int
    """Their length at 24 kHz."""
    format: AudioFormat | None = None
    """None: the session has only one."""


@dataclass(frozen=True)
class Configure:
    """The session's wishes changed; the dialect holds them."""


@dataclass(frozen=True)
class CommitInput:
    """The user's turn ends here."""

    event_id: str | None = None


@dataclass(frozen=True)
class ClearInput:
    """Forget what was said since the last turn."""


@dataclass(frozen=True)
class AddItem:
    """A message typed instead of spoken, or what a function said."""

    item: Item
    after: str | None = None
    """The item before it; None: it comes last."""
    event_id: str | None = None
    sound: AppendAudio | None = None
    """It is said, and nobody has heard it yet."""


@dataclass(frozen=True)
class RetrieveItem:
    """What the server knows of an item."""

    item_id: str
    event_id: str | None = None


@dataclass(frozen=True)
class DeleteItem:
    """Forget an item."""

    item_id: str
    event_id: str | None = None


@dataclass(frozen=True)
class CreateReply:
    """Answer now."""

    event_id: str | None = None
    options: ReplyOptions | None = None
    """None: as the session has it."""
    sounds: tuple[tuple[int, AppendAudio], ...] = ()
    """Which items of its input are said, and nobody has heard them yet."""


@dataclass(frozen=True)
class StopReply:
    """Stop the reply under way."""

    event_id: str | None = None


@dataclass(frozen=True)
class HeardUpTo:
    """The client played a reply up to this reply sample, and no further.

    The reply under way is stopped by it; of one that is over it says how much of it stays in the history, which may be
    more than was believed. Said twice it changes nothing. It is answered by `Dialect.truncated`, in any case.
    """

    samples: int
    """Never beyond what was sent."""
    reply: int
    event_id: str | None = None


@dataclass(frozen=True)
class Look:
    """Show how it stands; no client asks for it in words. It is answered by `Dialect.looked`."""


Request = (
    AppendAudio | Configure | CommitInput | ClearInput | AddItem | RetrieveItem | DeleteItem | CreateReply | StopReply
    | HeardUpTo | Look
)  # fmt: skip


@dataclass(frozen=True)
class ReplyOutcome:
    """How a reply ended, in neutral words."""

    number: int
    status: Literal["completed", "cancelled", "failed"]
    reason: str
    text: str
    """What was heard of it."""
    full_text: str
    heard_samples: int
    cut: bool
    """Something was said that nobody heard."""
    input_tokens: int
    output_tokens: int
    llm_first_token_ms: float | None
    tts_first_audio_ms: float | None
    dropped: int = 0
    """Messages of the history that the prompt had no room for."""
    stopped: Literal["stop", "length", "cut"] = "stop"
    """Why the model wrote no more."""


@dataclass(frozen=True)
class AudioOut:
    """Audio of a reply that leaves now, with the words whose sound begins in it."""

    number: int
    packets: list[bytes]
    samples: int
    words: list[tuple[SpokenWord, str]]


class Dialect(Protocol):
    """One client's language. Every method that returns a list returns whole messages to send, in order."""

    name: str
    lead_ms: int
    speaks_first: bool
    stops_when_muted: bool
    """Its player falls silent when it is told of a mute; others play out what they have."""
    wishes: Wishes

    def closing_item(self) -> str:
        """Id of the user's item that is committed next. Empty: this dialect has no ids."""
        ...

    def unread_item(self) -> str:
        """Id of the oldest of the user's items whose text is still to come. Empty: there is none, or has no id."""
        ...

    def reply_item(self, number: int) -> str:
        """Id of what a reply says."""
        ...

    def call_item(self, number: int, index: int) -> str:
        """Id of the `index`-th call of a reply."""
        ...

    def receive(self, raw: str) -> list[Request]:
        """What a message asks for. Raises ClientError when it does not fit."""
        ...

    def greeting(self, *, resumed: bool, token: str) -> list[str]:
        """The connection stands."""
        ...

    def queued(self, place: int) -> list[str]:
        """The session has no place yet, and is the `place`-th in the line."""
        ...

    def served(self) -> list[str]:
        """It has one now."""
        ...

    def configured(self) -> list[str]:
        """Wishes were taken up."""
        ...

    def speech_began(self, at: int, *, again: bool = False) -> list[str]:
        """The user's voice began at session sample `at`; again: an earlier connection was told so."""
        ...

    def speech_stopped(self, at: int) -> list[str]:
        """It ended."""
        ...

    def committed(self, at: int | None = None) -> list[str]:
        """The user's turn is over, at that session sample; None: where the voice ended."""
        ...

    def cleared(self, at: int | None = None) -> list[str]:
        """The input was forgotten, up to that session sample."""
        ...

    def idle_timeout(self, at: int) -> list[str]:
        """The user said nothing for so long, up to session sample `at`, that a reply is made; SILENCE is their turn."""
        ...

    def item_added(self, request: AddItem, before: str | None) -> list[str]:
        """It is in the history, after that item."""
        ...

    def item_understood(self, item_id: str, text: str | AntiphonError) -> list[str]:
        """What is said in an item that came with its sound, or why that will never be known."""
        ...

    def item_retrieved(self, request: RetrieveItem, item: Item | None) -> list[str]:
        """This is it, or the history has none of its id. Raises ClientError where there is none at all."""
        ...

    def item_deleted(self, request: DeleteItem, last: str | None) -> list[str]:
        """It is forgotten; that one is the newest now."""
        ...

    def partial_text(self, heard: Transcript) -> list[str]:
        """What is understood so far."""
        ...

    def user_text(self, text: str) -> list[str]:
        """What the user said."""
        ...

    def not_understood(self) -> list[str]:
        """What the user said in the turn that ended will never be known."""
        ...

    def reply_started(self, number: int, options: ReplyOptions, *, again: bool) -> list[str]:
        """A reply is being made; `again`: this connection joins it in its middle."""
        ...

    def reply_called(self, number: int, index: int, call: ToolCall) -> list[str]:
        """The LLM asks for a function, the `index`-th time in this reply."""
        ...

    def reply_words(self, number: int, words: list[str]) -> list[str]:
        """The LLM gave words."""
        ...

    def reply_written(self, number: int, text: str) -> list[str]:
        """The LLM gave all its words; most of them are still to sound."""
        ...

    def reply_audio(self, audio: AudioOut) -> list[str]:
        """Audio leaves."""
        ...

    def audio_lost(self, number: int, samples: int) -> None:
        """What was said of so much audio last never left: a later connection goes on before it."""
        ...

    def muted(self, number: int, heard_samples: int) -> list[str]:
        """The reply is held back after `heard_samples`: the user may be barging in."""
        ...

    def resumed(self, number: int, from_samples: int) -> list[str]:
        """Nobody did: it goes on from that reply sample, and what was sent of it beyond is sent once more."""
        ...

    def truncated(self, request: HeardUpTo) -> list[str]:
        """The history has it; said once for each request, and after `reply_ended` where that followed from it."""
        ...

    def reply_ended(self, outcome: ReplyOutcome) -> list[str]:
        """The reply is over."""
        ...

    def error(self, error: AntiphonError, event_id: str | None = None) -> list[str]:
        """Something the client should know."""
        ...

    def attend(self, signs: Callable[[], Signs]) -> None:
        """Where to look for how it stands."""
        ...

    def looked(self) -> list[str]:
        """How it stands."""
        ...

    def snapshot(self) -> dict[str, object]:
        """What a later connection needs to go on; JSON types only."""
        ...

    def restore(self, snapshot: dict[str, object]) -> None:
        """Goes on from a snapshot."""
        ...


class Unwatched:
    """Of a dialect in which nobody is shown anything beside the talk."""

    def reply_written(self, number: int, text: str) -> list[str]:
        """Nothing: that is told at the end of the reply."""
        return []

    def attend(self, signs: Callable[[], Signs]) -> None:
        """Nobody looks."""

    def looked(self) -> list[str]:
        """Nothing: as above."""
        return []
