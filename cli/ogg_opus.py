"""Opus in Ogg, a packet at a time, for a client: PCM to pages and pages to PCM. No socket, no clock.

Formats: RFC 3533 (Ogg pages), RFC 7845 (Opus in Ogg; granule positions always count at 48 kHz).
"""

import struct
from collections.abc import Iterator

from cli.ogg_pages import FIRST_PAGE, PAGE, OggPages
from cli.sound import PACKET_SAMPLES, RATE
from config.errors import ConfigError

try:
    import opuslib
except Exception as error:  # opuslib raises a bare Exception where the C library is missing
    raise ConfigError(f"the Unmute dialect needs libopus (apt-get install libopus0): {error}") from None

#: The longest Opus packet holds 120 ms.
LONGEST_PACKET = RATE * 120 // 1000
#: The sender chooses when a page ends: more unparsed bytes than the largest page (65307) are no Ogg.
MOST_UNPARSED = 2**17


class NotOgg(ValueError):
    """Bytes that are no Ogg stream of Opus."""


class PacketEncoder:
    """PCM to packets without a container."""

    def __init__(self) -> None:
        self._encoder = opuslib.Encoder(RATE, 1, opuslib.APPLICATION_VOIP)

    def encode(self, pcm: bytes) -> bytes:
        """These 480 samples as one packet."""
        packet: bytes = self._encoder.encode(pcm, PACKET_SAMPLES)
        return packet


class OggOpusWriter:
    """Encodes 20 ms packets of PCM; each becomes a page of its own, so that nothing waits for a page to fill."""

    def __init__(self, serial: int = 1) -> None:
        self._encoder = PacketEncoder()
        self._pages = OggPages(serial)

    def head(self) -> list[bytes]:
        """The two header pages that begin a stream."""
        return self._pages.head()

    def page(self, pcm: bytes) -> bytes:
        """The page that holds these 480 samples."""
        return self._pages.page([self._encoder.encode(pcm)], PACKET_SAMPLES)


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
        while len(self._bytes) >= PAGE.size:
            if not self._bytes.startswith(b"OggS"):
                raise NotOgg("no Ogg page")
            lacing = self._bytes[PAGE.size : PAGE.size + self._bytes[26]]
            size = PAGE.size + self._bytes[26] + sum(lacing)
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
        at = PAGE.size + count
        for length in page[PAGE.size : at]:
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
