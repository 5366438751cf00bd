"""What a web process sees of the fleet and its Redis servers now and then, for the metrics; no session waits for it."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import gevent

from config import metrics, unmute_metrics
from config.redis_keys import STAGES, VOICES
from tasks import queues, streams
from tasks.shared_time import shared_time
from web.watchdog import Watched

log = logging.getLogger(__name__)

QUEUES = (*STAGES, VOICES)

#: What a fleet says of one stage: workers, slots, free.
Fleet = Callable[[], Mapping[str, Mapping[str, int]]]


class Vitals:
    """One greenlet a process."""

    def __init__(
        self,
        servers: Mapping[str, streams.Client],
        fleet: Fleet,
        sessions: Callable[[], Iterable[Watched]],
        in_line: Callable[[], int],
        every_s: float,
    ) -> None:
        self._servers = servers
        self._fleet = fleet
        self._sessions = sessions
        self._in_line = in_line
        self._every_s = every_s
        gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                log.exception("the fleet could not be looked at; later again")
            gevent.sleep(self._every_s)

    def look(self) -> None:
        """Everything once. What a server that is away would say stays as it was, and the rest does not."""
        self._see_waiting()
        sights: list[Callable[[], None]] = [partial(self._see_server, *of) for of in self._servers.items()]
        for see in [*sights, self._see_queues, self._see_fleet]:
            try:
                see()
            except streams.RedisError as error:
                log.debug("the fleet cannot be seen: %s", type(error).__name__)

    def _see_waiting(self) -> None:
        waiting = sum(
            any(watch.stage == "stt" and not watch.claimed for watch in session.watches())
            for session in self._sessions()
        )
        metrics.sessions_waiting.set(waiting + self._in_line())

    @staticmethod
    def _see_server(name: str, client: streams.Client) -> None:
        took_s = streams.round_trip_s(client)
        metrics.redis_round_trip.labels(name).observe(took_s)
        if name == "media":
            unmute_metrics.stt_ping_time.observe(took_s)
            unmute_metrics.tts_ping_time.observe(took_s)
        used, most = streams.memory(client)
        metrics.redis_memory.labels(name, "used").set(used)
        metrics.redis_memory.labels(name, "max").set(most)

    def _see_queues(self) -> None:
        now = shared_time.now_s()
        for queue, (length, asked_s) in queues.queues(self._servers["state"], QUEUES).items():
            metrics.queue_length.labels(queue).set(length)
            metrics.queue_age.labels(queue).set(0.0 if asked_s is None else max(0.0, now - asked_s))

    def _see_fleet(self) -> None:
        for stage, seen in self._fleet().items():
            metrics.workers.labels(stage).set(seen["workers"])
            metrics.slots.labels(stage).set(seen["slots"])
            metrics.slots_free.labels(stage).set(seen["free"])
