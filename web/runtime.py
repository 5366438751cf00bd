"""What all sessions of a web process share: Redis, fan-out, intake, roles. Built once per process, after the fork."""

import os
import socket
from functools import cache

from config.settings import Settings, load
from config.voices import load as load_characters
from tasks.leases import Leases
from tasks.streams import Channels, append_inputs, connect
from web.fanout import Fanout
from web.intake import Intake
from web.roles import cast
from web.watchdog import Watchdog


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
        self.watchdog = Watchdog(self.state, self.leases, settings.ownership)


@cache
def runtime() -> Runtime:
    """This process's runtime."""
    return Runtime(load())
