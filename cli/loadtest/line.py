"""A WebSocket as cheap as it gets: websockets' own protocol machine, without the tasks and queues of its connections.

A talker needs none of them: whatever comes is judged where it arrives. Costs a third of `websockets.asyncio`.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from cli.call import MAX_MESSAGE_BYTES
from cli.credentials import headers, told

#: A server that leaves so much unread has stopped reading: 20 s of PCM in base64.
MOST_UNSENT_BYTES = 2**20

#: Of the page of who refuses: a failure is told in one line.
MOST_TOLD = 120


class LineFailed(Exception):
    """Why there is no line, or none any more: `cause` in words that many failures share."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail


class Line(asyncio.Protocol):
    """One connection. `hear` gets every text message and when it came."""

    def __init__(
        self,
        url: str,
        subprotocols: Sequence[str],
        hear: Callable[[bytes, float], None],
        api_key: str | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._url = url
        offers = [Subprotocol(name) for name in subprotocols]
        self._protocol = ClientProtocol(
            parse_uri(url), subprotocols=offers or None, max_size=MAX_MESSAGE_BYTES
        )
        self._headers = headers(api_key)
        self._hear = hear
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._parts: list[bytes] = []
        self._pinged_s: float | None = None
        self.ended: asyncio.Future[LineFailed | None] = loop.create_future()
        """None: we hung up."""
        self.pong: Callable[[float], None] = lambda seconds: None
        self.received_bytes = 0

    async def open(self) -> None:
        """Raises LineFailed. The first messages may be heard before it returns."""
        parts = urlsplit(self._url)
        secure = parts.scheme == "wss"
        port = parts.port or (443 if secure else 80)
        context = ssl.create_default_context() if secure else None
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, parts.hostname or "", port, ssl=context)
            await self._opened
        except OSError as error:
            raise LineFailed("cannot connect", _why(error)) from None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        request = self._protocol.connect()
        request.headers.update(self._headers)
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Messages, or parts of some."""
        now_s = time.monotonic()
        self.received_bytes += len(data)
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event, now_s)
            elif isinstance(event, Response) and self._protocol.handshake_exc is None:
                _settle(self._opened)
        self._flush()
        self._look_whether_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody hung up, or the network did."""
        self._protocol.receive_eof()
        self._look_whether_over()
        self._end(LineFailed("line lost", str(exc or "the server hung up without a word")))

    # ---

    def _frame(self, frame: Frame, now_s: float) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            if frame.fin and not self._parts:
                self._hear(bytes(frame.data), now_s)
                return
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._hear(whole, now_s)
        elif frame.opcode is Opcode.PONG and self._pinged_s is not None:
            self.pong(now_s - self._pinged_s)
            self._pinged_s = None

    def _look_whether_over(self) -> None:
        error = self._protocol.handshake_exc
        if error is not None:
            self._end(_refusal(error))
        elif self._protocol.state in (State.CLOSING, State.CLOSED):
            said = self._protocol.close_rcvd
            self._end(LineFailed("line lost") if said is None else _goodbye(said))

    def _end(self, why: LineFailed | None) -> None:
        if not self._opened.done() and why is not None:
            self._opened.set_exception(why)
        if not self.ended.done():
            self.ended.set_result(why)
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)

    # --- what a talker does

    def send(self, message: bytes) -> None:
        """A text message; nothing once the line has ended."""
        if self.ended.done() or self._transport is None:
            return
        # as the protocol machine would, without its five calls: a line that has not ended is open
        self._transport.write(Frame(Opcode.TEXT, message).serialize(mask=True))
        if self._transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self._end(LineFailed("server does not read", "it left 1 MiB of our audio unread"))
            self._transport.abort()

    def ping(self, now_s: float) -> None:
        """`pong` gets the round trip; while one is on its way there is no second."""
        if self._pinged_s is None and not self.ended.done():
            self._pinged_s = now_s
            self._protocol.send_ping(b"")
            self._flush()

    def hang_up(self) -> None:
        """With a close frame; nobody waits for the answer."""
        if not self.ended.done():
            self.ended.set_result(None)
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        if self._transport is not None:
            self._transport.close()


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _why(error: OSError) -> str:
    """In a few words. asyncio's own name the address again; TLS and unknown names have words of their own."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS there: {error.reason}"
    told = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return told or str(error) or "the server hung up"


def _goodbye(said: Close) -> LineFailed:
    return LineFailed(f"closed with {said.code}", said.reason)


def _refusal(error: Exception) -> LineFailed:
    match error:
        case InvalidStatus():
            body = told(bytes(error.response.body or b""))
            words = error.response.reason_phrase if body.startswith("<") else body[:MOST_TOLD]
            return LineFailed(f"refused with HTTP {error.response.status_code}", words)
        case InvalidHandshake() | WebSocketException():
            return LineFailed("no WebSocket", str(error))
    return LineFailed("line lost", str(error))
