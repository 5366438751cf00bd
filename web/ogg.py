"""Opus in Ogg: bytes in pieces of any size to packets, and packets to pages. Pure; decodes nothing.

Formats: RFC 3533 (pages), RFC 7845 (Opus in Ogg; granule positions always count at 48 kHz).
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from web.packets import opus_samples

_CAPTURE = b"OggS"
_PAGE = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4

#: No Opus packet that anybody has to accept is longer (RFC 7845, section 6).
MAX_PACKET = 61_440

#: Damaged pages after which the rest of what came is given up: looking on costs CPU, and nobody sends such by accident.
MAX_DAMAGED = 16

#: Packets after which the rest of what came is given up: as many of the shortest, 2.5 ms, are 10 s.
MAX_PACKETS = 4000

#: Samples at 48 kHz that libopus adds before the sound when it encodes for `audio` or `voip`.
PRE_SKIP = 312

#: Rate named in the header: that of the sound before it was encoded.
INPUT_RATE = 24_000

#: Every byte with its bits in reverse order.
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def page_crc(page: bytes) -> int:
    """Checksum of a page whose checksum field is zero: CRC-32 of 0x04c11db7, unreflected, starting from 0.

    That of zlib is the same polynomial with every bit order reversed, starting from, and inverted at the end.
    """
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "big").translate(_MIRROR), "little")


class OggOpusWriter:
    """One logical stream: its two header pages, then pages of several packets."""

    def __init__(self, serial: int) -> None:
        self._serial = serial
        self._pages = 0
        self._granule = 0

    def head(self) -> bytes:
        """The two pages that begin a mono stream."""
        head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, INPUT_RATE, 0, 0)
        tags = b"OpusTags" + struct.pack("<I", 8) + b"antiphon" + struct.pack("<I", 0)
        return self._page([head], _FIRST) + self._page([tags], 0)

    def pages(self, packets: Iterable[bytes]) -> bytes:
        """Whole pages with these packets, as few as hold them. Raises ValueError for one over MAX_PACKET."""
        written: list[bytes] = []
        waiting: list[bytes] = []
        segments = 0
        for packet in packets:
            if len(packet) > MAX_PACKET:
                raise ValueError(f"an Opus packet of {len(packet)} bytes")
            needs = len(packet) // 255 + 1
            if segments + needs > 255:
                written.append(self._page(waiting, 0))
                waiting, segments = [], 0
            waiting.append(packet)
            segments += needs
            self._granule += 2 * opus_samples(packet)
        if waiting:
            written.append(self._page(waiting, 0))
        return b"".join(written)

    def _page(self, packets: list[bytes], flags: int) -> bytes:
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        body = lacing + b"".join(packets)
        fields = (_CAPTURE, 0, flags, self._granule, self._serial, self._pages & 0xFFFFFFFF)
        self._pages += 1
        crc = page_crc(_PAGE.pack(*fields, 0, len(lacing)) + body)
        return _PAGE.pack(*fields, crc, len(lacing)) + body


@dataclass(frozen=True)
class _Page:
    flags: int
    serial: int
    number: int
    lacing: bytes
    body: bytes

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Pieces of packets, each with whether its packet ends with it."""
        at = begin = 0
        for length in self.lacing:
            at += length
            if length < 255:
                yield self.body[begin:at], True
                begin = at
        if self.lacing and self.lacing[-1] == 255:
            yield self.body[begin:], False


