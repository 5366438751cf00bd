"""What HTTP answers in JSON: these structs and nothing else. The OpenAPI document takes its schemas from them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


class Error(msgspec.Struct, frozen=True):
    """What went wrong."""

    type: Annotated[str, Meta(examples=["invalid_request_error", "server_error"])]
    """`invalid_request_error`: who asked can mend it. `server_error`: who runs the server, or time."""
    code: str
    """The same for the same reason, for programs."""
    message: str
    """For people: what to mend."""
    param: str | None = None
    """The field or parameter that does not fit."""


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The shape of all errors, as of OpenAI's."""

    error: Error
    detail: str | UnsetType = UNSET
    """The message, where Unmute's clients look for it: of voice donations."""


# --- health


class StageHealth(msgspec.Struct, frozen=True):
    """Workers of one stage that take work."""

    workers: int
    slots: int
    """Sessions (stt) or replies (llm, tts) that they serve at once."""
    free: int
    """Slots that nobody has."""


class RedisHealth(msgspec.Struct, frozen=True):
    """Which of the two servers answer."""

    state: bool
    media: bool


class QueueHealth(msgspec.Struct, frozen=True):
    """Who waits."""

    sessions: int
    """Sessions that have a place."""
    waiting: int
    """Sessions in the line for one."""
    room: int
    """Sessions for which the slots suffice."""
    tasks: dict[str, int]
    """Tasks that no worker has taken yet, by stage."""


class Health(msgspec.Struct, frozen=True):
    """Whether a conversation is possible, and what there is for it."""

    stt_up: bool
    llm_up: bool
    tts_up: bool
    voice_cloning_up: bool
    ok: bool
    """A conversation is possible."""
    stages: dict[str, StageHealth]
    redis: RedisHealth
    queue: QueueHealth | UnsetType = UNSET
    """Not there while Redis cannot say."""
    refused: dict[str, str] | UnsetType = UNSET
    """Processes of another version, whose slots are not counted, and why."""
    error: Error | UnsetType = UNSET
    """Why nothing can be said of the stages."""


# --- voices


class Voice(msgspec.Struct, frozen=True):
    """A character, in Unmute's shape."""

    name: str
    """What a session asks for."""
    good: bool
    instructions: dict[str, Any]
    """What it is up to: its type, and what belongs to that."""
    source: dict[str, Any]
    """Where its voice comes from; a session may name it by `path_on_server`, too."""
    comment: str | UnsetType | None = UNSET
    available: bool | UnsetType = UNSET
    """false: nobody can talk to it here; else it is not there."""
    unavailable_reason: str | UnsetType = UNSET


class VoiceMade(msgspec.Struct, frozen=True):
    """A recording has become a voice."""

    name: Annotated[str, Meta(examples=["custom:0b4c62f0-5f0e-4f2c-9a51-8a2d7d3f5f7e"])]
    """What a session asks for. It cannot be guessed: who knows it can speak with it."""


class VoiceDeleted(msgspec.Struct, frozen=True):
    """It is there no more."""

    id: str
    object: Literal["voice"] = "voice"
    deleted: bool = True


# --- models


class ModelServed(msgspec.Struct, frozen=True):
    """What serves it."""

    stages: list[str]
    """Of `stt`, `llm` and `tts`."""
    workers: int
    slots: int
    free: int


class Model(msgspec.Struct, frozen=True):
    """In OpenAI's shape."""

    id: str
    """`antiphon`: the conversation as a whole; else the name of an engine."""
    created: int
    """OpenAI's clients want a number. When a model was made nobody here knows: 0."""
    owned_by: str
    antiphon: ModelServed
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """In OpenAI's shape."""

    data: list[Model]
    object: Literal["list"] = "list"


# --- ephemeral keys


class ClientSecret(msgspec.Struct, frozen=True):
    """An ephemeral key, in OpenAI's shape."""

    value: Annotated[str, Meta(pattern="^ek_")]
    """The key itself; it is told once."""
    expires_at: int
    """Unix time."""
    session: dict[str, Any]
    """The session as it will begin."""


# --- minutes

#: Session time of 0 is the session's beginning.
Seconds = Annotated[float, Meta(ge=0)]


class SaidMessage(msgspec.Struct, frozen=True, tag="message"):
    """Something was said or typed."""

    id: str
    role: Literal["user", "assistant", "system", "tool"]
    text: str
    """Of the assistant's only what was heard."""
    spoken: bool
    """false: it was typed, or shown."""
    interrupted: bool
    """It ended before its end."""
    start: Seconds | None
    """Session time; null: it was saved by an earlier version."""
    end: Seconds | None


class CalledFunction(msgspec.Struct, frozen=True, tag="function_call"):
    """The assistant asked for a function."""

    id: str
    call_id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""
    start: Seconds | None
    end: Seconds | None


class FunctionResult(msgspec.Struct, frozen=True, tag="function_call_output"):
    """What a function gave."""

    id: str
    call_id: str
    output: str
    start: Seconds | None
    end: Seconds | None


class Minutes(msgspec.Struct, frozen=True):
    """What was said in a session. A reply is in it once it is over."""

    session_id: str
    closed: bool
    """The session is over; what is kept of it is deleted soon."""
    items: list[SaidMessage | CalledFunction | FunctionResult]
    note: str | None = None
    """What is missing."""
    object: Literal["session.transcript"] = "session.transcript"


# --- advice on replicas


class SessionsSeen(msgspec.Struct, frozen=True):
    """Of all conversations."""

    held: int
    waiting: int
    late_replies: int


class QueueSeen(msgspec.Struct, frozen=True):
    """Of one queue and its workers."""

    replicas: int
    slots: int
    taken: int
    queued: int
    oldest_s: float


class Seen(msgspec.Struct, frozen=True):
    """What the advice follows from."""

    sessions: SessionsSeen
    stt: QueueSeen
    llm: QueueSeen
    tts: QueueSeen
    voices: QueueSeen | UnsetType = UNSET


class Advice(msgspec.Struct, frozen=True):
    """Workers that each queue should have."""

    stt: int
    llm: int
    tts: int
    why: dict[str, str]
    seen: Seen
    voices: int | UnsetType = UNSET
