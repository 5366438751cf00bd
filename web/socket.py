"""One client's WebSocket: safe sending, bounded buffers, one reader, and an end when nobody is there any more. Owns the
socket after flask-sock's handshake.

simple-websocket ignores partial sends and buffers without bound, so only its handshake is used; frames are those of
`web/frames.py`.
"""

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from simple_websocket import Server

from web import session_metrics
from web.fair_share import FairShare
from web.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Violation,
    close_code,
    close_frame,
    frame,
    text_of,
)
from web.pinger import Pings

log = logging.getLogger(__name__)

#: What one read takes from the kernel: three packets of 80 ms, and no memory that must be asked of the kernel first.
READ_BYTES = 16_384

#: <netinet/tcp.h>: the only state of a connection whose other end has neither closed nor reset it.
TCP_ESTABLISHED = 1

#: A client that was told goodbye has so long to answer it.
LINGER_S = 1.0

#: A client that takes nothing for this long is gone.
SEND_DEADLINE_S = 20.0


class ClientGone(Exception):
    """What was to be sent did not leave: the client has gone, or was told to go."""


class NoThread:
    """Stands in for simple-websocket's reader thread: this module reads by itself."""

    name = ""

    def __init__(self, target: Any = None) -> None:
        """Takes the target and forgets it."""

    def start(self) -> None:
        """Does nothing."""


