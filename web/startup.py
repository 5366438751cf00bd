"""What a web process looks at before it takes anybody in: its Redis servers, and who else is at work."""

import logging

from config.errors import VersionRefused
from config.settings import Settings
from tasks import fleet, redis_check
from tasks.streams import RedisError, connect
from web import disk
from web.keyring import Keyring

log = logging.getLogger(__name__)

#: A disk that takes longer holds up no start.
DISK_S = 5.0


def check(settings: Settings, keyring: Keyring) -> None:
    """Warns of what an operator should know. Raises ConfigError or VersionRefused for what must be mended first.

    Servers that do not answer are no reason: they may start later than we do, and sessions are refused until then.
    """
    keyring.check()
    if not keyring.keys and settings.auth.open:
        log.warning("there are no API keys, and auth.open is set: whoever can reach the server can use it")
    _look_at_folders(settings)
    state, media = (connect(url, connections=2) for url in (settings.redis_url, settings.media_url))
    try:
        redis_check.tell(redis_check.check(state, media), log.warning)
        if why := fleet.meets(fleet.look(state)):
            raise VersionRefused(why)
    except RedisError as error:
        log.warning("Redis could not be checked, for it does not answer: %s", type(error).__name__)
    finally:
        state.close()
        media.close()


def _look_at_folders(settings: Settings) -> None:
    """No reason not to start: talking goes without them."""
    folders = {
        "recordings (record_dir)": settings.record_dir,
        "voice donations (donation.dir)": settings.donation.dir,
    }
    for what, folder in folders.items():
        if folder is not None and (why := disk.fault(folder, DISK_S)):
            log.error("%s cannot be kept in %s: %s", what, folder, why)
