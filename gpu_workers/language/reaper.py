"""Ends what a process started when that process dies, however it dies: an engine core left behind would hold its GPU.

    python reaper.py PROCESS

vLLM runs its model in processes of its own, which notice no SIGKILL of their parent. This program looks at PROCESS's
descendants while it lives and kills those that are left when it does not. It holds each by a descriptor, so that a
process id that is used again is nobody it kills. Linux only; elsewhere a killed worker leaves orphans.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil

#: A child is known this soon after it began; loading a model takes many times as long.
LOOK_S = 0.5


def watch() -> "subprocess.Popen[bytes] | None":
    """Starts the program for this process; None where the system has no descriptors of processes."""
    if not hasattr(os, "pidfd_open"):
        return None
    # a session of its own: what ends a whole process group must not end this first
    command = [sys.executable, "-P", str(Path(__file__).resolve()), str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def main(process: int) -> None:
    """Until the process is gone."""
    try:
        holder, known = os.pidfd_open(process), dict[int, int]()
        descendants = psutil.Process(process)
    except (OSError, psutil.Error):
        return
    while not _ended(holder, LOOK_S):
        with contextlib.suppress(psutil.Error):
            _learn(known, descendants)
    for child in known.values():
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(child, signal.SIGKILL)


def _ended(process: int, wait_s: float = 0.0) -> bool:
    return bool(select.select([process], [], [], wait_s)[0])


def _learn(known: dict[int, int], holder: psutil.Process) -> None:
    alive = {child.pid for child in holder.children(recursive=True)} - {os.getpid()}
    for gone in known.keys() - alive:
        if _ended(known[gone]):  # not: its own parent died, and it belongs to nobody now
            os.close(known.pop(gone))
    for pid in alive - known.keys():
        with contextlib.suppress(OSError):
            known[pid] = os.pidfd_open(pid)


if __name__ == "__main__":
    main(int(sys.argv[1]))
