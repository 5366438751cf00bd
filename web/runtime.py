"""What all sessions of a web process share: Redis, fan-out, intake, roles. Built once per process, after the fork."""

import os
import socket
from functools import cache

import gevent

from config.settings import Settings, load
from config.voices import load as load_characters
from tasks.leases import Leases
from tasks.streams import Channels, append_inputs, connect, follow_clock
from web.fanout import Fanout
from web.intake import Intake
from web.pulse import Pulse
from web.roles import cast
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
        pulse = Pulse(lambda: follow_clock(self.media), settings.ownership.renew_s)
        self.watchdog = Watchdog(
            self.state, self.leases, settings.ownership, settings.turn.preempt_free_share, pulse
        )
        self.uploads = Uploads(settings, self.state, self.media)
        self.closing = False

    def drain(self) -> None:
        """No session begins here any more. Those there are sent on, all at once: one may be slow to take it."""
        self.closing = True
        farewells = [gevent.spawn(session.hand_over) for session in self.watchdog.sessions()]
        gevent.joinall(farewells, timeout=FAREWELL_S)


@cache
def runtime() -> Runtime:
    """This process's runtime."""
    return Runtime(load())
