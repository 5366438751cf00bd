"""How many conversations a key or an address has, and how often it begins one: counted over all web processes.

On the media server, whose memory never goes to a disk. By one script: nobody slips in between asking and being counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from config import redis_keys as keys
from tasks.shared_time import shared_time
from tasks.streams import Client

SCRIPT = Path(__file__).parent / "scripts" / "enter.lua"


@dataclass(frozen=True)
class Quota:
    """One name's limits; 0: none."""

    who: str
    sessions: int
    starts_per_minute: int


@dataclass(frozen=True)
class Excess:
    """A limit that is reached."""

    quota: Quota
    of: Literal["live", "rate"]
    retry_after_s: int


class Quotas:
    """All that is counted of who is here."""

    def __init__(self, media: Client, hold_ms: int) -> None:
        """hold_ms: who was not kept for so long is not here any more."""
        self._media = media
        self._hold_ms = hold_ms
        self._script = media.register_script(SCRIPT.read_text())

    def enter(
        self, member: str, quotas: Sequence[Quota], counts: Literal["start", "try", "return"] = "start"
    ) -> Excess | None:
        """Counts a connection, or says which limit it is over. `try`: only that somebody knocked; `return`: it goes on
        with what was let in before, so that no limit keeps it out. Raises RedisError."""
        if not quotas:
            return None
        names = [
            name for quota in quotas for name in (keys.quota_live(quota.who), keys.quota_rate(quota.who))
        ]
        limits = [limit for quota in quotas for limit in (quota.sessions, quota.starts_per_minute)]
        answer = self._script(keys=names, args=[member, self._hold_ms, counts, *limits])
        number, *why = cast("list[int | bytes]", answer)
        if not number:
            return None
        kind: Literal["live", "rate"] = "live" if why[0] == b"live" else "rate"
        return Excess(quotas[int(number) - 1], kind, -(-int(why[1]) // 1000))

    def keep(self, members: Mapping[str, Sequence[str]]) -> None:
        """These, by name, are still here. Raises RedisError."""
        until_ms = int(shared_time.now_s() * 1000) + self._hold_ms
        pipe = self._media.pipeline(transaction=False)
        for who, here in members.items():
            pipe.zadd(keys.quota_live(who), dict.fromkeys(here, until_ms))
            pipe.pexpire(keys.quota_live(who), 2 * self._hold_ms)
        pipe.execute()

    def leave(self, member: str, quotas: Sequence[Quota]) -> None:
        """It is not here any more. Raises RedisError."""
        pipe = self._media.pipeline(transaction=False)
        for quota in quotas:
            pipe.zrem(keys.quota_live(quota.who), member)
        pipe.execute()
