"""Whose turn it is to load on a GPU: one worker of this machine at a time."""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

#: The largest model loads and warms in less; who waited longer loads all the same.
PATIENCE_S = 300.0

#: How often the lock is tried: locks of files cannot be waited for with a deadline.
TRY_S = 0.2


@contextmanager
def turn_on(gpu_uuid: str, patience_s: float = PATIENCE_S, folder: Path | None = None) -> Iterator[None]:
    """Holds the GPU's turn: what is free when it begins is free until it ends, as far as our workers go.

    vLLM, for one, takes for its own whatever memory goes while it measures itself. The turn is a file's lock, so a
    worker that dies while it loads gives it back.
    """
    path = (folder or Path(tempfile.gettempdir())) / f"antiphon-{gpu_uuid.replace('/', '-')}.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:  # another user's
        log.warning("no turns are taken on %s: %s", gpu_uuid, error.strerror)
        yield
        return
    try:
        _wait(file, patience_s)
        yield
    finally:
        os.close(file)


def _wait(file: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                log.info("another worker loads on this GPU; waiting for it")
                told = True
        if time.monotonic() > deadline:
            log.warning("the other worker still loads after %.0f s; loading beside it", patience_s)
            return
        time.sleep(TRY_S)
