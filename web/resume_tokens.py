"""Resume tokens: a session's id and a secret, of which only the digest is kept. Pure."""

import hashlib
import hmac


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse(token: str) -> tuple[str, str]:
    """The session's id and the secret; both may be rubbish."""
    sid, _, secret = token.partition(".")
    return sid, secret


def fits(kept: bytes | None, secret: str) -> bool:
    """Whether it is the secret of what was kept. As slow without a session as with one."""
    return hmac.compare_digest(kept or bytes(64), digest(secret).encode())
