"""The session object of the GA dialect: its beginnings, its updates, and the wishes that follow from it. Pure."""

from typing import Any, Literal

import msgspec

from config.errors import ClientError
from config.messages import Tool
from web.config import Truncation, Wishes
from web.dialects import ga_events as ev
from web.dialects import ga_formats as formats
from web.dialects.reading import misfit, require_plain

Session = dict[str, Any]

#: How many times the operator's waits semantic_vad waits, by eagerness. The API's own longest waits, 8, 4 and 2 s, are
#: to each other like these, and `auto` is `medium` there too.
PATIENCE = {"low": 2.0, "medium": 1.0, "high": 0.5, "auto": 1.0}

#: The API allows 0 and 1, which would make everything voice, or nothing.
LOWEST_THRESHOLD = 0.01

#: The API's own bound; more is taken as this.
MAX_OUTPUT_TOKENS = 4096

#: Words that "inf" allows: a spoken answer beyond two minutes is a fault.
USUAL_TOKENS = 256

#: A session object is echoed with every update and saved with every turn.
MAX_SESSION_BYTES = 1 << 17

#: Deepest nesting taken: the schema of a tool needs some.
MAX_DEPTH = 32

#: What a client may set; other fields are let pass and are not kept.
FIELDS = frozenset(ev.SessionConfig.__struct_fields__)

#: Where null means "none"; null anywhere else leaves the field as it is.
NULLABLE = frozenset(
    (
        "turn_detection", "transcription", "noise_reduction", "tracing", "prompt", "include", "idle_timeout_ms",
        "token_limits", "post_instructions", "languages", "keywords", "delay", "strength", "version", "variables",
        "character",
    )
)  # fmt: skip


def new_session(session_id: str, model: str, voice: str, expires_at: int) -> Session:
    """What a client gets that asks for nothing."""
    pcm = formats.shown("pcm16")
    detection = ev.TurnDetection(type="semantic_vad")
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": f"sess_{session_id}",
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": "",
        "audio": {
            "input": {
                "format": pcm,
                "noise_reduction": None,
                "transcription": {"model": "antiphon"},
                "turn_detection": _effective(detection),
            },
            "output": {"format": dict(pcm), "voice": voice, "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "antiphon": msgspec.to_builtins(ev.Ours()),
    }


def transcribing(session: Session) -> Session:
    """The same as a transcription session, in which nobody answers. Its turns end as the API says where the client
    asked for nothing else."""
    hears = session["audio"]["input"]
    if hears["turn_detection"] == _effective(ev.TurnDetection(type="semantic_vad")):
        hears = {**hears, "turn_detection": _effective(ev.TurnDetection())}
    audio = {**session["audio"], "input": hears}
    return {**session, "type": "transcription", "object": "realtime.transcription_session", "audio": audio}


def of_kind(session: Session, kind: object, *, begun: bool) -> Session:
    """The session as one of that type. begun: something was said. Raises ClientError where it cannot be."""
    if kind != "transcription":
        if kind == "realtime" != session["type"]:
            raise ClientError(
                "a transcription session stays one; connect anew to be answered",
                param="session.type",
                code="invalid_parameter",
            )
        return session
    if session["type"] == kind:
        return session
    if begun:
        raise ClientError(
            "a conversation that has begun cannot become a transcription session; connect with "
            "?intent=transcription",
            param="session.type",
            code="invalid_parameter",
        )
    return transcribing(session)


#: What a transcription session is shown to have, and its turn detection.
OF_TRANSCRIPTION = ("type", "object", "id", "expires_at", "include", "antiphon")
OF_ITS_DETECTION = ("type", "eagerness", "threshold", "prefix_padding_ms", "silence_duration_ms")


def shown(session: Session) -> Session:
    """As the client sees it."""
    if session["type"] == "realtime":
        return session
    hears = dict(session["audio"]["input"])
    if hears["turn_detection"] is not None:
        told = hears["turn_detection"].items()
        hears["turn_detection"] = {name: value for name, value in told if name in OF_ITS_DETECTION}
    return {name: session[name] for name in OF_TRANSCRIPTION if name in session} | {"audio": {"input": hears}}


#: What one response may have other than the session.
OF_RESPONSES = ("instructions", "output_modalities", "max_output_tokens", "tools", "tool_choice", "audio")


def response_wishes(session: Session, asked: ev.ResponseConfig) -> tuple[Session, Wishes]:
    """The session as it is for one response. Raises ClientError that names the field."""
    patch = {name: value for name in OF_RESPONSES if (value := getattr(asked, name)) is not None}
    if "audio" in patch:
        patch["audio"] = {"output": patch["audio"].get("output") or {}}
    try:
        return updated(session, patch)
    except ClientError as error:
        raise of_response(error) from error


def of_response(error: ClientError) -> ClientError:
    """The same of a field of the response, not of the session."""
    error.param = (error.param or "").replace("session", "response", 1)
    return error


def updated(session: Session, patch: dict[str, Any]) -> tuple[Session, Wishes]:
    """The session with the fields of `patch`, and what it now asks for. Raises ClientError that names the field."""
    require_plain(patch, MAX_DEPTH, "session")
    merged = _merge(session, {name: value for name, value in patch.items() if name in FIELDS})
    size = len(msgspec.json.encode(merged))
    if size > MAX_SESSION_BYTES:
        raise ClientError(f"a session object may have {MAX_SESSION_BYTES} bytes", param="session")
    config = _checked(merged)
    _fill_in(merged, config)
    return merged, wishes_of(merged)


def wishes_of(session: Session) -> Wishes:
    """What a session object asks for."""
    config = _checked(session)
    detection, voice = config.audio.input.turn_detection, config.audio.output.voice
    transcription, limit = config.audio.input.transcription, config.max_output_tokens
    wishes = Wishes(
        instructions=config.instructions,
        voice=voice if isinstance(voice, str) else voice.id,
        input_format=formats.known(config.audio.input.format, "session.audio.input.format"),
        output_format=formats.known(config.audio.output.format, "session.audio.output.format"),
        language=(transcription.language if transcription else None) or "en",
        text_only=config.output_modalities == ["text"],
        listen_only=config.type == "transcription",
        max_tokens=USUAL_TOKENS if limit == "inf" else limit,
        speed=config.audio.output.speed,
        detection="manual",
        truncation=_truncation(config.truncation),
        allow_recording=config.antiphon.allow_recording,
        record_audio=config.antiphon.record_audio,
        tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in config.tools),
        tool_choice=_tool_choice(config),
    )
    return wishes if detection is None else msgspec.structs.replace(wishes, **_turn_wishes(detection))


