"""Client events of the Unmute dialect, as structs with limits."""

from typing import Annotated, Any

import msgspec

Id = Annotated[str, msgspec.Meta(max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=256)]


#: Of instructions, what `web.characters` reads.
INSTRUCTION_FIELDS = ("type", "text", "language")


class Ours(msgspec.Struct, omit_defaults=True):
    """What only this server offers; the field is `antiphon`."""

    record_audio: bool = False


class SessionConfig(msgspec.Struct, omit_defaults=True):
    """What a session is to be; what is left out stays as it is, but for consents: those are given each time."""

    allow_recording: bool
    instructions: dict[str, Any] | None = None
    voice: Name | None = None
    antiphon: Ours | None = None


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    event_id: Id | None = None


class SessionUpdate(_Event, tag="session.update", kw_only=True):
    """Begins the conversation, or changes it."""

    session: SessionConfig


class Append(_Event, tag="input_audio_buffer.append", kw_only=True):
    """Ogg pages, or parts of them; msgspec decodes the base64."""

    audio: bytes


class AppendAnonymized(_Event, tag="unmute.input_audio_buffer.append_anonymized", kw_only=True):
    """What Unmute's recordings hold instead of audio; a recording that is played to a server may send it."""

    number_of_samples: int = 0


ClientEvent = SessionUpdate | Append | AppendAnonymized

#: What only a session of the other dialect has.
GA_FIELDS = frozenset({"type", "audio", "output_modalities", "modalities", "turn_detection"})


class AnySession(msgspec.Struct):
    """Reads just enough of a session.update to recognise the other dialect."""

    session: dict[str, Any] = {}