class ClientSocket:
    """Text messages in and out. `close_code` says how the client left: 1006 when it just vanished."""

    def __init__(
        self, server: Server, *, message_bytes: int, spill_bytes: int, silent_s: float, share: FairShare
    ) -> None:
        """silent_s: a client that acknowledges nothing, or answers no ping, for so long has gone without a word. share:
        how fast it is read, at the most."""
        self._socket = server.sock
        self._server = server
        self._frames = FrameReader(message_bytes)
        self.share = share
        self._spill_bytes = spill_bytes
        self._spill = bytearray()
        self._draining = False
        # gevent's TLS socket waits although it is told not to: all it sends goes through the spill
        self._encrypted = isinstance(server.sock, ssl.SSLSocket)
        self._pings = Pings()
        self._silent_s = silent_s
        self._asked_s: float | None = None
        """Since when an answer to a ping is waited for, and nothing at all has come."""
        self._reading = False
        self._reader: gevent.Greenlet | None = None
        self._give_up_after(silent_s)
        self.open = True
        self._closing = False
        self.close_code = 1006
        self.last_words: Callable[[int, str], Iterable[str]] = lambda code, reason: ()
        """What is said before the server's goodbye, to clients that look at messages alone."""

    def _give_up_after(self, silent_s: float) -> None:
        """TCP itself would wait for acknowledgements for a quarter of an hour. Behind a proxy it is the proxy that
        gives them: pings find those out."""
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux has it
            with contextlib.suppress(OSError):  # of a socket that is not TCP's
                self._socket.setsockopt(socket.IPPROTO_TCP, option, max(1, int(1000 * silent_s)))

    @property
    def hung_up(self) -> bool:
        """The client has closed the connection already, whatever it sent before that waits to be read. False where the
        system does not tell."""
        try:
            state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except (OSError, AttributeError):
            return False
        return bool(state[0] != TCP_ESTABLISHED)

    # --- sending

    def send(self, texts: Iterable[str]) -> None:
        """Sends at once what the kernel takes; the rest follows by itself. A client too slow is disconnected.

        Raises ClientGone once it is closed: who counts what was sent must not count this.
        """
        if self._closing or not self.open:
            raise ClientGone
        self._write(b"".join([frame(TEXT, text.encode()) for text in texts]))
        if not self.open:
            raise ClientGone

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._draining:
            self._spill += data
            if len(self._spill) > self._spill_bytes:
                log.warning("a client does not read; it is disconnected")
                self._drop()
            return
        try:
            sent = 0 if self._encrypted else self._socket.send(data, timeout=0.0)
        except (BlockingIOError, TimeoutError):
            sent = 0
        except OSError:
            self._drop()
            return
        if sent < len(data):
            self._spill += data[sent:]
            self._draining = True
            gevent.spawn(self._drain)

    def _drain(self) -> None:
        try:
            while self._spill and self.open:
                data = bytes(self._spill)
                self._spill.clear()
                with gevent.Timeout(SEND_DEADLINE_S, TimeoutError):
                    self._socket.sendall(data)
        except OSError:
            self._drop()
        finally:
            self._draining = False

    def ping(self) -> None:
        """Asks the client for an answer, whose time is a metric; one that gave none for long is gone."""
        if not self.open or self._closing:
            return
        now_s = time.monotonic()
        if self._asked_s is not None and now_s - self._asked_s >= self._silent_s:
            log.info("a client has said nothing for long, nor answered; it is gone")
            self._drop()
            return
        if self._asked_s is None and self._reading:  # what is not read says nothing of who sends it
            self._asked_s = now_s
        self._write(frame(PING, self._pings.next(now_s)))

    def close(self, code: int, reason: str = "") -> None:
        """Says goodbye with a close frame; the reader ends."""
        if not self.open or self._closing:
            return
        self._closing = True
        self.close_code = code
        session_metrics.ended_by_us(code)
        words = [frame(TEXT, text.encode()) for text in self.last_words(code, reason)]
        self._write(b"".join([*words, close_frame(code, reason)]))
        with gevent.Timeout(1.0, False):
            while self._draining:
                gevent.sleep(0.01)
        with gevent.Timeout(LINGER_S, False), contextlib.suppress(OSError, Violation):
            self._hear_out()
        self._drop()

    def _hear_out(self) -> None:
        """Until the client has answered the goodbye. What it sends meanwhile is read and forgotten: with anything
        unread the kernel would reset the connection, and a client that is just sending would not get to read why."""
        if self._reader not in (None, gevent.getcurrent()):
            while self.open:
                gevent.sleep(0.005)
            return
        while self.open and (data := self._socket.recv(READ_BYTES)):
            if any(opcode == CLOSE for opcode, _ in self._frames.read(data)):
                return

    def _drop(self) -> None:
        self.open = False
        self._server.connected = False
        with contextlib.suppress(OSError):
            self._socket.shutdown(2)

    # --- receiving

    def messages(self) -> Iterator[str]:
        """Whole text messages until the client leaves; one over the limit closes with 1009, a binary one with 1003."""
        self._reader = gevent.getcurrent()
        while self.open:
            self._reading = True
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            self._reading, self._asked_s = False, None
            if not data:
                self._drop()
                return
            began_s = time.thread_time()
            try:
                for opcode, payload in self._frames.read(data):
                    if opcode == TEXT and not self._closing:
                        yield text_of(payload)
                    elif not self._control(opcode, payload):
                        return
                    began_s = self._rest(began_s)
                self._rest(began_s)
            except Violation as error:
                self.close(error.code, str(error))
                return

    def _rest(self, began_s: float) -> float:
        """Lets others have their turn, where it is theirs; returns the thread's time from which to count on."""
        now_s = time.thread_time()
        pause_s = self.share.spend(now_s - began_s, time.monotonic())
        if pause_s is None:
            return now_s
        gevent.sleep(pause_s)
        return time.thread_time()

    def _control(self, opcode: int, payload: bytes) -> bool:
        """Answers pings and goodbyes, and leaves what is said after ours; False when nothing more will come."""
        if opcode == PING and not self._closing:
            self._write(frame(PONG, payload))
        elif opcode == PONG:
            self._pings.answered(payload, time.monotonic())
        elif opcode == BINARY:
            self.close(1003, "send JSON as text messages")
            return False
        elif opcode == CLOSE:
            code = close_code(payload)
            if not self._closing:
                self.close_code = code
                self._write(close_frame(code))
            self._drop()
            return False
        return True
