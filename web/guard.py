"""Who may come in: the judge of every request that wants a key. Knows no Flask.

In this order: the page it comes from, the key, the limits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from config import api_keys
from config.api_keys import EPHEMERAL_PREFIX
from config.auth import AuthSettings
from config.errors import AntiphonError, KeyRefused, NotAllowed, OriginRefused
from tasks import ephemeral
from tasks.leases import Leases
from tasks.quotas import Quota
from tasks.streams import Client
from web.keyring import Keyring
from web.presence import Presence, Stay
from web.visitor import Visitor, is_loopback, who
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
CONVERSATIONS_ONLY = "ephemeral keys are good for conversations (/v1/realtime) alone"


@dataclass(frozen=True)
class Caller:
    """Somebody who was let in."""

    key: str = ""
    """Name of the API key; empty where there are none."""
    session: dict[str, Any] = field(default_factory=dict)
    """What the ephemeral key carries: the beginning of the session's configuration."""


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
        self._keyring = keyring
        self._shared = shared

    def judge(self, knock: Knock) -> tuple[Caller, Stay | None]:
        """Who it is, and where they are counted. Raises AntiphonError for who is not let in, and RedisError."""
        if not knock.visitor.may_come_from(self._rules.origins):
            raise OriginRefused(FOREIGN)
        try:
            caller, returns = self._known(knock)
        except AntiphonError:
            self._knocked(knock)
            raise
        if knock.path != REALTIME:
            return caller, None
        quotas = [*self._of_key(caller), *self._of_address(knock.visitor)]
        return caller, self._shared().presence.enter(quotas, returns=returns) if quotas else None

    def count(self, knock: Knock, caller: Caller) -> None:
        """Of something else than a conversation that is limited like one. Raises TooMany and RedisError."""
        if quotas := [*self._of_key(caller), *self._of_address(knock.visitor)]:
            self._shared().presence.knock(quotas)

    def _known(self, knock: Knock) -> tuple[Caller, bool]:
        """Who it is, and whether a session goes on."""
        keys = self._keyring.keys
        if not keys and not self._rules.open and not knock.visitor.is_local():
            raise NotAllowed(NO_KEYS)
        if knock.token:
            owner = waiting(self._shared().leases, knock.token).owner
            if any(key.name == owner for key in keys):  # it was let in with a key; its token is one now
                return Caller(owner), True
            return self._by_key(knock, keys), True
        return self._by_key(knock, keys), False

    def _by_key(self, knock: Knock, keys: tuple[api_keys.ApiKey, ...]) -> Caller:
        if knock.secret.startswith(EPHEMERAL_PREFIX):
            return self._by_ephemeral(knock, {key.name for key in keys} or {""})
        if not keys:  # SDKs send something in any case
            return Caller()
        if not knock.secret:
            raise KeyRefused(NO_KEY)
        if found := api_keys.matching(keys, knock.secret):
            return Caller(found.name)
        raise KeyRefused(WRONG_KEY)

    def _by_ephemeral(self, knock: Knock, owners: set[str]) -> Caller:
        short = len(knock.secret) <= api_keys.LONGEST_SECRET
        found = ephemeral.find(self._shared().state, api_keys.digest(knock.secret)) if short else None
        if found is None or found.owner not in owners:
            raise KeyRefused(WRONG_KEY)
        if knock.path != REALTIME:
            raise NotAllowed(CONVERSATIONS_ONLY)
        return Caller(found.owner, found.session)

    def _knocked(self, knock: Knock) -> None:
        """Who tries keys is slowed down. Raises TooMany and RedisError."""
        if quotas := self._of_address(knock.visitor):
            self._shared().presence.knock(quotas)

    def _of_key(self, caller: Caller) -> list[Quota]:
        rules = self._rules
        limits = (rules.key_sessions, rules.key_starts_per_minute)
        return [Quota(f"key/{caller.key}", *limits)] if caller.key and any(limits) else []

    def _of_address(self, visitor: Visitor) -> list[Quota]:
        rules = self._rules
        limits = (rules.address_sessions, rules.address_starts_per_minute)
        address = visitor.address(rules.proxies)
        if not any(limits) or (is_loopback(address) and not visitor.by_proxy):
            return []
        return [Quota(who(address), *limits)]
