"""Who may come in: the judge of every request that wants a key. Knows no Flask.

In this order: the page it comes from, the key, the limits.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from config import api_keys
from config.api_keys import EPHEMERAL_PREFIX, ApiKey
from config.auth import AuthSettings
from config.errors import AntiphonError, KeyRefused, NotAllowed, OriginRefused
from tasks import ephemeral
from tasks.leases import Leases
from tasks.quotas import Quota
from tasks.streams import Client, RedisError
from web.keyring import Keyring
from web.limits import Limits
from web.patience import promptly
from web.presence import Presence, Stay
from web.visitor import Visitor
from web.waiting import waiting

#: Conversations.
REALTIME = "/v1/realtime"

NO_KEYS = (
    "this server has no API keys, so it serves only its own machine, by the name localhost: make a key with `antiphon "
    "keys new NAME`, or set ANTIPHON_AUTH__OPEN=true to let everybody in who can reach it"
)
NO_KEY = (
    "send an API key: as `Authorization: Bearer KEY`, or as the subprotocol `openai-insecure-api-key.KEY`"
)
WRONG_KEY = "this API key is not, or not any more, one of this server's"
FOREIGN = "pages of this origin may not use this server; its operator can allow it by ANTIPHON_AUTH__ORIGINS"
STRAY = (
    "this server asks for no keys, so a page must reach it by a name that nobody else could have made point here: its "
    "operator names the page in ANTIPHON_AUTH__ORIGINS, or makes keys"
)
CONVERSATIONS_ONLY = "ephemeral keys are good for conversations (/v1/realtime) alone"


@dataclass(frozen=True)
class Caller:
    """Somebody who was let in."""

    by: ApiKey | None = None
    """The API key; None where there are none."""
    session: dict[str, Any] = field(default_factory=dict)
    """What the ephemeral key carries: the beginning of the session's configuration."""
    member: str = field(default_factory=lambda: secrets.token_hex(8))
    """Under which name the conversation counts, over all its connections."""

    @property
    def key(self) -> str:
        """Name of the API key; empty where there are none."""
        return self.by.name if self.by else ""

    @property
    def mark(self) -> str:
        """What tells it from a later key of that name."""
        return self.by.mark if self.by else ""


@dataclass(frozen=True)
class Knock:
    """What is judged."""

    visitor: Visitor
    secret: str
    """The key that came with it."""
    token: str
    """The resume token; only conversations have one."""
    path: str


class Shared(Protocol):
    """What of the process's runtime is needed here."""

    @property
    def state(self) -> Client: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def presence(self) -> Presence: ...


class Guard:
    """One for the process."""

    def __init__(self, rules: AuthSettings, keyring: Keyring, shared: Callable[[], Shared]) -> None:
        self._rules = rules
        self._limits = Limits(rules)
        self._keyring = keyring
        self._shared = shared

    def judge(self, knock: Knock) -> tuple[Caller, Stay | None]:
        """Who it is, and where they are counted. Raises AntiphonError for who is not let in, and RedisError."""
        if not knock.visitor.may_come_from(self._rules.origins):
            raise OriginRefused(FOREIGN)
        try:
            caller, returns = self._known(knock)
        except AntiphonError:
            self.mistook(knock)
            raise
        if knock.path != REALTIME:
            self.count_request(knock, caller.by)
            return caller, None
        if returns:
            quotas = self._limits.going_on(caller.by, knock.visitor, caller.member)
        else:
            quotas = self._limits.start(caller.by, knock.visitor)
        return caller, self._shared().presence.enter(caller.member, quotas) if quotas else None

    def count(self, knock: Knock, caller: Caller) -> None:
        """Of something else than a conversation that is limited like one. Raises TooMany and RedisError."""
        if quotas := self._limits.start(caller.by, knock.visitor):
            self._shared().presence.knock(quotas)

    def count_request(self, knock: Knock, by: ApiKey | None = None) -> None:
        """Raises TooMany. With Redis away nobody is counted: what needs it fails by itself."""
        self._count(self._limits.request(by, knock.visitor))

    def mistook(self, knock: Knock) -> None:
        """Who tries keys or tokens is slowed down. Raises TooMany. A key is as wrong with Redis away."""
        self._count(self._limits.mistake(knock.visitor))

    def _count(self, quotas: Sequence[Quota]) -> None:
        if quotas:
            with suppress(RedisError):
                promptly(lambda: self._shared().presence.knock(quotas))

    def _known(self, knock: Knock) -> tuple[Caller, bool]:
        """Who it is, and whether a session goes on."""
        keys = self._keyring.keys
        if not keys:
            self._require_no_key_needed(knock.visitor)
        if not knock.token:
            return self._by_key(knock, keys), False
        found = waiting(self._shared().leases, knock.token)
        by = next((key for key in keys if key.mark == found.owner), None)
        if by is None:  # begun with a key that is none any more, or without: it takes one of those there are
            by = self._by_key(knock, keys).by
        return Caller(by, member=found.member or secrets.token_hex(8)), True

    def _require_no_key_needed(self, visitor: Visitor) -> None:
        if not self._rules.open and not visitor.is_local():
            raise NotAllowed(NO_KEYS)
        if visitor.is_stray(self._rules.origins):
            raise OriginRefused(STRAY)

    def _by_key(self, knock: Knock, keys: tuple[ApiKey, ...]) -> Caller:
        if knock.secret.startswith(EPHEMERAL_PREFIX):
            return self._by_ephemeral(knock, keys)
        if not keys:  # SDKs send something in any case
            return Caller()
        if not knock.secret:
            raise KeyRefused(NO_KEY)
        if found := api_keys.matching(keys, knock.secret):
            return Caller(found)
        raise KeyRefused(WRONG_KEY)

    def _by_ephemeral(self, knock: Knock, keys: tuple[ApiKey, ...]) -> Caller:
        short = len(knock.secret) <= api_keys.LONGEST_SECRET
        found = ephemeral.find(self._shared().state, api_keys.digest(knock.secret)) if short else None
        owner = next((key for key in keys if found and key.mark == found.owner), None)
        if found is None or (owner is None and (keys or found.owner)):
            raise KeyRefused(WRONG_KEY)
        if knock.path != REALTIME:
            raise NotAllowed(CONVERSATIONS_ONLY)
        return Caller(owner, found.session)
