"""Ties this process to the life of its parent, then becomes the given program: nothing outlives `antiphon up`.

    python leash.py SIGNAL PID_FILE PROGRAM [ARGUMENT…]

It runs as a script before each child, so it imports little and nothing of ours. The program does not notice it: it has
the process id that stands in PID_FILE, and gets SIGNAL from the kernel when its parent dies, even by SIGKILL. The
kernel forgets this at a fork, so a program ties its own children (web/gunicorn.py does).
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

#: Who the parent must be, for a parent may die before the leash is on. Each leash writes its own id here.
HOLDER = "LEASH_HOLDER"

#: <linux/prctl.h>
PR_SET_PDEATHSIG = 1


def put_on(death_signal: int) -> None:
    """Asks the kernel for the signal. Only Linux has this; elsewhere a killed parent leaves orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def main(death_signal: str, pid_file: str, *command: str) -> None:
    """Does not return."""
    put_on(signal.Signals[death_signal])
    if os.getppid() != int(os.environ[HOLDER]):
        sys.exit("leash: the parent is gone")
    os.environ[HOLDER] = str(os.getpid())
    Path(pid_file).write_text(f"{os.getpid()}\n")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and an exec would pass that on
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
