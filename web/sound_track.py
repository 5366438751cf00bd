"""The user's packets as a file that players know, as they come: Ogg for Opus, WAV for all else. Decodes nothing.

Formats: RIFF WAVE with the tags of RFC 2361 (1 PCM, 6 A-law, 7 µ-law).
"""

import struct
from collections.abc import Sequence

from config.settings import SAMPLE_RATE
from web.ogg import OggOpusWriter

#: By format: the tag, the rate and the bytes of a sample.
WAV = {"pcm16": (1, SAMPLE_RATE, 2), "pcma": (6, 8000, 1), "pcmu": (7, 8000, 1)}

#: Of a file that is not finished nobody knows the length, and one that was cut off has no other: players read on.
UNKNOWN = 0xFFFFFFFF


class SoundTrack:
    """One file, from its first byte on."""

    def __init__(self, audio_format: str, serial: int) -> None:
        self.kind = "ogg" if audio_format == "opus" else "wav"
        self._ogg = OggOpusWriter(serial) if audio_format == "opus" else None
        self._head = self._ogg.head() if self._ogg else _wav_head(*WAV[audio_format])

    def more(self, packets: Sequence[bytes]) -> bytes:
        """What these packets add to the file."""
        head, self._head = self._head, b""
        return head + (self._ogg.pages(packets) if self._ogg else b"".join(packets))


def _wav_head(tag: int, rate: int, sample_bytes: int) -> bytes:
    about = struct.pack("<HHIIHH", tag, 1, rate, rate * sample_bytes, sample_bytes, 8 * sample_bytes)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", UNKNOWN, b"WAVE", b"fmt ", len(about))
        + about
        + struct.pack("<4sI", b"data", UNKNOWN)
    )
