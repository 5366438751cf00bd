"""The folder in which gunicorn's processes keep their metrics, made anew by each server.

prometheus_client looks for it once, when it is first imported: `web/gunicorn.py` calls `make` before. Without it, as in
a process that is not gunicorn's, metrics are in memory.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

#: Memory, where the machine has it as a folder: what is counted many times a second never goes to a disk.
MEMORY = Path("/dev/shm")

PREFIX = "antiphon-metrics-"

#: Locked by a server as long as it, or a process that it started, lives.
ALIVE = "alive"


def make() -> Path:
    """A new folder, which prometheus_client will use; those of servers that were killed are swept away."""
    parent = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    alive = os.open(
        folder / ALIVE, os.O_CREAT | os.O_RDWR, 0o600
    )  # open, and so locked, to the end of the process
    fcntl.flock(alive, fcntl.LOCK_EX)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return folder


def here() -> Path | None:
    """This process's folder; None: its metrics are in memory."""
    name = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(name) if name else None


def alive() -> set[int]:
    """Processes that keep metrics in this process's folder: each has a gauge, and it goes when the process does."""
    folder = here()
    return set() if folder is None else {owner(file) for file in folder.glob("gauge_live*_*.db")}


def owner(file: Path) -> int:
    """`histogram_123.db` is of process 123."""
    return int(file.stem.rpartition("_")[2])


def sweep(parent: Path) -> None:
    """Removes what no living server of this user holds."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another's, or in use, or not locked yet
            alive = os.open(folder / ALIVE, os.O_RDWR)
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(alive)
