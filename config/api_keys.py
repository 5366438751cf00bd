"""API keys: what they look like, how they are written down, and which of them a secret is. Pure.

A key is 256 random bits, so its plain SHA-256 gives nothing away: there is no list of likely keys to try, which is all
that a slow hash (scrypt, Argon2) protects against. It would cost each handshake tens of milliseconds of an event loop.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from config.errors import ConfigError

#: What keys begin with, so that scanners of repositories, and people, know one when they see it.
PREFIX = "ak_"

#: The same of keys that live for minutes, as the OpenAI API names them: its SDKs tell them by it.
EPHEMERAL_PREFIX = "ek_"

#: Random bytes of a key.
KEY_BYTES = 32

#: Each is compared with what a client sends: 60 µs for so many, measured on one of two shared cores.
MOST_KEYS = 1000

#: Nothing longer is looked at.
LONGEST_SECRET = 256

#: Beyond this a limit is none.
LARGEST_LIMIT = 1_000_000

#: What a key may have of its own, in the order in which it is written down.
LIMITS = ("sessions", "starts_per_minute")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LIMIT = re.compile(r"([a-z_]+)=([0-9]{1,7})")


@dataclass(frozen=True)
class ApiKey:
    """One key, as it is kept."""

    name: str
    digest: str
    """SHA-256 of the key, in hexadecimal digits."""
    sessions: int | None = None
    """Conversations at once; 0: any number; None: as the settings say."""
    starts_per_minute: int | None = None
    """The same of those begun in a minute."""

    def __str__(self) -> str:
        """As it is written down."""
        return ":".join((self.name, "sha256", self.digest, *self.limits))

    @property
    def limits(self) -> list[str]:
        """Its own, as they are written down."""
        return [f"{name}={limit}" for name in LIMITS if (limit := getattr(self, name)) is not None]

    @property
    def mark(self) -> str:
        """What comes of a key carries this: a later key of the same name is another."""
        return f"{self.name}:{self.digest[:16]}"


def digest(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret(prefix: str = PREFIX) -> str:
    """A key that nobody had before. Its letters are those that a subprotocol may have."""
    return prefix + secrets.token_urlsafe(KEY_BYTES)


def new_key(name: str) -> tuple[ApiKey, str]:
    """A key as it is kept, and the key itself, which is shown once. Raises ConfigError for a name that does not fit."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a key: 1 to 64 letters, digits, and '_', '.', '@', '-' between them"
        )
    secret = new_secret()
    return ApiKey(name, digest(secret)), secret


def parse(text: str, source: str) -> tuple[ApiKey, ...]:
    """The keys that a file or variable says: NAME:sha256:DIGEST, then `:sessions=5:starts_per_minute=60` for a key with
    limits of its own; separated by lines or commas, `#` before remarks.

    Raises ConfigError that names the place and not what stands there: it may be a key that somebody put in by mistake.
    """
    found: dict[str, ApiKey] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        for part in filter(None, (part.strip() for part in line.partition("#")[0].split(","))):
            key = _parsed(part, f"{source}, line {number}")
            if key.name in found:
                raise ConfigError(f"{source}, line {number}: there is a key {key.name!r} already")
            found[key.name] = key
    if len(found) > MOST_KEYS:
        raise ConfigError(f"{source} has more than {MOST_KEYS} keys")
    return tuple(found.values())


def _parsed(part: str, where: str) -> ApiKey:
    name, kind, hashed, *limits = (*part.split(":"), "", "") if part.count(":") < 2 else part.split(":")
    if kind != "sha256" or not _NAME.fullmatch(name) or not _DIGEST.fullmatch(hashed):
        raise ConfigError(f"{where}: not NAME:sha256:DIGEST, as `antiphon keys new NAME` writes it")
    return ApiKey(name, hashed, **_limits(limits, f"{where}: the limits of {name!r}"))


def _limits(parts: Sequence[str], where: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        said = _LIMIT.fullmatch(part)
        if said is None or said[1] not in LIMITS or said[1] in found or int(said[2]) > LARGEST_LIMIT:
            raise ConfigError(f"{where} are written :sessions=5:starts_per_minute=60, each once (0: none)")
        found[said[1]] = int(said[2])
    return found


def matching(keys: Iterable[ApiKey], secret: str) -> ApiKey | None:
    """The key that a client sent. All are compared, each in constant time: how long it takes says nothing of any."""
    if len(secret) > LONGEST_SECRET:
        return None
    sent, found = digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.digest, sent):
            found = key
    return found
