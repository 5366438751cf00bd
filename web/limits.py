"""By which limits somebody is counted: those of their key, and those of their address. Pure.

This machine's own address has none: it is where load tests run.
"""

from collections.abc import Iterable

from config.api_keys import ApiKey
from config.auth import AuthSettings
from tasks.quotas import Quota
from web.visitor import Visitor, is_loopback, who

#: Connections over which one conversation may go on in a minute. A client that is lost every second is not helped by
#: more; two that have the same token, and take it from each other, would go on for ever.
RETURNS_PER_MINUTE = 60

Quotas = list[Quota]


class Limits:
    """What the settings and keys allow. Limits of 0 are none, and left out."""

    def __init__(self, rules: AuthSettings) -> None:
        self._rules = rules

    def start(self, by: ApiKey | None, visitor: Visitor) -> Quotas:
        """Of a conversation that begins, and of an ephemeral key that is made."""
        rules, quotas = self._rules, []
        if by is not None:
            starts = rules.key_starts_per_minute if by.starts_per_minute is None else by.starts_per_minute
            quotas.append(Quota(f"key/{by.name}", self._sessions(by), starts))
        if name := self._name(visitor):
            quotas.append(Quota(name, rules.address_sessions, rules.address_starts_per_minute))
            quotas.append(self._mistakes(name, cost=0))
        return _those_there_are(quotas)

    def going_on(self, by: ApiKey | None, visitor: Visitor, member: str) -> Quotas:
        """Of one that goes on: how many begin keeps nobody out who was let in before."""
        quotas = []
        if by is not None:
            quotas.append(Quota(f"key/{by.name}", self._sessions(by), 0))
        if name := self._name(visitor):
            quotas.append(Quota(name, self._rules.address_sessions, 0))
        if quotas := _those_there_are(quotas):
            told = (
                f"a conversation may go on over {RETURNS_PER_MINUTE} connections a minute, and this one did"
            )
            quotas.append(Quota(f"member/{member}", 0, RETURNS_PER_MINUTE, told=told))
        return quotas

    def request(self, by: ApiKey | None, visitor: Visitor) -> Quotas:
        """Of any other request."""
        rules, quotas = self._rules, []
        if by is not None:
            quotas.append(_requests(f"key/{by.name}", "this API key", rules.key_requests_per_minute))
        if name := self._name(visitor):
            quotas.append(_requests(name, "your address", rules.address_requests_per_minute))
            quotas.append(self._mistakes(name, cost=0))
        return _those_there_are(quotas)

    def mistake(self, visitor: Visitor) -> Quotas:
        """Of a key or a token that is wrong."""
        name = self._name(visitor)
        return _those_there_are([self._mistakes(name)]) if name else []

    def _sessions(self, by: ApiKey) -> int:
        return self._rules.key_sessions if by.sessions is None else by.sessions

    def _name(self, visitor: Visitor) -> str:
        """Under which an address counts; empty: it does not."""
        address = visitor.address(self._rules.proxies)
        return "" if is_loopback(address) and not visitor.by_proxy else who(address)

    def _mistakes(self, name: str, cost: int = 1) -> Quota:
        most = self._rules.address_starts_per_minute
        told = f"your address may show {most} keys or tokens a minute that are wrong, and did"
        return Quota(f"wrong/{name}", 0, most, cost, told)


def _requests(name: str, whose: str, per_minute: int) -> Quota:
    return Quota(
        f"requests/{name}", 0, per_minute, told=f"{whose} may make {per_minute} requests a minute, and did"
    )


def _those_there_are(quotas: Iterable[Quota]) -> Quotas:
    return [quota for quota in quotas if quota.sessions or quota.per_minute]
