"""A client's sound in any format of the GA dialect, by the codecs of the server: to events, and from them."""

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from cli.sound import RATE
from config.errors import ConfigError
from config.messages import AudioFormat

try:
    from tasks.codec import decoder, encoder
except Exception as error:  # opuslib raises a bare Exception where the C library is missing
    raise ConfigError(f"formats other than pcm16 need libopus (apt-get install libopus0): {error}") from None

Json = dict[str, object]


class Unreadable(ValueError):
    """What is no audio of its format."""


class GaSound:
    """Both directions of one conversation."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._encoder = encoder(audio_format)
        self._decoder = decoder(audio_format)

    @property
    def name(self) -> Json:
        """As the session object has it."""
        if self.format == "pcm16":
            return {"type": "audio/pcm", "rate": RATE}
        return {"type": f"audio/{self.format}"}

    def appends(self, pcm16: bytes) -> list[Json]:
        """Fields of the events that bring it: one for each packet of 20 ms."""
        if self.format == "pcm16":
            return [_append(pcm16)]
        pcm = np.frombuffer(pcm16, "<i2").astype(np.float32) / 32768.0
        return [_append(packet) for packet in self._encoder.encode(pcm)]

    def heard(self, delta: str, sizes: Sequence[int] | None) -> bytes:
        """What a delta sounds like, as pcm16 at 24 kHz; `sizes`: of its packets of Opus. Raises Unreadable."""
        try:
            data = base64.b64decode(delta, validate=True)
        except binascii.Error:
            raise Unreadable("the server sent audio that is not base64") from None
        if self.format == "pcm16":
            return data
        lengths = sizes if sizes is not None else [len(data)]
        if sum(lengths) != len(data):
            raise Unreadable("the server sent packets of other lengths than it says")
        ends = np.cumsum(lengths)
        pcm = [self._decoder.decode(data[end - size : end]) for size, end in zip(lengths, ends, strict=True)]
        joined = np.concatenate([np.zeros(0, np.float32), *pcm])
        return bytes((joined * 32767.0).astype("<i2").tobytes())


def _append(audio: bytes) -> Json:
    return {"audio": base64.b64encode(audio).decode()}
