"""What all sessions of a web process share: Redis, fan-out, intake, roles. Built once per process, after the fork."""

import logging
import os
import socket
from functools import cache

import gevent
from gevent.lock import BoundedSemaphore

from config import tracing
from config.errors import ConfigError
from config.settings import Settings, load
from config.voices import load as load_characters
from tasks.leases import Leases
from tasks.streams import Channels, append_inputs, connect
from web.admission import Admission
from web.fanout import Fanout
from web.intake import Intake
from web.pinger import Pinger
from web.roles import cast
from web.scaling import Scaling
from web.vitals import Vitals
from web.voice_upload import Uploads
from web.watchdog import Watchdog

log = logging.getLogger(__name__)

#: The most that a client may take to hear that it shall come back elsewhere.
FAREWELL_S = 2.0


class Runtime:
    """The rim of the web tier."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.roles = cast(load_characters(settings.voices_file), settings)
        self.name = f"web-{socket.gethostname()}-{os.getpid()}"
        self.tracer = tracing.start(settings.tracing, self.name)
        self.state = connect(settings.redis_url, connections=1024)
        self.media = connect(settings.media_url, connections=1024)
        self.leases = Leases(self.state, settings.ownership.lease_ms)
        self.fanout = Fanout(lambda: Channels(self.media))
        keep_s = settings.limits.audio_keep_s + settings.turn.longest_turn_s
        self.intake = Intake(lambda batch: append_inputs(self.media, batch, keep_s))
        self.watchdog = Watchdog(
            self.state, self.leases, settings.ownership, settings.turn.preempt_free_share
        )
        self.admission = Admission(settings, self.name, self.state, self.media)
        self.pinger = Pinger(settings.observe.ping_s)
        self.vitals = Vitals(
            {"state": self.state, "media": self.media},
            self.watchdog.health,
            self.watchdog.sessions,
            settings.observe.look_s,
        )
        self.scaling = Scaling(settings, self.state, self.media, self.admission.reservations)
        self.uploads = Uploads(settings, self.state, self.media)
        self.closing = False

    def reload(self) -> None:
        """Reads the characters again. Sessions keep those they have; with a mistake in the file, so does everybody."""
        try:
            self.roles = cast(load_characters(self.settings.voices_file), self.settings)
        except ConfigError as error:
            log.error("the characters stay as they were: %s", error)
        else:
            log.info("%d characters were read again", len(self.roles))

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


def flush() -> None:
    """The process ends: what it has to tell of its turns is sent, if it had any."""
    if _made.cache_info().currsize:
        runtime().tracer.flush()
