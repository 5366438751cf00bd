"""Deletes recordings that are older than the operator keeps them: every hour, in a thread, so many files at a time."""

import logging
import time
from pathlib import Path

import gevent

from web import record_folder
from web.disk import in_thread

log = logging.getLogger(__name__)

#: Between two looks: recordings outlive their days by no more.
LOOK_S = 3600.0

#: The same, where one look did not find the end: the disk has other work, too.
MORE_S = 10.0

DAY_S = 86_400.0


def clean(folder: Path, days: float, now_s: float) -> int:
    """One look; now_s: unix time. How many files were deleted."""
    try:
        deleted = record_folder.prune(folder, now_s - days * DAY_S)
    except OSError as error:
        log.error("old recordings could not be deleted: %s", error.strerror)
        return 0
    if deleted:
        log.info("%d files of recordings older than %g days were deleted", deleted, days)
    return deleted


def pause_s(deleted: int) -> float:
    """Until the next look: where there may be more, soon."""
    return MORE_S if deleted >= record_folder.MOST_AT_ONCE else LOOK_S


def follow(folder: Path | None, days: float | None) -> None:
    """From now on, where there is something to look after."""
    if folder is not None and days is not None:
        gevent.spawn(_run, folder, days)


def _run(folder: Path, days: float) -> None:
    while True:
        deleted = 0
        try:
            deleted = in_thread(clean, folder, days, time.time()).get()
        except Exception:
            log.exception("old recordings could not be looked for")
        gevent.sleep(pause_s(deleted))
