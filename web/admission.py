"""Who is let in: a place for each session, reserved over all web processes, a bounded line, and a bounded wait in it.

A session that begins costs one script call. What the fleet has room for, and how full Redis is, one greenlet of the
process looks up, which also keeps its sessions' places and advertises the process.
"""

import logging
import time
from collections.abc import Callable

import gevent

from config import metrics, unmute_metrics
from config.errors import Overloaded
from config.outage import Outage
from config.redis_keys import WEB
from config.settings import Settings
from tasks import beats, fleet, redis_check, redis_view, streams
from tasks.leases import LINE_FULL, Reservations
from web.stages import STAGE_NAMES

log = logging.getLogger(__name__)

#: A place outlives the orphaned session's slots by so much: who comes back finds both, or neither.
BEYOND_ORPHAN_S = 5.0

#: Who waits is forgotten when nothing was heard for so long; many times `ask_again_s`.
IN_LINE_MS = 3000

#: Places are kept for the next so often within their life.
HOLDS = 5

#: A look at the fleet older than this is repeated before anybody is judged by it.
STALE_S = 3.0


class Admission:
    """One for the process."""

    def __init__(self, settings: Settings, name: str, state: streams.Client, media: streams.Client) -> None:
        self.rules = settings.admission
        self._ownership = settings.ownership
        self._name = name
        self._servers = {"state": state, "media": media}
        self._state = state
        hold_s = settings.ownership.orphan_s + BEYOND_ORPHAN_S
        self._hold_every_s = hold_s / HOLDS
        self.reservations = Reservations(state, int(hold_s * 1000), IN_LINE_MS)
        self._held: set[Ticket] = set()
        """Two of one session, where its client came back before the earlier connection was over."""
        self._given_back: set[str] = set()
        """Since places were last kept: one that was being kept just then may have been put back."""
        self._waiting = 0
        self._seen_s = self._held_s = self._memory_s = float("-inf")
        self._full: str | None = None
        """Why no more sessions are let in: a Redis has too little memory left for them, or may throw them away."""
        self._complained: set[str] = set()
        self.capacity = fleet.Capacity(0, "stt")
        self.members: list[fleet.Member] = []
        """The fleet, as it was last seen."""
        self._outage = Outage(log, "admission")
        gevent.spawn(self._run)

    # --- sessions

    def ask(self, sid: str, *, first: bool = False) -> "Ticket":
        """A place, or one in the line. first: the session goes on, and comes before those that are new.

        Raises Overloaded when neither is to be had, and RedisError.
        """
        if time.monotonic() - self._seen_s > STALE_S:
            self._look(time.monotonic())
        if self._full and not first:
            raise self.refused("memory", self._full)
        ticket = Ticket(self, sid, first=first)
        try:
            ticket.place = self._place(ticket)
        except streams.RedisError as error:
            if redis_view.out_of_memory(error):
                raise self.refused("memory", "the server's memory is full") from error
            raise
        if ticket.place == LINE_FULL:
            self._count_miss()
            raise self.refused("line_full", f"{self.shortage()}, and many wait already")
        if ticket.place:
            self._count_miss()
        return ticket

    def _place(self, ticket: "Ticket") -> int:
        room, most = self.capacity.sessions, self.rules.most_waiting
        place = self.reservations.ask(ticket.sid, room, most, first=ticket.first)
        if not place:
            self._held.add(ticket)
        return place

    def again(self, ticket: "Ticket") -> int:
        """The place in the line now; 0 once it is a place. With Redis away it is as it was."""
        try:
            place = self._place(ticket)
        except streams.RedisError:
            return ticket.place
        return ticket.place if place == LINE_FULL else place  # it was forgotten in a pause, and others came

    def give_back(self, ticket: "Ticket", *, over: bool) -> None:
        """The session is here no more. over: nor anywhere; else its place waits with it, for a while."""
        self._held.discard(ticket)
        if over:
            self._given_back.add(ticket.sid)
            try:
                self.reservations.give_back(ticket.sid)
            except streams.RedisError:
                log.debug("a place is given back by its deadline")

    def wait_begins(self, by: int) -> None:
        """One more waits here, or one less."""
        self._waiting += by
        metrics.sessions_waiting.inc(by)

    @property
    def waiting(self) -> int:
        """Sessions of this process in the line."""
        return self._waiting

    @staticmethod
    def refused(reason: str, why: str) -> Overloaded:
        """Counted, and ready to be raised."""
        metrics.sessions_refused.labels(reason).inc()
        return Overloaded(f"{why}; try again in a minute")

    def shortage(self) -> str:
        """What there is too little of, in words for a client."""
        if not self.capacity.sessions:
            return f"{STAGE_NAMES[self.capacity.bound_by]} is not there at the moment"
        return "all places are taken"

    def _count_miss(self) -> None:
        unmute_metrics.service_misses.inc()
        for stage, misses in (("stt", unmute_metrics.stt_misses), ("tts", unmute_metrics.tts_misses)):
            if self.capacity.bound_by == stage:
                misses.inc()

    def count_hard_miss(self) -> None:
        """Somebody waited in vain."""
        unmute_metrics.hard_service_misses.inc()
        if self.capacity.bound_by == "stt":
            unmute_metrics.stt_hard_misses.inc()
        elif self.capacity.bound_by == "tts":
            unmute_metrics.tts_hard_misses.inc()

    # --- looking

    def _run(self) -> None:
        """Advertises at once: who asks after the fleet when it is ready shall see this process, too."""
        while True:
            self._survive(self._advertise)
            gevent.sleep(self.rules.look_s)
            self._survive(lambda: self._look(time.monotonic()))

    def _survive(self, step: Callable[[], None]) -> None:
        try:
            step()
        except streams.RedisError as error:
            self._outage.met(error)
        except Exception:
            log.exception("admission failed; it goes on")

    def _look(self, now_s: float) -> None:
        self.members = fleet.look(self._state)
        self.capacity = fleet.capacity(self.members, self.rules)
        self._seen_s = now_s
        for stranger in fleet.strangers(self.members):
            if stranger.name not in self._complained:
                self._complained.add(stranger.name)
                log.error("the slots of %s are not counted: %s", stranger.name, stranger.why_not)
        if now_s - self._memory_s >= self.rules.memory_look_s:
            self._memory_s = now_s
            self._full = self._fullest()
            self._outage.over()  # nothing else asks both servers
        if now_s - self._held_s >= self._hold_every_s:
            self._held_s = now_s
            self._keep_places()

    def _keep_places(self) -> None:
        """Those of sessions that end while this is under way are given back once more: it may have come after that."""
        sids = {ticket.sid for ticket in self._held}
        self._given_back.clear()
        try:
            self.reservations.hold(list(sids))
        finally:
            for sid in (self._given_back & sids) - {ticket.sid for ticket in self._held}:
                self.reservations.give_back(sid)

    def _fullest(self) -> str | None:
        for name, client in self._servers.items():
            memory = redis_check.memory(client)
            if memory.evicts:  # as at the start, where a server that was not there yet could not be checked
                if not self._full:
                    log.error(
                        "new sessions are refused: the %s Redis throws data away when its memory is full "
                        "(maxmemory-policy %s); set maxmemory-policy noeviction", name, memory.policy,
                    )  # fmt: skip
                return "the server's memory is not safe"
            if memory.share >= self.rules.memory_share:
                if not self._full:
                    log.warning(
                        "new sessions are refused: the %s Redis has used %d of %d bytes (maxmemory)",
                        name, memory.used_bytes, memory.most_bytes,
                    )  # fmt: skip
                return "the server's memory is nearly full"
        return None

    def _advertise(self) -> None:
        says = {
            **fleet.introduction(),
            "sessions": len(self._held) + self._waiting, "waiting": self._waiting, "closed": self._full or "",
            "llm_share": self.rules.llm_share, "tts_share": self.rules.tts_share,
        }  # fmt: skip
        beats.beat(self._state, WEB, self._name, says, self._ownership.heartbeat_ttl_s)


class Ticket:
    """One session's place, or its place in the line."""

    def __init__(self, admission: Admission, sid: str, *, first: bool) -> None:
        self._admission = admission
        self.sid = sid
        self.place = 0
        """0: it has one; n: it is the n-th in the line."""
        self.first = first

    def wait(self, tell: Callable[[int], object], wanted: Callable[[], bool]) -> bool:
        """Whether it has a place now. Tells its place in the line, first and whenever it changes; ends when it is not
        `wanted` any more. Raises Overloaded when it took too long."""
        admission = self._admission
        deadline_s = time.monotonic() + admission.rules.longest_wait_s
        admission.wait_begins(+1)
        try:
            told = 0
            while self.place and wanted():
                if self.place != told:
                    told = self.place
                    tell(told)
                if time.monotonic() > deadline_s:
                    raise admission.refused("waited", admission.shortage())
                gevent.sleep(admission.rules.ask_again_s)
                self.place = admission.again(self)
            return not self.place
        finally:
            admission.wait_begins(-1)
            if self.place:
                admission.count_hard_miss()

    def give_back(self, *, over: bool) -> None:
        """As `Admission.give_back`; a session that never had a place is over."""
        self._admission.give_back(self, over=over or bool(self.place))
