"""Sessions that wait for their clients to come back, by their resume tokens. Who brings a wrong one learns nothing."""

import hashlib
import hmac
from collections.abc import Sequence
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
    """Mark of the API key with which it was begun; empty: there was none."""
    member: str
    """Under which name it counts."""


def digest(secret: str) -> str:
    """What is kept of a token's secret part: 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def unknown() -> SessionUnknown:
    """The same whether there is no such session, it is over, or the token is wrong."""
    return SessionUnknown("there is no such session to resume; connect anew")


def fields_of(leases: Leases, token: str, fields: Sequence[str]) -> tuple[str, list[bytes | None]]:
    """The session whose token this is, and fields of its state. Raises SessionUnknown and RedisError.

    Nothing else is read before the token is known to fit: how long that takes would tell of what there is.
    """
    sid, _, secret = token.partition(".")
    (known,) = leases.read(sid, [keys.TOKEN])
    if not hmac.compare_digest((known or b"").decode() or NOBODYS, digest(secret)):
        raise unknown()
    return sid, leases.read(sid, fields)


def waiting(leases: Leases, token: str) -> Waiting:
    """The session of a token. Raises SessionUnknown and RedisError."""
    sid, fields = fields_of(leases, token, [keys.STATE, keys.CLOSED, keys.OWNER, keys.MEMBER])
    state, closed, owner, member = fields
    if closed or not state:
        raise unknown()
    return Waiting(sid, state, (owner or b"").decode(), (member or b"").decode())
