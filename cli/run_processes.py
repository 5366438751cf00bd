"""Finds and ends the processes of one run of `antiphon up`, by the run id in their environments."""

import os
import time

import psutil

from config.variables import RUN

#: Holds the run id in the environment of every process of a run.
MARK = RUN

#: SIGKILL takes effect when a process leaves the kernel; on a disk that hangs that may never be.
KILL_DEADLINE_S = 5.0


def of_run(run_id: str) -> list[psutil.Process]:
    """All processes of the run that live now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == run_id:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or not ours to read
    return found


def outlast(run_id: str, patience_s: float) -> bool:
    """Waits until a run is over; whether it was in time."""
    deadline = time.monotonic() + patience_s
    while of_run(run_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill(run_id: str) -> bool:
    """Ends what lives of a run, at once, the supervisor (the oldest) first. Whether nothing is left."""
    deadline = time.monotonic() + KILL_DEADLINE_S
    while left := of_run(run_id):
        for process in sorted(left, key=lambda process: process.create_time()):
            try:
                process.kill()
            except psutil.Error:
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
