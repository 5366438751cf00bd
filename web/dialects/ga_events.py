"""Client events of the OpenAI Realtime API (GA), as structs with limits. Shapes: openai-python, `types/realtime`."""

from typing import Annotated, Any, Literal

import msgspec

from config.messages import MAX_PREFIX_MS, MAX_TEXT

#: Of Opus in one event; 10 s of packets of 20 ms are half of it.
MOST_PACKETS = 1000

Id = Annotated[str, msgspec.Meta(max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    event_id: Id | None = None


class SessionUpdate(_Event, tag="session.update", kw_only=True):
    """A deep merge into the session's configuration."""

    session: dict[str, Any]


class Packets(msgspec.Struct):
    """Where one event brings several packets of Opus: the length of each, in bytes."""

    packets: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(min_length=1, max_length=MOST_PACKETS)
    ]


class Append(_Event, tag="input_audio_buffer.append", kw_only=True):
    """Audio; msgspec decodes the base64."""

    audio: bytes
    antiphon: Packets | None = None
    """Ours."""


class Commit(_Event, tag="input_audio_buffer.commit"):
    """End of a manual turn."""


class Clear(_Event, tag="input_audio_buffer.clear"):
    """Forget the input."""


class ContentPart(msgspec.Struct):
    """A part of a message."""

    type: Id = "input_text"
    text: Text | None = None
    transcript: Text | None = None
    audio: bytes | None = None


class Item(msgspec.Struct):
    """A conversation item: a message, a call of a function, or what came of it."""

    type: Id
    role: Literal["user", "assistant", "system"] = "user"
    content: Annotated[list[ContentPart], msgspec.Meta(max_length=64)] = []
    id: Id | None = None
    call_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    name: Id | None = None
    arguments: Text | None = None
    output: Text | None = None


class ItemCreate(_Event, tag="conversation.item.create", kw_only=True):
    """A typed message, or a function's result."""

    item: Item
    previous_item_id: Id | None = None


class ItemTruncate(_Event, tag="conversation.item.truncate", kw_only=True):
    """How far the client played an item."""

    item_id: Id
    content_index: Literal[0] = 0
    audio_end_ms: Annotated[int, msgspec.Meta(ge=0)]


class ItemRetrieve(_Event, tag="conversation.item.retrieve", kw_only=True):
    """Ask for an item."""

    item_id: Id


class ItemDelete(_Event, tag="conversation.item.delete", kw_only=True):
    """Remove an item."""

    item_id: Id


class ResponseConfig(msgspec.Struct):
    """What this one response is to be. What else there is merges into the session's configuration."""

    conversation: Literal["auto", "none"] = "auto"
    input: Annotated[list[Item], msgspec.Meta(max_length=200)] | None = None
    metadata: (
        Annotated[dict[Id, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)] | None
    ) = None
    instructions: Text | None = None
    output_modalities: list[str] | None = None
    max_output_tokens: int | str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    audio: dict[str, Any] | None = None


class ResponseCreate(_Event, tag="response.create", kw_only=True):
    """Answer now."""

    response: ResponseConfig | None = None


class ResponseCancel(_Event, tag="response.cancel", kw_only=True):
    """Stop answering."""

    response_id: Id | None = None


ClientEvent = (
    SessionUpdate | Append | Commit | Clear | ItemCreate | ItemTruncate | ItemRetrieve | ItemDelete | ResponseCreate
    | ResponseCancel
)  # fmt: skip


class Format(msgspec.Struct):
    """An audio format."""

    type: str = "audio/pcm"
    rate: int | None = None


class TurnDetection(msgspec.Struct):
    """server_vad or semantic_vad."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_PREFIX_MS)] = 300
    silence_duration_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 500
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: Annotated[int, msgspec.Meta(ge=5000, le=30_000)] | None = None


class Transcription(msgspec.Struct):
    """Whether the client wants to read what was understood."""

    model: Name | None = None
    language: Id | None = None
    prompt: Text | None = None
    languages: Annotated[list[Id], msgspec.Meta(max_length=64)] | None = None
    keywords: Annotated[list[Name], msgspec.Meta(max_length=128)] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class NoiseReduction(msgspec.Struct):
    """Where the microphone stands."""

    type: Literal["near_field", "far_field"] = "near_field"
    strength: float | None = None


class AudioInput(msgspec.Struct):
    """How the client sends."""

    format: Format = msgspec.field(default_factory=Format)
    turn_detection: TurnDetection | None = None
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None


class Voice(msgspec.Struct):
    """A voice by its id."""

    id: Name


class AudioOutput(msgspec.Struct):
    """How the client wants to hear."""

    format: Format = msgspec.field(default_factory=Format)
    voice: Name | Voice = ""
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=1.5)] = 1.0


class AudioConfig(msgspec.Struct):
    """Both directions."""

    input: AudioInput = msgspec.field(default_factory=AudioInput)
    output: AudioOutput = msgspec.field(default_factory=AudioOutput)


class Tool(msgspec.Struct):
    """A function that the assistant may ask the client to call."""

    type: Literal["function"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    description: Text = ""
    parameters: dict[str, Any] = {}


class ToolChoice(msgspec.Struct):
    """One function that must be called."""

    type: Literal["function"]
    name: Id


class Tracing(msgspec.Struct):
    """Of no meaning here."""

    workflow_name: Name | None = None
    group_id: Name | None = None
    metadata: Any = None


class Prompt(msgspec.Struct):
    """Of no meaning here."""

    id: Name
    version: Name | None = None
    variables: dict[Name, Text] | None = None


class TokenLimits(msgspec.Struct):
    """Own limits of a truncation."""

    post_instructions: Annotated[int, msgspec.Meta(ge=1)] | None = None


class RetentionRatio(msgspec.Struct, tag_field="type", tag="retention_ratio"):
    """How much of the conversation is kept when some of it must go."""

    retention_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)]
    token_limits: TokenLimits | None = None


class Ours(msgspec.Struct):
    """What only this server offers; the field is `antiphon`."""

    allow_recording: bool = False
    record_audio: bool = False
    character: Name | None = None


class SessionConfig(msgspec.Struct):
    """What a session may be told. Fields that do nothing yet are here so that only what fits is echoed."""

    type: Literal["realtime", "transcription"] = "realtime"
    model: Name | None = None
    instructions: Text = ""
    output_modalities: Annotated[list[Literal["audio", "text"]], msgspec.Meta(min_length=1, max_length=2)] = (
        msgspec.field(default_factory=lambda: ["audio"])
    )
    audio: AudioConfig = msgspec.field(default_factory=AudioConfig)
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | Literal["inf"] = "inf"
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    tools: Annotated[list[Tool], msgspec.Meta(max_length=128)] = []
    tool_choice: Literal["auto", "none", "required"] | ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    tracing: Literal["auto"] | Tracing | None = None
    prompt: Prompt | None = None
    antiphon: Ours = msgspec.field(default_factory=Ours)
