"""Ports for the metrics of the workers that `antiphon up` starts: one each, in a row."""

import errno
import socket
from collections.abc import Sequence

from config.errors import ConfigError

#: Where rows begin; a worker in a container has this port.
FIRST = 9400

LAST = 65_535

#: Rows, and ports in each: the first row to be tried goes by the web's port, so that several `up` do not race for one.
ROWS, ROW = 20, 20


def first_of_row(wanted: int | None, host: str, count: int, web_port: int) -> int:
    """The first of `count` free ports; 0 if `wanted` says that there are to be none. Raises ConfigError when a port
    that the operator chose is taken, or no row is free."""
    if wanted == 0:
        return 0
    if wanted is not None:
        for port in range(wanted, wanted + count):
            if why := taken(host, port):
                raise ConfigError(
                    f"port {port} of {host}, for a worker's metrics, {why}; the workers take {count} from "
                    f"ANTIPHON_METRICS_PORT={wanted} on: choose others, or 0 for none"
                )
        return wanted
    for turn in range(ROWS):
        first = FIRST + ROW * ((web_port + turn) % ROWS)
        if not any(taken(host, port) for port in range(first, first + count)):
            return first
    raise ConfigError(
        f"no {count} ports in a row from {FIRST} on are free at {host} for the metrics of the workers; "
        "choose some with ANTIPHON_METRICS_PORT, or 0 for none"
    )


def taken(host: str, port: int) -> str:
    """Why nobody can listen there; empty if somebody can."""
    if port > LAST:
        return "is none"
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return "cannot be had (no such address)"
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the workers do
        try:
            probe.bind(where)
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
    return ""


def told(page: str, names: Sequence[str], host: str, first: int) -> str:
    """One line for the operator. page: the web's."""
    if not first:
        return f"metrics: {page}; of the workers none"
    ports = ", ".join(f"{first + at} ({name})" for at, name in enumerate(names))
    return f"metrics: {page}; workers at {host}, ports {ports}"
