"""Client events of the Unmute dialect, as structs with limits."""

from typing import Annotated, Any, get_args

import msgspec

from config.messages import MAX_TEXT

Id = Annotated[str, msgspec.Meta(max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
#: `en`, `fr`, or two of them with a slash, the likelier first.
Language = Annotated[str, msgspec.Meta(max_length=16)]


class _Instructions(msgspec.Struct, tag_field="type", kw_only=True, omit_defaults=True):
    language: Language | None = None


class Constant(_Instructions, tag="constant"):
    """The character is what the text says."""

    text: Text = ""


class Smalltalk(_Instructions, tag="smalltalk"):
    """Pleasant conversation."""


class GuessAnimal(_Instructions, tag="guess_animal"):
    """The user guesses an animal."""


class QuizShow(_Instructions, tag="quiz_show"):
    """The assistant asks, the user answers."""


class News(_Instructions, tag="news"):
    """About what happened lately."""


class UnmuteExplanation(_Instructions, tag="unmute_explanation"):
    """The system explains itself."""


Instructions = Constant | Smalltalk | GuessAnimal | QuizShow | News | UnmuteExplanation

INSTRUCTION_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(Instructions))


class SessionConfig(msgspec.Struct, omit_defaults=True):
    """What a session is to be; what is left out stays as it is."""

    allow_recording: bool
    instructions: Instructions | None = None
    voice: Name | None = None


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    event_id: Id | None = None


class SessionUpdate(_Event, tag="session.update", kw_only=True):
    """Begins the conversation, or changes it."""

    session: SessionConfig


class Append(_Event, tag="input_audio_buffer.append", kw_only=True):
    """Ogg pages, or parts of them; msgspec decodes the base64."""

    audio: bytes


ClientEvent = SessionUpdate | Append

#: An object that looks like the session of the other dialect.
GA_FIELDS = frozenset({"type", "audio", "output_modalities", "modalities", "turn_detection"})


class GaLike(msgspec.Struct):
    """Reads just enough of a session.update to recognise the other dialect."""

    session: dict[str, Any] = {}
