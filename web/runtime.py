"""What all sessions of a web process share: Redis, fan-out, intake, roles. Built once per process, after the fork."""

import logging
import os
import socket
import time
from functools import cache

import gevent
from gevent.lock import BoundedSemaphore

from config import tracing
from config.errors import ConfigError, MemoryFull
from config.messages import Command, InEntry, Played
from config.redis_keys import STAGES, VOICES
from config.settings import Settings, load
from config.voices import load as load_characters
from tasks.leases import Leases
from tasks.redis_view import out_of_memory
from tasks.streams import Channels, Inputs, RedisError, command, connect, follow_clock
from web import record_cleaner
from web.admission import Admission
from web.donations import Donations
from web.fanout import Fanout
from web.headlines import Headlines
from web.intake import Intake
from web.pinger import Pinger
from web.presence import Presence
from web.pulse import Pulse
from web.roles import cast
from web.scaling import Scaling
from web.vitals import Vitals
from web.voice_upload import Uploads
from web.watchdog import Watchdog
from web.withdrawals import Withdrawals

log = logging.getLogger(__name__)

#: The most that a client may take to hear that it shall come back elsewhere.
FAREWELL_S = 2.0


#: While Redis has no memory for what is said, clients are told so often.
TELL_AGAIN_S = 10.0

#: Between two attempts to begin without Redis.
BEGIN_AGAIN_S = 1.0


class Runtime:
    """The rim of the web tier."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.roles = cast(load_characters(settings.voices_file), settings)
        self.name = f"web-{socket.gethostname()}-{os.getpid()}"
        self.state = connect(settings.redis_url, connections=1024)
        self.media = connect(settings.media_url, connections=1024)
        self.leases = Leases(self.state, settings.ownership.lease_ms)
        self.fanout = Fanout(
            lambda: Channels(self.media)
        )  # raises while Redis is away, so nothing runs before it
        self.tracer = tracing.start(settings.tracing, self.name)
        self._inputs = Inputs(self.media, settings.limits.audio_keep_s + settings.turn.longest_turn_s)
        self.intake = Intake(self._append)
        pulse = Pulse(lambda: follow_clock(self.media), settings.ownership.renew_s)
        self.watchdog = Watchdog(
            self.state, self.leases, settings.ownership, settings.turn.preempt_free_share, pulse
        )
        self.admission = Admission(settings, self.name, self.state, self.media)
        self.presence = Presence(self.media, settings.ownership.resume_s)
        self.pinger = Pinger(settings.observe.ping_s)
        serving = (*STAGES, VOICES) if settings.voices.encoder else STAGES
        self.vitals = Vitals(
            {"state": self.state, "media": self.media},
            lambda: self.watchdog.count(serving),
            self.watchdog.sessions,
            lambda: self.admission.waiting,
            settings.observe.look_s,
        )
        self.scaling = Scaling(settings, self.state, self.media, self.admission.reservations)
        self.uploads = Uploads(settings, self.state, self.media)
        self.headlines = Headlines(settings.news, self.media)
        self.headlines.follow()
        self.donations = Donations(settings.donation, self.media)
        record_cleaner.follow(settings.record_dir, settings.record_days)
        self.withdrawals = Withdrawals(settings.record_dir, self.state)
        self.withdrawals.follow()
        self.closing = False
        self._told_s = float("-inf")

    def _append(self, batch: list[tuple[str, InEntry]], told: list[tuple[str, Command]]) -> None:
        """Raises RedisError; where memory is what lacks, nobody else would notice, so everybody is told."""
        try:
            self._inputs.append(batch, told)
        except RedisError as error:
            now_s = time.monotonic()
            if out_of_memory(error) and now_s > self._told_s + TELL_AGAIN_S:
                self._told_s = now_s
                for session in self.watchdog.sessions():
                    session.tell(MemoryFull())
            raise

    def reload(self) -> None:
        """Reads the characters again. Sessions keep those they have; with a mistake in the file, so does everybody."""
        try:
            self.roles = cast(load_characters(self.settings.voices_file), self.settings)
        except ConfigError as error:
            log.error("the characters stay as they were: %s", error)
        else:
            log.info("%d characters were read again", len(self.roles))

    def tell(self, worker: str, what: Command) -> None:
        """What may be lost. Positions can wait for company; a cancellation comes before what is submitted after it."""
        if isinstance(what, Played):
            self.intake.tell(worker, what)
        else:
            command(self.media, worker, what)

    def drain(self) -> None:
        """No session begins here any more. Those there are sent on, all at once: one may be slow to take it."""
        self.closing = True
        farewells = [gevent.spawn(session.hand_over) for session in self.watchdog.sessions()]
        gevent.joinall(farewells, timeout=FAREWELL_S)


#: Making a runtime talks to Redis, and other requests run meanwhile: without this the first few made one each, and
#: sessions of one process were spread over them.
_one_at_a_time = BoundedSemaphore()


@cache
def _made() -> Runtime:
    return Runtime(load())


def runtime() -> Runtime:
    """This process's runtime."""
    with _one_at_a_time:
        return _made()


def begin() -> None:
    """Makes it before anybody asks, so that the process is seen and sees the fleet; while Redis is away, again."""
    while True:
        try:
            runtime()
            return
        except RedisError as error:
            log.warning("sessions are refused until Redis answers: %s", type(error).__name__)
            gevent.sleep(BEGIN_AGAIN_S)


def drain() -> None:
    """The process is to end: its sessions, if it had any, are sent on."""
    if _made.cache_info().currsize:
        runtime().drain()


def flush() -> None:
    """The process ends: what it has to tell of its turns is sent, if it had any."""
    if _made.cache_info().currsize:
        runtime().tracer.flush()
