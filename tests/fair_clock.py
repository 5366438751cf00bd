"""A clock for bars in seconds: they are for a machine that has the time for what it is asked.

It goes as every clock while nobody waits for a CPU, and at half speed while somebody always does. So a machine that
something else keeps busy has twice the time, and one that is idle no more than the bar says.
"""

import time
from pathlib import Path

#: "some": microseconds in which at least one process waited (Documentation/accounting/psi.rst). Not on every system.
_CPU = Path("/proc/pressure/cpu")


def now_s() -> float:
    """To be compared with other moments of this clock alone."""
    return time.monotonic() - _waited_s() / 2


def _waited_s() -> float:
    try:
        return int(_CPU.read_text().split("total=")[1].split()[0]) / 1e6
    except OSError:
        return 0.0
