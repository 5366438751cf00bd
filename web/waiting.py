"""Sessions that wait for their clients to come back, by their resume tokens. Who brings a wrong one learns nothing."""

import hashlib
import hmac
from dataclasses import dataclass

from config import redis_keys as keys
from config.errors import SessionUnknown
from tasks.leases import Leases

#: Compared with in place of the hash of a session that is not there.
NOBODYS = "0" * 64


@dataclass(frozen=True)
class Waiting:
    """A session that can go on."""

    sid: str
    state: bytes
    owner: str
    """Name of the API key with which it was begun; empty: there was none."""


def digest(secret: str) -> str:
    """What is kept of a token's secret part: 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def unknown() -> SessionUnknown:
    """The same whether there is no such session, it is over, or the token is wrong."""
    return SessionUnknown("there is no such session to resume; connect anew")


def waiting(leases: Leases, token: str) -> Waiting:
    """The session of a token. Raises SessionUnknown and RedisError."""
    sid, _, secret = token.partition(".")
    fields = [keys.TOKEN, keys.STATE, keys.CLOSED, keys.OWNER]
    known, state, closed, owner = leases.read(sid, fields)
    fits = hmac.compare_digest((known or b"").decode() or NOBODYS, digest(secret))
    if not fits or closed or not known or not state:
        raise unknown()
    return Waiting(sid, state, (owner or b"").decode())
