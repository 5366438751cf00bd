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

DAY_S = 86_400.0


def clean(folder: Path, days: float, now_s: float) -> None:
    """One look; now_s: unix time."""
    try:
        deleted = record_folder.prune(folder, now_s - days * DAY_S)
    except OSError as error:
        log.error("old recordings could not be deleted: %s", error.strerror)
    else:
        if deleted:
            log.info("%d files of recordings older than %g days were deleted", deleted, days)


def follow(folder: Path | None, days: float | None) -> None:
    """From now on, where there is something to look after."""
    if folder is not None and days is not None:
        gevent.spawn(_run, folder, days)


def _run(folder: Path, days: float) -> None:
    while True:
        in_thread(clean, folder, days, time.time()).get()
        gevent.sleep(LOOK_S)
