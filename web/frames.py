"""Frames of one WebSocket connection, the server's side (RFC 6455): bytes in, messages out, and back. Pure.

By hand, for a frame every 80 ms of every session: wsproto takes 32 µs to read one of 5 kB and 26 to write it, this 2
and less than 1. Only masking is not: websockets has it in C. Extensions are not negotiated, so all of a frame's
reserved bits are zero.
"""

import struct
from collections.abc import Iterator

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a compiler, where the same takes 10 µs
    from websockets.utils import apply_mask

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: The opcodes from here on are of control frames: never in parts, and short.
CONTROL = 8
CONTROL_BYTES = 125

#: Said in a close frame, and not sent at all: one without a code.
NO_CODE = 1005

#: Codes under 3000 that a close frame may hold (IANA's registry of them).
_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})

Message = tuple[int, bytes]
"""Opcode (TEXT, BINARY or of a control frame) and payload."""


class Violation(Exception):
    """The client broke the rules; `code` is what the connection is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message in one frame, unmasked, as servers send them."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """NO_CODE gives the empty one. The reason is cut to what fits."""
    if code == NO_CODE:
        return frame(CLOSE, b"")
    said = reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return frame(CLOSE, struct.pack("!H", code) + said)


def close_code(payload: bytes) -> int:
    """The code in a client's close frame. Raises Violation when it says what must not be said."""
    if not payload:
        return NO_CODE
    if len(payload) == 1:
        raise Violation(1002, "a close frame of one byte")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and not 3000 <= code < 5000:
        raise Violation(1002, "no such close code")
    text_of(payload[2:])
    return code


def text_of(payload: bytes) -> str:
    """Raises Violation for what is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(1007, "text must be UTF-8") from None


class FrameReader:
    """Takes bytes as they come; gives whole messages of at most `message_bytes`, and control frames in between."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._bytes = b""
        self._opcode = CONTINUED
        """Of the message whose parts are gathered; CONTINUED: none."""
        self._parts = bytearray()  # a list would take forty times what a client sends in parts of one byte

    def read(self, data: bytes) -> Iterator[Message]:
        """What is complete with `data`. Raises Violation after what came before it; then, or left early, it is over."""
        data = self._bytes + data if self._bytes else data
        at = 0
        while (found := self._header(data, at)) is not None:
            head, begin, size = found
            end = begin + size
            if end > len(data):
                break
            at = end
            payload = apply_mask(data[begin:end], data[begin - 4 : begin])
            if (message := self._take(head, payload)) is not None:
                yield message
        self._bytes = data[at:]

    def _header(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """First byte, where the payload begins and its size; None while it is not all there."""
        here = len(data) - at
        if here < 2:
            return None
        head, size = data[at], data[at + 1] & 0x7F
        if not data[at + 1] & 0x80:
            raise Violation(1002, "frames of a client are masked")
        wide = 2 if size == 126 else 8 if size == 127 else 0
        if here < 2 + wide:
            return None
        if wide:
            size = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
            if size < 126 or (wide == 8 and not 1 << 16 <= size < 1 << 63):
                raise Violation(1002, "the length of a frame is not written in the shortest way")
        self._check(head, size)
        return None if here < 6 + wide else (head, at + 6 + wide, size)

    def _check(self, head: int, size: int) -> None:
        """What can be refused before the payload is there is refused then."""
        opcode = head & 0x0F
        if head & 0x70:
            raise Violation(1002, "a reserved bit is set, and no extension was agreed on")
        if opcode >= CONTROL:
            if opcode > PONG or size > CONTROL_BYTES or not head & 0x80:
                raise Violation(1002, "a control frame that is unknown, too long or in parts")
            return
        if opcode > BINARY:
            raise Violation(1002, "a frame of an unknown kind")
        if (opcode == CONTINUED) != (self._opcode != CONTINUED):
            raise Violation(1002, "a part that continues nothing, or a message within another")
        if len(self._parts) + size > self._message_bytes:
            raise Violation(1009, f"a message may have {self._message_bytes} bytes")

    def _take(self, head: int, payload: bytes) -> Message | None:
        """The message that is whole with this frame."""
        opcode, last = head & 0x0F, head & 0x80
        if opcode >= CONTROL:
            return opcode, payload
        if opcode and last:
            return opcode, payload
        self._parts += payload
        self._opcode = self._opcode or opcode
        if not last:
            return None
        whole = (self._opcode, bytes(self._parts))
        self._opcode, self._parts = CONTINUED, bytearray()
        return whole
