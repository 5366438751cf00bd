"""What a client says before the connection stands, and the dialect it asks for with it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import ClientError

#: Subprotocol or header that carries a resume token; never the URL, which is logged.
RESUME_PROTOCOL = "antiphon-resume."
RESUME_HEADER = "X-Antiphon-Resume"

#: antiphon: events that no document of the dialect knows. Strict SDKs reject them, so who wants them asks.
EXTENSIONS = frozenset({"antiphon"})


#: What `?intent=` says for a session without answers; such a client names no model.
TRANSCRIPTION = "transcription"


def resume_token(subprotocols: Sequence[str], header: str) -> str:
    """The token that came with a handshake; empty: none."""
    found = (p.removeprefix(RESUME_PROTOCOL) for p in subprotocols if p.startswith(RESUME_PROTOCOL))
    return next(found, header)


@dataclass(frozen=True)
class Handshake:
    """What a client said before the connection stood."""

    query: dict[str, str]
    subprotocols: tuple[str, ...]
    authorized: bool
    """It sent an Authorization header."""
    resume_header: str = ""

    @property
    def resume_token(self) -> str:
        """The token of a session that shall go on; empty for a new one."""
        return resume_token(self.subprotocols, self.resume_header)

    @property
    def transcribes(self) -> bool:
        """It wants to be understood, and no answers."""
        return self.query.get("intent") == TRANSCRIPTION

    @property
    def extensions(self) -> frozenset[str]:
        """What the client asked for beyond its dialect, separated by commas; names that nobody knows mean nothing."""
        asked = self.query.get("extensions", "").split(",")
        return EXTENSIONS.intersection(name.strip() for name in asked)


def dialect_name(handshake: Handshake) -> str:
    """`ga` or `unmute`; `?dialect=` wins. Raises ClientError for an unknown one."""
    asked = handshake.query.get("dialect")
    if asked is not None:
        if asked not in ("ga", "unmute"):
            raise ClientError("there are two dialects: ga and unmute", param="dialect")
        return asked
    plain = tuple(p for p in handshake.subprotocols if not p.startswith(RESUME_PROTOCOL))
    of_the_api = handshake.authorized or bool({"model", "intent"} & handshake.query.keys())
    page_of_unmute = plain == ("realtime",) and not of_the_api
    return "unmute" if page_of_unmute else "ga"