class OggOpusReader:
    """Takes bytes as they come; gives the Opus packets that are complete, never a header.

    Pages before a stream's first page are dropped, so are those of other streams; a new first page begins a new
    stream (chaining). What is damaged is skipped up to the next sound page, and `trouble` says so.
    """

    def __init__(self, serial: int | None = None) -> None:
        self.serial = serial
        """The stream being read; None before it begins. Given: its first page was seen by another reader."""
        self.trouble = ""
        """What was wrong with the bytes of the newest `read`, for the person who sent them."""
        self._bytes = b""
        self._next_page: int | None = None
        self._headers = 0
        """Header packets still to come."""
        self._packet = b""
        """The beginning of a packet that goes on in the next page."""
        self._broken = False
        """The packet under way lost a part or is too long: it is dropped when it ends."""

    def read(self, data: bytes) -> list[bytes]:
        """Packets that are complete with `data`. Never raises, whatever it is."""
        self.trouble = ""
        self._bytes += data
        found: list[bytes] = []
        for page in self._pages():
            found += [packet for packet in self._packets(page) if packet]
            if len(found) > MAX_PACKETS:
                self.trouble, self._bytes = f"there are more than {MAX_PACKETS} packets at once", b""
                break
        return found

    # --- pages

    def _pages(self) -> Iterator[_Page]:
        data, at, damaged = self._bytes, 0, 0
        while damaged < MAX_DAMAGED:
            at = self._capture(data, at)
            end = _page_end(data, at)
            if end is None and not self._hides_a_page(data, at):
                break
            page = None if end is None else _parse(data[at:end])
            if page is None or end is None:
                self.trouble = "an Ogg page is damaged: its checksum, length or version is wrong"
                damaged += 1
                at += 1
            else:
                at = end
                yield page
        self._bytes = data[at:] if damaged < MAX_DAMAGED else b""

    def _capture(self, data: bytes, at: int) -> int:
        """Where the next page may begin; all before it is nothing."""
        found = data.find(_CAPTURE, at)
        if found < 0:
            tail = next((n for n in (3, 2, 1) if data[at:].endswith(_CAPTURE[:n])), 0)
            found = len(data) - tail
        if found > at:
            self.trouble = self.trouble or "these bytes are no Ogg page"
        return found

    @staticmethod
    def _hides_a_page(data: bytes, at: int) -> bool:
        """Whether what looks like the beginning of a long page has a whole page in it: then it is none."""
        inner = data.find(_CAPTURE, at + 1)
        end = _page_end(data, inner) if inner > 0 else None
        return end is not None and _parse(data[inner:end]) is not None

    # --- packets

    def _packets(self, page: _Page) -> Iterator[bytes]:
        if page.flags & _FIRST:
            self._begin(page)
        if page.serial != self.serial:
            return
        if page.number != self._next_page:
            self._packet, self._broken = b"", False
        self._next_page = (page.number + 1) & 0xFFFFFFFF
        self._join(continued=bool(page.flags & _CONTINUED))
        for piece, ends in page.pieces():
            self._broken = self._broken or len(self._packet) + len(piece) > MAX_PACKET
            self._packet = b"" if self._broken else self._packet + piece
            if ends:
                packet, broken = self._packet, self._broken
                self._packet, self._broken = b"", False
                yield b"" if self._is_header(packet) or broken else packet
        if page.flags & _LAST:
            self.serial = None

    def _begin(self, page: _Page) -> None:
        self.serial, self._next_page, self._headers = page.serial, page.number, 2
        self._packet, self._broken = b"", False
        if not _is_opus_head(page.body):
            self.serial = None
            self.trouble = "this Ogg stream is not mono or stereo Opus"

    def _join(self, *, continued: bool) -> None:
        """A packet that goes on without its beginning is dropped, and so is a beginning that does not go on."""
        if not continued:
            self._packet, self._broken = b"", False
        elif not self._packet:
            self._broken = True

    def _is_header(self, packet: bytes) -> bool:
        """The first two packets of a stream; a stream that lost its second has sound there."""
        if not self._headers:
            return False
        self._headers -= 1
        return packet.startswith((b"OpusHead", b"OpusTags")) or not packet


def _page_end(data: bytes, at: int) -> int | None:
    """Where the page that begins at `at` ends; None while it is incomplete."""
    if at + 27 > len(data):
        return None
    body = at + 27 + data[at + 26]
    end = body + sum(data[at + 27 : body])
    return end if max(body, end) <= len(data) else None


def _parse(page: bytes) -> _Page | None:
    """A page; None when its checksum or version is wrong."""
    _, version, flags, _, serial, number, crc, segments = _PAGE.unpack_from(page)
    if version != 0 or page_crc(page[:22] + bytes(4) + page[26:]) != crc:
        return None
    return _Page(flags, serial, number, page[27 : 27 + segments], page[27 + segments :])


def _is_opus_head(packet: bytes) -> bool:
    """One or two channels in a plain mapping, a version we can read (RFC 7845, section 5.1)."""
    return (
        len(packet) >= 19
        and packet.startswith(b"OpusHead")
        and packet[8] < 16
        and packet[9] in (1, 2)
        and packet[18] == 0
    )
