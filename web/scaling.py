"""What `/v1/scale` answers: the fleet's load as Redis shows it, a memory there of the last minutes, and advice.

Asked by whoever starts and stops workers, some times a minute. Any web process gives the same answer.
"""

from dataclasses import asdict
from typing import Any

from config.redis_keys import STAGES, VOICES
from config.settings import Settings
from tasks import fleet, queues, streams
from tasks.leases import Reservations
from tasks.shared_time import shared_time
from web import scale

#: Late replies count for so long.
LATE_WITHIN_S = 60.0

#: Recordings that a worker encodes at once, as it advertises; a session takes none of them.
VOICE_SLOTS = 1


class Scaling:
    """Reads, remembers, advises."""

    def __init__(
        self, settings: Settings, state: streams.Client, media: streams.Client, reservations: Reservations
    ) -> None:
        self._rules = settings.scale
        self._shares = settings.admission
        self._state = state
        self._media = media
        self._reservations = reservations
        self._slots_each = {stage: settings.stage(stage).slots for stage in STAGES}
        if settings.voices.encoder:
            self._slots_each[VOICES] = VOICE_SLOTS

    def look(self, now_s: float | None = None) -> dict[str, Any]:
        """Replicas by queue, and why. Raises RedisError."""
        now_s = shared_time.now_s() if now_s is None else now_s
        sessions, loads = self._sessions(now_s), self._loads(now_s)
        found = {queue: self._advise(queue, load, sessions, now_s) for queue, load in loads.items()}
        return {
            **{queue: advice.replicas for queue, advice in found.items()},
            "why": {queue: advice.why for queue, advice in found.items()},
            "seen": {"sessions": asdict(sessions), **{queue: asdict(load) for queue, load in loads.items()}},
        }

    def _sessions(self, now_s: float) -> scale.Sessions:
        held, waiting = self._reservations.count()
        return scale.Sessions(held, waiting, queues.late_replies(self._media, now_s - LATE_WITHIN_S))

    def _loads(self, now_s: float) -> dict[str, scale.QueueLoad]:
        names = tuple(self._slots_each)
        counts = fleet.counts(fleet.look(self._state, names), names)
        waiting = queues.queues(self._state, names)
        loads = {}
        for queue, seen in counts.items():
            queued, asked_s = waiting[queue]
            oldest_s = 0.0 if asked_s is None else round(max(0.0, now_s - asked_s), 3)
            taken = seen["slots"] - seen["free"]
            loads[queue] = scale.QueueLoad(seen["workers"], seen["slots"], taken, queued, oldest_s)
        return loads

    def _advise(
        self, queue: str, load: scale.QueueLoad, sessions: scale.Sessions, now_s: float
    ) -> scale.Advice:
        now, at = scale.demand(queue, load, sessions, self._rules, self._shares), scale.piece(now_s)
        kept = scale.pieces_kept(self._rules)
        recent = queues.remember_most(
            self._state, queue, at, now.seats, since=at - kept, ttl_s=int((kept + 2) * scale.PIECE_S)
        )
        return scale.advise(queue, now, load, recent, at, self._rules, self._slots_each[queue])
