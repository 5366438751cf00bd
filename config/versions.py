"""The version of our messages: who may work with whom, and what is done about what another version says.

Two versions live side by side while an installation is updated, so a version may add to the one before, and no more:
a field at the end of a message, with a default, or a kind of message that the other side can do without. Readers drop
what they do not know.
"""

import logging

import msgspec

from config import metrics

log = logging.getLogger(__name__)

#: Raised by one with each release that changes anything in `config/messages.py` or `web/saved.py`.
#: 2: Called, Consulting, Consulted, tools in Order, ids and times in the history, a format with each Audio; Drain,
#: Dismissed, sess:'s version, since, dialect and let_out. 1: the first.
VERSION = 2

#: Kinds of messages that the log names once each; no more, for who sends rubbish would fill it.
MOST_COMPLAINTS = 100

#: What was complained of already: (version, kind).
_complained: set[tuple[int, str]] = set()


def understands(version: int) -> bool:
    """Whether a process that speaks `version` and this one may work together."""
    return abs(version - VERSION) <= 1


def refusal(who: str, version: int) -> str:
    """Why nobody works with it, and what to do."""
    return (
        f"{who} speaks version {version} of our messages, this is {VERSION}: only neighbours work together. "
        "Update one release at a time, or stop everything first"
    )


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """A result whose body is left as it came."""

    version: int
    stage: str
    epoch: int
    reply: int
    seq: int
    mark: int
    body: msgspec.Raw

    @property
    def kind(self) -> str:
        """The tag of its body; empty if it has none."""
        body = msgspec.msgpack.decode(self.body)
        return str(body[0])[:40] if isinstance(body, list) and body else ""


decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


def note_dropped(version: int, kind: str) -> None:
    """Counts a message that only its own version knows, and says so once."""
    metrics.messages_dropped.inc()
    if (version, kind) not in _complained and len(_complained) < MOST_COMPLAINTS:
        _complained.add((version, kind))
        log.warning("messages %r of version %d are dropped: this is version %d", kind, version, VERSION)
