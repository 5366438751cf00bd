"""Pages of an Ogg stream of Opus, written packet by packet. No codec, no socket, no clock.

Formats: RFC 3533 (Ogg pages), RFC 7845 (Opus in Ogg; granule positions always count at 48 kHz).
"""

import struct
import zlib
from collections.abc import Sequence

from cli.sound import RATE

PAGE = struct.Struct("<4sBBqIIIB")
FIRST_PAGE = 2
#: Samples at 48 kHz that an encoder adds before the sound: the lookahead of libopus in VoIP mode.
PRE_SKIP = 312

#: Every byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def page_crc(page: bytes) -> int:
    """CRC-32 of polynomial 0x04c11db7, unreflected and without inversion (RFC 3533, section 6).

    zlib's is the same, reflected and inverted at both ends: so over reversed bits, with both undone.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


class OggPages:
    """One stream: its two header pages, then pages of packets."""

    def __init__(self, serial: int = 1) -> None:
        self._serial = serial
        self._pages = 0
        self._granule = 0

    def head(self) -> list[bytes]:
        """The pages that begin the stream."""
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, RATE, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", 8) + b"antiphon" + struct.pack("<I", 0)
        return [self._page([head], FIRST_PAGE), self._page([tags])]

    def page(self, packets: Sequence[bytes], samples: int) -> bytes:
        """The page that holds these packets, which hold so many samples at 24 kHz."""
        self._granule += samples * 48_000 // RATE
        return self._page(packets)

    def _page(self, packets: Sequence[bytes], flags: int = 0) -> bytes:
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        fields = (b"OggS", 0, flags, self._granule, self._serial, self._pages)
        self._pages += 1
        body = lacing + b"".join(packets)
        crc = page_crc(PAGE.pack(*fields, 0, len(lacing)) + body)
        return PAGE.pack(*fields, crc, len(lacing)) + body