def _tool_choice(config: ev.SessionConfig) -> str:
    if isinstance(config.tool_choice, str):
        return config.tool_choice if config.tools else "auto"
    if config.tool_choice.name not in {tool.name for tool in config.tools}:
        raise ClientError(
            f"there is no tool {config.tool_choice.name!r}",
            param="session.tool_choice.name",
            code="invalid_value",
        )
    return config.tool_choice.name


def _turn_wishes(detection: ev.TurnDetection) -> dict[str, Any]:
    both = {
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.type == "semantic_vad":
        return {**both, "detection": "semantic", "patience": PATIENCE[detection.eagerness]}
    idle_ms = detection.idle_timeout_ms
    return {
        **both,
        "detection": "silence",
        "threshold": min(max(detection.threshold, LOWEST_THRESHOLD), 1 - LOWEST_THRESHOLD),
        "prefix_ms": detection.prefix_padding_ms,
        "pause_ms": detection.silence_duration_ms,
        "idle_timeout_s": None if idle_ms is None else idle_ms / 1000,
    }


def _truncation(asked: ev.RetentionRatio | Literal["auto", "disabled"]) -> Truncation:
    if not isinstance(asked, ev.RetentionRatio):
        return Truncation(asked)
    limits = asked.token_limits
    return Truncation("auto", asked.retention_ratio, limits.post_instructions if limits else None)


def _merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Deep merge; an object of another `type` replaces, and so does all else."""
    merged = dict(base)
    for key, value in patch.items():
        old = merged.get(key)
        if value is None and key not in NULLABLE:
            continue
        if isinstance(value, dict):
            merged[key] = _merge(old if isinstance(old, dict) and _same_type(old, value) else {}, value)
        else:
            merged[key] = value
    return merged


def _same_type(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "type" not in old or bool(new.get("type", old["type"]) == old["type"])


def _checked(session: Session) -> ev.SessionConfig:
    try:
        config = msgspec.convert(session, ev.SessionConfig)
    except msgspec.ValidationError as error:
        raise misfit(str(error), "session") from error
    return config


def _fill_in(session: Session, config: ev.SessionConfig) -> None:
    """Effective values where the client gave none, or too large ones: clients act on what is echoed."""
    audio = session["audio"]
    for way, asked in (("input", config.audio.input.format), ("output", config.audio.output.format)):
        audio[way]["format"] = formats.shown(formats.known(asked, f"session.audio.{way}.format"))
    if config.audio.input.turn_detection is not None:
        audio["input"]["turn_detection"] = _effective(config.audio.input.turn_detection)
    if config.max_output_tokens != "inf":
        session["max_output_tokens"] = min(config.max_output_tokens, MAX_OUTPUT_TOKENS)
    session["antiphon"] = msgspec.to_builtins(config.antiphon)


def _effective(detection: ev.TurnDetection) -> dict[str, Any]:
    values = msgspec.to_builtins(detection)
    theirs = (
        ("eagerness",)
        if detection.type == "semantic_vad"
        else ("threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms")
    )
    return {key: values[key] for key in ("type", *theirs, "create_response", "interrupt_response")}
