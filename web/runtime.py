"""What all sessions of a web process share: Redis, fan-out, intake, roles. Built once per process, after the fork."""

import os
import socket
from functools import cache

import gevent
from gevent.lock import RLock

from config.redis_keys import STAGES, VOICES
from config.settings import Settings, load
from config.voices import load as load_characters
from tasks.leases import Leases
from tasks.streams import Channels, append_inputs, connect
from web.fanout import Fanout
from web.intake import Intake
from web.pinger import Pinger
from web.roles import cast
from web.vitals import Vitals
from web.voice_upload import Uploads
from web.watchdog import Watchdog

#: The most that a client may take to hear that it shall come back elsewhere.
FAREWELL_S = 2.0


class Runtime:
    """The rim of the web tier."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.roles = cast(load_characters(settings.voices_file), settings)
        self.name = f"web-{socket.gethostname()}-{os.getpid()}"
        self.state = connect(settings.redis_url, connections=1024)
        self.media = connect(settings.media_url, connections=1024)
        self.leases = Leases(self.state, settings.ownership.lease_ms)
        self.fanout = Fanout(lambda: Channels(self.media))
        keep_s = settings.limits.audio_keep_s + settings.turn.longest_turn_s
        self.intake = Intake(lambda batch: append_inputs(self.media, batch, keep_s))
        self.watchdog = Watchdog(
            self.state, self.leases, settings.ownership, settings.turn.preempt_free_share
        )
        self.pinger = Pinger(settings.observe.ping_s)
        serving = (*STAGES, VOICES) if settings.voices.encoder else STAGES
        self.vitals = Vitals(
            {"state": self.state, "media": self.media},
            lambda: self.watchdog.count(serving),
            self.watchdog.sessions,
            settings.observe.look_s,
        )
        self.uploads = Uploads(settings, self.state, self.media)
        self.closing = False

    def drain(self) -> None:
        """No session begins here any more. Those there are sent on, all at once: one may be slow to take it."""
        self.closing = True
        farewells = [gevent.spawn(session.hand_over) for session in self.watchdog.sessions()]
        gevent.joinall(farewells, timeout=FAREWELL_S)


#: Building waits for Redis: without it, first requests that come together would each build one, and share nothing.
_building = RLock()


def runtime() -> Runtime:
    """This process's runtime."""
    with _building:
        return _built()


@cache
def _built() -> Runtime:
    return Runtime(load())
