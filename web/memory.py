"""The session's memory in Redis: its state, fenced by this process's epoch, and the results that may be read again."""

from collections.abc import Mapping

from config import redis_keys as keys
from config.errors import SessionTaken
from config.messages import Result
from config.versions import VERSION
from tasks import streams
from tasks.leases import Lease, Value
from web import saved
from web.runtime import Runtime


class Memory:
    """Writes what a later connection goes on from."""

    def __init__(self, runtime: Runtime, lease: Lease) -> None:
        self._leases = runtime.leases
        self._media = runtime.media
        self._ttl_s = runtime.settings.ownership.session_s
        self._media_s = runtime.settings.limits.session_ttl_s
        self._lease = lease
        self.bytes = 0
        """Of the state, when it was saved last."""

    def save(self, state: saved.Saved, fields: Mapping[str, Value], ttl_s: int | None) -> None:
        """Raises SessionTaken when another web process owns the session."""
        encoded = saved.encode(state)
        self.bytes = len(encoded)
        everything = {**fields, keys.STATE: encoded, keys.VERSION: VERSION}
        if not self._leases.save(self._lease, ttl_s or self._ttl_s, everything):
            raise SessionTaken("this session goes on over another connection")

    def keep_said(self, reply: int) -> None:
        """Somebody came back to what was about to be forgotten."""
        streams.keep_media(self._media, self._lease.sid, self._media_s, reply)

    def results(self, stage: str, reply: int, epoch: int, seq: int) -> list[Result]:
        """What may have been missed; with the server away nothing, and the watchdog will find the gap again."""
        try:
            return streams.results_after(self._media, stage, self._lease.sid, reply, epoch, seq)
        except streams.RedisError:
            return []
