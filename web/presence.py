"""Who is here, of those whose conversations are counted: lets connections in by their limits, keeps them counted."""

import logging
import secrets
from collections import defaultdict
from collections.abc import Sequence
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


class Presence:
    """All connections of this process that count."""

    def __init__(self, media: Client) -> None:
        self._quotas = Quotas(media, HOLD_MS)
        self._here: set[Stay] = set()
        gevent.spawn(self._run)

    def enter(self, quotas: Sequence[Quota], *, returns: bool = False) -> "Stay":
        """A connection that counts until it leaves. returns: it goes on with a session that was let in before.

        Raises TooMany and RedisError.
        """
        stay = Stay(self, quotas)
        if excess := self._quotas.enter(stay.member, quotas, "return" if returns else "start"):
            raise _told(excess)
        if quotas:
            self._here.add(stay)
        return stay

    def knock(self, quotas: Sequence[Quota]) -> None:
        """Counts something that takes no time. Raises TooMany and RedisError."""
        if excess := self._quotas.enter("", quotas, "try"):
            raise _told(excess)

    def leave(self, stay: "Stay") -> None:
        """It is over, and counts no more; once is enough. With Redis away it counts until it is forgotten."""
        if stay not in self._here:
            return
        self._here.discard(stay)
        try:
            self._quotas.leave(stay.member, stay.quotas)
        except RedisError:
            log.debug("a connection is forgotten by its deadline")

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
                if quota.sessions:
                    members[quota.who].append(stay.member)
        if members:
            self._quotas.keep(members)
        for gone in before - self._here:  # left meanwhile, and was put back
            self._quotas.leave(gone.member, gone.quotas)


class Stay:
    """One connection."""

    def __init__(self, presence: Presence, quotas: Sequence[Quota]) -> None:
        self.member = secrets.token_hex(8)
        self.quotas = quotas
        self._presence = presence

    def leave(self) -> None:
        """It is over."""
        self._presence.leave(self)


def _told(excess: Excess) -> TooMany:
    quota = excess.quota
    whose: Literal["your address", "this API key"] = (
        "your address" if quota.who.startswith("address/") else "this API key"
    )
    if excess.of == "live":
        why = f"{whose} has {quota.sessions} conversations at once, which is the limit"
    else:
        why = f"{whose} may begin {quota.starts_per_minute} conversations a minute, and did"
    return TooMany(f"{why}; try again in {excess.retry_after_s} s", excess.retry_after_s)
