"""Who is here, of those whose conversations are counted: lets connections in by their limits, keeps them counted.

What counts is the conversation, under one name over all its connections: whoever lost one comes back although the limit
is reached, and whoever lets conversations wait has no room for more.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from enum import Enum, auto
from typing import Literal

import gevent

from config.errors import TooMany
from tasks.quotas import Excess, Quota, Quotas
from tasks.streams import Client, RedisError

log = logging.getLogger(__name__)

#: Connections of a process that died count for so long.
HOLD_MS = 15_000

#: They are kept for the next so often within that time.
HOLDS = 3


class Fate(Enum):
    """What becomes of a conversation whose connection ends."""

    OVER = auto()
    WAITS = auto()
    """Its client may come back: until then it counts."""
    ELSEWHERE = auto()
    """It goes on over another connection, or was never this one's."""


class Presence:
    """All connections of this process that count."""

    def __init__(self, media: Client, wait_s: int) -> None:
        """wait_s: how long conversations wait for their clients."""
        self._quotas = Quotas(media, HOLD_MS)
        self._wait_ms = 1000 * wait_s
        self._here: set[Stay] = set()
        gevent.spawn(self._run)

    def enter(self, member: str, quotas: Sequence[Quota]) -> "Stay":
        """A connection, whose conversation counts as `member` until it leaves. Raises TooMany and RedisError."""
        if excess := self._quotas.enter(member, quotas):
            raise _told(excess)
        stay = Stay(self, member, [quota for quota in quotas if quota.sessions])
        if stay.quotas:
            self._here.add(stay)
        return stay

    def knock(self, quotas: Sequence[Quota]) -> None:
        """Counts something that takes no time. Raises TooMany and RedisError."""
        if excess := self._quotas.enter("", quotas):
            raise _told(excess)

    def leave(self, stay: "Stay") -> None:
        """It is gone; once is enough. With Redis away it counts until it is forgotten."""
        if stay not in self._here:
            return
        self._here.discard(stay)
        try:
            self._part(stay)
        except RedisError:
            log.debug("a connection is forgotten by its deadline")

    def _part(self, stay: "Stay") -> None:
        if stay.fate is Fate.OVER:
            self._quotas.leave(stay.member, stay.quotas)
        elif stay.fate is Fate.WAITS:
            self._quotas.keep({quota.who: [stay.member] for quota in stay.quotas}, self._wait_ms)

    def _run(self) -> None:
        while True:
            gevent.sleep(HOLD_MS / 1000 / HOLDS)
            try:
                self.keep()
            except RedisError as error:
                log.warning("connections are not counted without Redis: %s", type(error).__name__)
            except Exception:
                log.exception("connections were not kept; the next time they may be")

    def keep(self) -> None:
        """Everybody here is still here. Raises RedisError."""
        before = set(self._here)
        members: dict[str, list[str]] = defaultdict(list)
        for stay in before:
            for quota in stay.quotas:
                members[quota.who].append(stay.member)
        if members:
            self._quotas.keep(members)
        for gone in before - self._here:  # left meanwhile, and was put back
            self._part(gone)


class Stay:
    """One connection."""

    def __init__(self, presence: Presence, member: str, quotas: Sequence[Quota]) -> None:
        self.member = member
        self.quotas = quotas
        self.fate = Fate.OVER
        """Of its conversation, once it ends."""
        self._presence = presence

    def leave(self) -> None:
        """It is gone."""
        self._presence.leave(self)


def _told(excess: Excess) -> TooMany:
    quota = excess.quota
    whose: Literal["your address", "this API key"] = (
        "your address" if "address/" in quota.who else "this API key"
    )
    if excess.of == "live":
        why = f"{whose} has {quota.sessions} conversations at once, which is the limit"
    else:
        why = quota.told or f"{whose} may begin {quota.per_minute} conversations a minute, and did"
    return TooMany(f"{why}; try again in {excess.retry_after_s} s", excess.retry_after_s)
