"""Ports for what tests start: each is given once, and to one run of the tests on this machine alone.

A port on which nobody listens is free for a moment only: two workers that start together, or one of another run, would
be given the same, and an outgoing connection may take one of the kernel's. So a port is locked until its run ends.
"""

import fcntl
import os
import secrets
import socket
import tempfile
from pathlib import Path

#: Below the kernel's range for outgoing connections: who calls a server that is just being restarted would otherwise
#: be given its port, and call itself. Not those of `antiphon up` (9400-9799, 16400 and more) and bench/.
PORTS = range(10_000, 16_000)

#: A byte of it for each port. The kernel lets go of a lock when the process that has it ends, however it does.
_LOCKS = Path(tempfile.gettempdir()) / f"antiphon-test-ports-{os.getuid()}"

_locks = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that no other test is given."""
    return free_row(1)


def free_row(count: int) -> int:
    """The first of so many in a row."""
    start = secrets.randbelow(len(PORTS))
    for first in [*PORTS[start:], *PORTS[:start]]:
        row = range(first, first + count)
        if all(port in PORTS and port not in _given and _lock(port) and _bindable(port) for port in row):
            _given.update(row)
            return first
    raise RuntimeError(f"no {count} ports of {PORTS.start}-{PORTS.stop - 1} in a row are free")


def _lock(port: int) -> bool:
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
