"""Opus in Ogg, a packet at a time, for a client: PCM to pages and pages to PCM. No socket, no clock.

Formats: RFC 3533 (Ogg pages), RFC 7845 (Opus in Ogg; granule positions always count at 48 kHz).
"""

import struct
from collections.abc import Iterator

from cli.sound import PACKET_SAMPLES, RATE
from config.errors import ConfigError

try:
    import opuslib
except Exception as error:  # opuslib raises a bare Exception where the C library is missing
    raise ConfigError(f"the Unmute dialect needs libopus (apt-get install libopus0): {error}") from None

_PAGE = struct.Struct("<4sBBqIIIB")
CONTINUED, FIRST_PAGE, LAST_PAGE = 1, 2, 4
#: Samples at 48 kHz that an encoder adds before the sound: the lookahead of libopus in VoIP mode.
PRE_SKIP = 312
#: The longest Opus packet holds 120 ms.
LONGEST_PACKET = RATE * 120 // 1000
#: The sender chooses when a page ends: more unparsed bytes than the largest page (65307) are no Ogg.
MOST_UNPARSED = 2**17


def _crc_table() -> tuple[int, ...]:
    """CRC-32 of polynomial 0x04c11db7, unreflected and without inversion (RFC 3533, section 6)."""
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    return tuple(table)


_CRC = _crc_table()


def _crc(data: bytes) -> int:
    remainder = 0
    for byte in data:
        remainder = ((remainder << 8) & 0xFFFFFFFF) ^ _CRC[(remainder >> 24) ^ byte]
    return remainder


class NotOgg(ValueError):
    """Bytes that are no Ogg stream of Opus."""


class OggOpusWriter:
    """Encodes 20 ms packets of PCM; each becomes a page of its own, so that nothing waits for a page to fill."""

    def __init__(self, serial: int = 1) -> None:
        self._encoder = opuslib.Encoder(RATE, 1, opuslib.APPLICATION_VOIP)
        self._serial = serial
        self._pages = 0
        self._granule = 0

    def head(self) -> list[bytes]:
        """The two header pages that begin a stream."""
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, RATE, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", 8) + b"antiphon" + struct.pack("<I", 0)
        return [self._page(head, FIRST_PAGE), self._page(tags)]

    def page(self, pcm: bytes) -> bytes:
        """The page that holds these 480 samples."""
        packet = self._encoder.encode(pcm, PACKET_SAMPLES)
        self._granule += PACKET_SAMPLES * 48_000 // RATE
        return self._page(packet)

    def _page(self, packet: bytes, flags: int = 0) -> bytes:
        lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        fields = (b"OggS", 0, flags, self._granule, self._serial, self._pages)
        self._pages += 1
        unsummed = _PAGE.pack(*fields, 0, len(lacing)) + lacing + packet
        return _PAGE.pack(*fields, _crc(unsummed), len(lacing)) + lacing + packet


class OggOpusReader:
    """Decodes a stream that comes in pieces of any size, or several streams one after the other, to 24 kHz PCM.

    Checksums are not verified: a WebSocket has done that already.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self._partial = b""
        self._packets = 0
        self._skip = 0
        self._decoder = opuslib.Decoder(RATE, 1)

    def read(self, data: bytes) -> bytes:
        """The PCM of all packets that are complete now. Raises NotOgg."""
        self._bytes += data
        return b"".join(
            self._packet(packet) for page in self._whole_pages() for packet in self._packets_of(page)
        )

    def _whole_pages(self) -> Iterator[bytes]:
        while len(self._bytes) >= _PAGE.size:
            if not self._bytes.startswith(b"OggS"):
                raise NotOgg("no Ogg page")
            lacing = self._bytes[_PAGE.size : _PAGE.size + self._bytes[26]]
            size = _PAGE.size + self._bytes[26] + sum(lacing)
            if len(lacing) < self._bytes[26] or len(self._bytes) < size:
                break
            page, self._bytes = self._bytes[:size], self._bytes[size:]
            yield page
        if len(self._bytes) > MOST_UNPARSED:
            raise NotOgg("a page without an end")

    def _packets_of(self, page: bytes) -> Iterator[bytes]:
        flags, count = page[5], page[26]
        if flags & FIRST_PAGE:
            self._packets, self._partial = 0, b""
            self._decoder = opuslib.Decoder(RATE, 1)
        at = _PAGE.size + count
        for length in page[_PAGE.size : at]:
            self._partial += page[at : at + length]
            at += length
            if length < 255:
                packet, self._partial = self._partial, b""
                yield packet

    def _packet(self, packet: bytes) -> bytes:
        self._packets += 1
        if self._packets == 1:
            if not packet.startswith(b"OpusHead") or len(packet) < 19:
                raise NotOgg("no Opus stream")
            self._skip = struct.unpack_from("<H", packet, 10)[0] * RATE // 48_000
        if self._packets <= 2 or not packet:
            return b""
        try:
            pcm: bytes = self._decoder.decode(packet, LONGEST_PACKET)
        except opuslib.OpusError as error:
            raise NotOgg(f"a broken Opus packet: {error}") from None
        skipped = min(self._skip, len(pcm) // 2)
        self._skip -= skipped
        return pcm[2 * skipped :]
