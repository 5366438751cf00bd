"""One pub/sub connection for all sessions of a process, fanned out to their mailboxes."""

import logging
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.lock import RLock

from config.errors import VersionRefused
from config.messages import Result, decode_result
from config.outage import Outage
from tasks.streams import SUBSCRIBED, Channels, RedisError

log = logging.getLogger(__name__)


class Taker(Protocol):
    """What the fan-out sees of a session."""

    def take(self, result: Result) -> None:
        """A result of its own."""
        ...

    def may_have_missed(self) -> None:
        """Nothing was heard for a while; from now on it is."""
        ...


#: Between attempts to reach a server that is away.
RECONNECT_S = 0.2

#: So many strangers are named; versions come in no larger numbers.
MOST_REFUSED = 16


class Fanout:
    """Delivers results in place. A lost message is no harm: sessions see the gap and read it back. A last one leaves
    no gap: whoever was subscribed again is told to look."""

    def __init__(self, connect: Callable[[], Channels]) -> None:
        self._connect = connect
        self._lock = RLock()
        self._takers: dict[str, Taker] = {}
        self._renewed: set[str] = set()
        """Sessions that were subscribed again, until the server says so."""
        self._channels = connect()
        self._broken = False
        self._outage = Outage(log, "results")
        self._refused: set[str] = set()
        """What was said of processes whose results cannot be read."""
        gevent.spawn(self._run)

    def add(self, sid: str, taker: Taker) -> None:
        """From now on results of the session go to `taker`, who must not wait; if Redis is away, once it is back."""
        self._takers[sid] = taker
        try:
            with self._lock:
                self._channels.add(sid)
        except RedisError:
            self._broken = True

    def remove(self, sid: str, taker: Taker) -> None:
        """Ends it, unless another session object has taken over."""
        if self._takers.get(sid) is not taker:
            return
        del self._takers[sid]
        try:
            with self._lock:
                self._channels.remove(sid)
        except RedisError:
            pass

    def _run(self) -> None:
        while True:
            try:
                if self._broken:
                    self._reconnect()
                news = self._channels.next(timeout_s=1.0)
                self._outage.over()
                for sid, data in news:
                    self._deliver(sid, data)
            except RedisError as error:
                self._outage.met(error)
                gevent.sleep(RECONNECT_S)
                self._broken = True
            except Exception:
                log.exception("results could not be read")
                gevent.sleep(RECONNECT_S)  # whatever it is, it must not keep all others from running
                self._broken = True

    def _deliver(self, sid: str, data: bytes) -> None:
        """One result; what is wrong with it is not the others'."""
        try:
            if (taker := self._takers.get(sid)) is None:
                return
            if data is not SUBSCRIBED:
                taker.take(decode_result(data))
            elif sid in self._renewed:
                self._renewed.discard(sid)
                taker.may_have_missed()
        except VersionRefused as refused:
            self._refuse(str(refused))
        except Exception:
            log.exception("a result could not be delivered")

    def _refuse(self, why: str) -> None:
        """Of a release that is no neighbour of ours: there is one line for it, not one for each of its results."""
        if why not in self._refused and len(self._refused) < MOST_REFUSED:
            self._refused.add(why)
            log.error("results are dropped: %s", why)

    def _reconnect(self) -> None:
        with self._lock:
            self._broken = False
            self._channels = self._connect()
            self._renewed = set(self._takers)
            if self._takers:
                self._channels.add(*self._takers)
