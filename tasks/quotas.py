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
    per_minute: int
    cost: int = 1
    """0: that one more may come is asked, and nothing counted."""
    told: str = ""
    """The rate as whoever is over it is told."""


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

    def enter(self, member: str, quotas: Sequence[Quota]) -> Excess | None:
        """Counts a conversation, or says which limit it is over; one that is counted already comes back beyond its
        number. member: its name; empty for what takes no time, and is counted by its rate alone. Raises RedisError."""
        if not quotas:
            return None
        names = [
            name for quota in quotas for name in (keys.quota_live(quota.who), keys.quota_rate(quota.who))
        ]
        limits = [limit for quota in quotas for limit in (quota.sessions, quota.per_minute, quota.cost)]
        answer = self._script(keys=names, args=[member, self._hold_ms, *limits])
        number, *why = cast("list[int | bytes]", answer)
        if not number:
            return None
        kind: Literal["live", "rate"] = "live" if why[0] == b"live" else "rate"
        return Excess(quotas[int(number) - 1], kind, -(-int(why[1]) // 1000))

    def keep(self, members: Mapping[str, Sequence[str]], for_ms: int = 0) -> None:
        """These, by name, are still here, or will be back in that time. Raises RedisError."""
        hold_ms = max(self._hold_ms, for_ms)
        until_ms = int(shared_time.now_s() * 1000) + hold_ms
        pipe = self._media.pipeline(transaction=False)
        for who, here in members.items():
            pipe.zadd(keys.quota_live(who), dict.fromkeys(here, until_ms))
            pipe.pexpire(keys.quota_live(who), 2 * hold_ms, nx=True)
            pipe.pexpire(keys.quota_live(who), 2 * hold_ms, gt=True)
        pipe.execute()

    def leave(self, member: str, quotas: Sequence[Quota]) -> None:
        """It is not here any more. Raises RedisError."""
        pipe = self._media.pipeline(transaction=False)
        for quota in quotas:
            pipe.zrem(keys.quota_live(quota.who), member)
        pipe.execute()
