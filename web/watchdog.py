"""Compares leases with what sessions expect: renews the web's, sends work of the dead again, finds lost messages."""

import logging
import time
from collections.abc import Iterable
from typing import Protocol

import gevent

from config import metrics
from config.errors import AntiphonError
from config.outage import Outage
from config.tuning import OwnershipSettings
from tasks import fleet, streams, submit
from tasks.leases import Holder, Lease, Leases, Standing
from web import session_metrics
from web.pulse import Pulse
from web.stage_watch import StageWatch, Verdict

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What the watchdog sees of a session."""

    sid: str
    lease: Lease

    def watches(self) -> Iterable[StageWatch]:
        """What it expects now."""
        ...

    def saw(self, holder: Holder, stage: str) -> None:
        """Somebody works on it."""
        ...

    def may_have_missed(self) -> None:
        """Its owner is gone; what it said last may not have arrived."""
        ...

    def waits_for(self, stage: str) -> None:
        """Nobody does, and nobody can."""
        ...

    def tell(self, error: AntiphonError) -> None:
        """Something its client should know."""
        ...

    def give_up(self, stage: str) -> None:
        """It was tried too often."""
        ...

    def taken_over(self) -> None:
        """Another web process owns the session."""
        ...

    def hand_over(self) -> None:
        """This process ends; the client shall come back to another."""
        ...


#: A stage that failed so often for one reply is not tried again.
MOST_TRIES = 4


class Watchdog:
    """One greenlet for all sessions of the process."""

    def __init__(
        self, state: streams.Client, leases: Leases, rules: OwnershipSettings, free_share: float, pulse: Pulse
    ) -> None:
        self._state = state
        self._leases = leases
        self._rules = rules
        self._sessions: set[Watched] = set()
        self._quiet_until_s = 0.0
        self._free_share = free_share
        self._pulse = pulse
        self.spare = False
        """LLM and TTS have slots that nobody would miss."""
        gevent.spawn(self._run)

    def add(self, session: Watched) -> None:
        """Watches a session from now on."""
        self._sessions.add(session)
        metrics.sessions.set(len(self._sessions))

    def remove(self, session: Watched) -> None:
        """Stops watching it."""
        self._sessions.discard(session)
        metrics.sessions.set(len(self._sessions))

    def sessions(self) -> list[Watched]:
        """Those watched now."""
        return list(self._sessions)

    def _run(self) -> None:
        renewed_s, outage = 0.0, Outage(log, "watchdog")
        while True:
            gevent.sleep(self._rules.watch_s)
            try:
                now_s = time.monotonic()
                if now_s - renewed_s >= self._rules.renew_s:
                    renewed_s = now_s
                    self._renew()
                    self._look_for_spare()
                    outage.over()
                if self._pulse.silent_s() > self._rules.tell_after_s - self._rules.watch_s:
                    self._be_quiet()  # before anybody is told that a worker is gone
                self._watch(now_s)
            except streams.RedisError as error:
                outage.met(error)
                self._be_quiet()
            except Exception:
                log.exception("watchdog failed; it goes on")

    def _be_quiet(self) -> None:
        """Judges nothing until everybody could say that he is there."""
        self._quiet_until_s = time.monotonic() + self._rules.lease_ms / 1e3 + 2 * self._rules.renew_s

    def _renew(self) -> None:
        sessions = list(self._sessions)
        if not sessions:
            return
        standings = self._leases.renew([session.lease for session in sessions], self._rules.session_s)
        for session, standing in zip(sessions, standings, strict=True):
            if standing is Standing.LOST:
                session.taken_over()

    def _look_for_spare(self) -> None:
        if self._sessions:
            seen = self.count(("llm", "tts"))
            self.spare = all(
                stage["slots"] and stage["free"] >= self._free_share * stage["slots"]
                for stage in seen.values()
            )

    def _watch(self, now_s: float) -> None:
        wanted = [(session, watch) for session in self._sessions for watch in session.watches()]
        if not wanted:
            return
        holders = self._leases.holders([(watch.stage, session.sid) for session, watch in wanted])
        room: dict[str, bool] = {}
        for (session, watch), holder in zip(wanted, holders, strict=True):
            if holder is not None and holder.reply == watch.reply:
                watch.seen(now_s)
                session.saw(holder, watch.stage)
            elif now_s > self._quiet_until_s:
                if watch.stage not in room:
                    room[watch.stage] = self._room(watch.stage)
                self._missing(session, watch, now_s, room=room[watch.stage])

    def _missing(self, session: Watched, watch: StageWatch, now_s: float, *, room: bool) -> None:
        verdict = watch.judge(now_s, self._rules, room=room)
        if verdict is Verdict.RESUBMIT:
            if watch.tries >= MOST_TRIES and watch.stage != "stt":
                session.give_up(watch.stage)
                return
            log.info(
                "%s is submitted again", watch.stage, extra={"session": session.sid, "reply": watch.reply}
            )
            metrics.recoveries.labels(watch.stage).inc()
            watch.submitted(now_s)
            session.may_have_missed()
            submit.again(watch.stage, session.sid, watch.reply, watch.trace)
        elif verdict is Verdict.WAITING:
            watch.told = True
            session_metrics.missed(watch.stage)
            session.waits_for(watch.stage)

    def _room(self, stage: str) -> bool:
        """Somebody advertises a free slot."""
        return fleet.counts(fleet.look(self._state, (stage,)), (stage,))[stage]["free"] > 0

    def count(self, stages: Iterable[str]) -> dict[str, dict[str, int]]:
        """The same of these queues."""
        stages = tuple(stages)
        return fleet.counts(fleet.look(self._state, stages), stages)
