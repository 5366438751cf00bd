"""A TCP proxy between a browser and a house: lines that stall, go dead without a word, or break."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: What one read takes.
READ_BYTES = 65_536


class SlowLine:
    """All connections through it behave as it says."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.flows = threading.Event()
        """Cleared: nothing passes, in neither direction, and nobody is told."""
        self.flows.set()
        self._ends: list[socket.socket] = []
        self._dead: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                try:
                    theirs = socket.create_connection(("127.0.0.1", self._to_port))
                except OSError:  # a server that is away refuses
                    ours.close()
                    continue
                self._ends += [ours, theirs]
                for one, other in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(READ_BYTES):
                self.flows.wait()
                if one not in self._dead:
                    other.sendall(data)
        except OSError:
            pass
        if one not in self._dead:
            for end in (one, other):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def go_dead(self) -> None:
        """What is connected now carries nothing any more, and says so to nobody. What comes later is well."""
        self._dead.update(self._ends)

    def close(self) -> None:
        self.flows.set()
        self._listener.close()
        for end in self._ends:
            end.close()


@contextmanager
def slow_line(to_port: int) -> Iterator[SlowLine]:
    """As long as the context lasts."""
    line = SlowLine(to_port)
    try:
        yield line
    finally:
        line.close()
