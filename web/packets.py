"""How long packets are, without decoding them. Pure."""

from collections.abc import Iterable

from config.messages import AudioFormat
from config.settings import SAMPLE_RATE

#: Samples at 48 kHz of one Opus frame, by the configuration number in the TOC byte (RFC 6716, table 2).
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_FRAME_48K = [*_SILK * 3, *_HYBRID * 2, *_CELT * 4]

#: No packet is longer than 120 ms.
MAX_PACKET_48K = 5760


def opus_samples(packet: bytes) -> int:
    """Length of an Opus packet at 24 kHz; 0 for one that is malformed."""
    if not packet:
        return 0
    toc = packet[0]
    code = toc & 3
    if code == 3 and len(packet) < 2:
        return 0
    frames = (1, 2, 2, packet[1] & 63 if code == 3 else 0)[code]
    at_48k = frames * _FRAME_48K[toc >> 3]
    return at_48k * SAMPLE_RATE // 48_000 if at_48k <= MAX_PACKET_48K else 0


#: Bytes of audio that is no Opus, in samples of its own; and ours for one of those.
BYTES = {"pcm16": 2, "pcmu": 1, "pcma": 1}
RATIO = {"pcm16": 1, "pcmu": 3, "pcma": 3}


def packets_samples(packets: Iterable[bytes], audio_format: AudioFormat) -> int:
    """Length of packets at 24 kHz."""
    if audio_format == "opus":
        return sum(opus_samples(packet) for packet in packets)
    return sum(map(len, packets)) // BYTES[audio_format] * RATIO[audio_format]
