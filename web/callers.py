"""Who asks something over HTTP, as far as it matters whose a thing is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The same for all requests with one key."""

    key_id: str = ""
    """Names the key, and does not tell it; empty: anybody, for nobody need show a key."""


def caller() -> Caller:
    """Of the request under way. Nobody is asked for a key here, so it is anybody."""
    return Caller()
