"""Messages about cloned voices: what one is, and what became of a recording."""

from typing import Annotated

import msgspec

from config.messages import Message

#: Names of cloned voices begin like this, in `Order.voice` and on the wire.
CUSTOM_PREFIX = "custom:"


class CustomVoice(Message, frozen=True, tag="custom_voice"):
    """A cloned voice. Only TTS engines that know its encoder can speak with it."""

    encoder: Annotated[str, msgspec.Meta(max_length=64)]
    """Who made it: the name of a module in `gpu_workers/voices/`."""
    data: Annotated[bytes, msgspec.Meta(max_length=8 << 20)]
    """safetensors; what is in it is between encoder and engine."""


class VoiceMade(Message, frozen=True, tag="voice_made"):
    """A recording became the cloned voice `voice`."""

    voice: Annotated[str, msgspec.Meta(max_length=64)]


class VoiceRefused(Message, frozen=True, tag="voice_refused"):
    """It did not; `reason` is for the person who sent it. theirs: they can mend it, else it is the server's matter."""

    reason: Annotated[str, msgspec.Meta(max_length=2000)]
    theirs: bool


decode_custom_voice = msgspec.msgpack.Decoder(CustomVoice).decode
decode_voice_answer = msgspec.msgpack.Decoder(VoiceMade | VoiceRefused).decode
