"""The OpenAI Realtime dialect (GA over WebSocket): its events to requests, our notices to its events. Sans-IO.

Shapes and order: docs of the protocol and openai-python's `types/realtime`, against which a test validates every
event sent here.
"""

import base64
import time
from typing import Any

import msgspec

from config.errors import AntiphonError, ClientError
from config.messages import Transcript
from config.settings import SAMPLE_RATE
from web.config import Wishes
from web.dialects import ga_events as ev
from web.dialects.base import (
    AddText,
    AppendAudio,
    AudioOut,
    ClearInput,
    CommitInput,
    Configure,
    CreateReply,
    HeardUpTo,
    ReplyOutcome,
    Request,
    StopReply,
)

_decode = msgspec.json.Decoder(ev.ClientEvent).decode
_encode = msgspec.json.encode

#: Longest waits of semantic_vad by eagerness, in ms; the published ones are 8, 4 and 2 s.
EAGERNESS_MS = {"low": 8000, "medium": 4000, "high": 2000, "auto": 0}

#: Life of a session as told to the client.
SESSION_S = 3600


class GaDialect:
    """One GA client."""

    name = "ga"
    speaks_first = False

    def __init__(self, session_id: str, lead_ms: int, model: str = "antiphon", voice: str = "") -> None:
        self.lead_ms = lead_ms
        self._id = session_id
        self._events = 0
        self._users = 0
        self._open_item = ""
        self._last_item: str | None = None
        self._shown = ""
        self._contents: dict[str, dict[str, Any]] = {}
        self._session: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{session_id}",
            "model": model,
            "expires_at": int(time.time()) + SESSION_S,
            "output_modalities": ["audio"],
            "instructions": "",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
                    "noise_reduction": None,
                    "transcription": {"model": "antiphon"},
                    "turn_detection": {
                        "type": "semantic_vad",
                        "eagerness": "auto",
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
                    "voice": voice,
                    "speed": 1.0,
                },
            },
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
        }
        self.wishes = _wishes(self._session)

    # --- client events

    def receive(self, raw: str) -> list[Request]:
        """What a message asks for."""
        try:
            event = _decode(raw)
        except msgspec.DecodeError as error:
            raise ClientError(str(error), param=_path(str(error))) from error
        match event:
            case ev.Append(audio=audio):
                return [self._append(audio)]
            case ev.SessionUpdate(session=patch):
                return [self._update(patch)]
            case ev.Commit():
                return [CommitInput()]
            case ev.Clear():
                return [ClearInput()]
            case ev.ItemCreate(item=item):
                return [self._typed(item)]
            case ev.ItemTruncate(audio_end_ms=ms):
                return [HeardUpTo(ms * SAMPLE_RATE // 1000)]
            case ev.ResponseCreate(event_id=event_id):
                return [CreateReply(event_id)]
            case ev.ResponseCancel(event_id=event_id):
                return [StopReply(event_id)]
        raise ClientError(f"{type(event).__name__} is not supported yet", code="unsupported_event")

    def _append(self, audio: bytes) -> AppendAudio:
        if len(audio) % 2:
            raise ClientError(
                "pcm16 audio must have an even number of bytes", param="audio", code="invalid_audio"
            )
        return AppendAudio([audio], len(audio) // 2)

    def _update(self, patch: dict[str, Any]) -> Configure:
        if "type" not in patch and "audio" not in patch and "allow_recording" in patch:
            raise ClientError(
                "this looks like the Unmute dialect: connect with ?dialect=unmute to speak it",
                param="session",
            )
        merged = _merge(self._session, patch)
        merged["id"], merged["object"] = self._session["id"], self._session["object"]
        self.wishes = _wishes(merged)
        self._session = merged
        return Configure()

    @staticmethod
    def _typed(item: ev.Item) -> AddText:
        text = " ".join(part.text or part.transcript or "" for part in item.content).strip()
        if item.type != "message" or not text:
            raise ClientError("only message items with text are supported yet", param="item")
        return AddText(item.role, text)

    # --- server events

    def _event(self, kind: str, **fields: Any) -> str:
        self._events += 1
        return _encode({"type": kind, "event_id": f"event_{self._events}", **fields}).decode()

    def greeting(self, *, resumed: bool, token: str) -> list[str]:
        """session.created, with the token that resumes the session on another connection."""
        session = {**self._session, "antiphon": {"resume_token": token, "resumed": resumed}}
        return [self._event("session.created", session=session)]

    def configured(self) -> list[str]:
        """The whole effective configuration."""
        return [self._event("session.updated", session=self._session)]

    def speech_began(self, at: int) -> list[str]:
        """The item that the utterance will become gets its id now."""
        self._next_user_item()
        return [
            self._event("input_audio_buffer.speech_started", item_id=self._open_item, audio_start_ms=_ms(at))
        ]

    def speech_stopped(self, at: int) -> list[str]:
        """The voice ended."""
        return [
            self._event("input_audio_buffer.speech_stopped", item_id=self._open_item, audio_end_ms=_ms(at))
        ]

    def committed(self) -> list[str]:
        """The user's item, its transcript still unknown."""
        if not self._open_item:
            self._next_user_item()
        item_id, before = self._open_item, self._last_item
        self._last_item = item_id
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        return [
            self._event("input_audio_buffer.committed", item_id=item_id, previous_item_id=before),
            self._event("conversation.item.added", item=item, previous_item_id=before),
            self._event("conversation.item.done", item=item, previous_item_id=before),
        ]

    def cleared(self) -> list[str]:
        """The input was forgotten."""
        self._open_item = ""
        return [self._event("input_audio_buffer.cleared")]

    def typed(self, added: AddText) -> list[str]:
        """The item, added and done."""
        return []

    def partial_text(self, heard: Transcript) -> list[str]:
        """Nothing: partial transcripts may change, and deltas cannot be taken back."""
        return []

    def user_text(self, text: str) -> list[str]:
        """The transcript of the committed item."""
        if not self._open_item:
            return []
        item_id, self._open_item = self._open_item, ""
        return [
            self._event(
                "conversation.item.input_audio_transcription.delta",
                item_id=item_id,
                content_index=0,
                delta=text,
            ),
            self._event(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": 0},
            ),
        ]

    def reply_started(self, number: int, *, again: bool) -> list[str]:
        """The response, its item and its part are announced."""
        self._shown = ""
        before, self._last_item = self._last_item, self._item_id(number)
        item = self._item(number, "in_progress", [])
        where = {"response_id": self._response_id(number), "output_index": 0}
        return [
            self._event("response.created", response=self._response(number, "in_progress", [])),
            self._event("response.output_item.added", item=item, **where),
            self._event("conversation.item.added", item=item, previous_item_id=before),
            self._event(
                "response.content_part.added",
                item_id=item["id"],
                content_index=0,
                part=self._part(""),
                **where,
            ),
        ]

    def reply_words(self, number: int, words: list[str]) -> list[str]:
        """The transcript runs ahead of the audio, as with the original."""
        delta = "".join(words)
        self._shown += delta
        kind = (
            "response.output_text.delta"
            if self.wishes.text_only
            else "response.output_audio_transcript.delta"
        )
        return [self._event(kind, delta=delta, **self._where(number))]

    def reply_audio(self, audio: AudioOut) -> list[str]:
        """One delta for all packets of a step."""
        delta = base64.b64encode(b"".join(audio.packets)).decode()
        return [self._event("response.output_audio.delta", delta=delta, **self._where(audio.number))]

    def reply_ended(self, outcome: ReplyOutcome) -> list[str]:
        """Everything that was opened is closed, in order."""
        number, where = outcome.number, self._where(outcome.number)
        complete = outcome.status == "completed"
        text = self._shown.strip()
        item = self._item(number, "completed" if complete else "incomplete", [self._part(text)])
        events = []
        if self.wishes.text_only:
            events.append(self._event("response.output_text.done", text=text, **where))
        else:
            events.append(self._event("response.output_audio.done", **where))
            events.append(self._event("response.output_audio_transcript.done", transcript=text, **where))
        output = {"response_id": where["response_id"], "output_index": 0}
        events += [
            self._event("response.content_part.done", part=self._part(text), **where),
            self._event("response.output_item.done", item=item, **output),
            self._event("conversation.item.done", item=item),
        ]
        if outcome.cut:
            events.append(
                self._event(
                    "conversation.item.truncated",
                    item_id=item["id"],
                    content_index=0,
                    audio_end_ms=_ms(outcome.heard_samples),
                )
            )
        response = self._response(number, outcome.status, [item], outcome)
        events.append(self._event("response.done", response=response))
        return events

    def error(self, error: AntiphonError, event_id: str | None = None) -> list[str]:
        """Most errors leave the session open."""
        body: dict[str, Any] = {
            "type": error.type,
            "code": error.wire_code if isinstance(error, ClientError) else error.code,
            "message": str(error),
            "param": error.param if isinstance(error, ClientError) else None,
            "event_id": event_id,
        }
        return [self._event("error", error=body)]

    # --- going on later

    def snapshot(self) -> dict[str, object]:
        """Counters and configuration."""
        return {
            "session": self._session,
            "events": self._events,
            "users": self._users,
            "open_item": self._open_item,
            "last_item": self._last_item,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on counting where the last connection stopped."""
        self._session = snapshot["session"]
        self._events = snapshot["events"]
        self._users = snapshot["users"]
        self._open_item = snapshot["open_item"]
        self._last_item = snapshot["last_item"]
        self.wishes = _wishes(self._session)

    # --- shapes

    def _next_user_item(self) -> None:
        self._users += 1
        self._open_item = f"item_{self._id[:12]}_u{self._users}"

    def _item_id(self, number: int) -> str:
        return f"item_{self._id[:12]}_a{number}"

    def _response_id(self, number: int) -> str:
        return f"resp_{self._id[:12]}_{number}"

    def _where(self, number: int) -> dict[str, Any]:
        return {
            "response_id": self._response_id(number),
            "item_id": self._item_id(number),
            "output_index": 0,
            "content_index": 0,
        }

    def _part(self, text: str) -> dict[str, Any]:
        if self.wishes.text_only:
            return {"type": "text", "text": text}
        return {"type": "audio", "transcript": text}

    def _item(self, number: int, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        kinds = {"text": "output_text", "audio": "output_audio"}
        return {
            "id": self._item_id(number),
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [{**part, "type": kinds[part["type"]]} for part in content],
        }

    def _response(
        self, number: int, status: str, output: list[dict[str, Any]], outcome: ReplyOutcome | None = None
    ) -> dict[str, Any]:
        response: dict[str, Any] = {
            "id": self._response_id(number),
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": output,
            "conversation_id": f"conv_{self._id[:12]}",
            "output_modalities": self._session["output_modalities"],
            "max_output_tokens": self._session["max_output_tokens"],
            "metadata": None,
        }
        if outcome is None:
            return response
        if status != "completed":
            kind = {"cancelled": "cancelled", "failed": "failed"}[status]
            response["status_details"] = {"type": kind}
            if status == "cancelled":
                response["status_details"]["reason"] = outcome.reason
        response["usage"] = {
            "total_tokens": outcome.input_tokens + outcome.output_tokens,
            "input_tokens": outcome.input_tokens,
            "output_tokens": outcome.output_tokens,
        }
        response["antiphon"] = {
            "llm_first_token_ms": outcome.llm_first_token_ms,
            "tts_first_audio_ms": outcome.tts_first_audio_ms,
            "heard_text": outcome.text,
        }
        return response


def _merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Deep merge; null and empty values replace."""
    merged = dict(base)
    for key, value in patch.items():
        old = merged.get(key)
        same_kind = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and old.get("type") == value.get("type", old.get("type"))
        )
        merged[key] = _merge(old, value) if same_kind and isinstance(old, dict) else value
    return merged


def _wishes(session: dict[str, Any]) -> Wishes:
    """The acting part of a session object. Raises ClientError that names the field."""
    try:
        config = msgspec.convert(session, ev.SessionConfig)
    except msgspec.ValidationError as error:
        raise ClientError(str(error), param=_path(str(error), "session")) from error
    _pcm_only(config.audio.input.format, "session.audio.input.format")
    _pcm_only(config.audio.output.format, "session.audio.output.format")
    detection = config.audio.input.turn_detection
    voice = config.audio.output.voice
    limit = config.max_output_tokens
    wishes = Wishes(
        instructions=config.instructions,
        voice=voice if isinstance(voice, str) else str(voice.get("id", "")),
        text_only=config.output_modalities == ["text"],
        max_tokens=256 if limit == "inf" else limit,
        speed=config.audio.output.speed,
        detection="manual",
    )
    if detection is None:
        return wishes
    semantic = detection.type == "semantic_vad"
    return msgspec.structs.replace(
        wishes,
        detection="semantic" if semantic else "silence",
        pause_ms=(EAGERNESS_MS[detection.eagerness] or None) if semantic else detection.silence_duration_ms,
        create_response=detection.create_response,
        interrupt_response=detection.interrupt_response,
    )


def _pcm_only(audio: ev.Format, param: str) -> None:
    if audio.type != "audio/pcm" or audio.rate not in (None, SAMPLE_RATE):
        raise ClientError(
            f"only audio/pcm at {SAMPLE_RATE} Hz is supported yet", param=param, code="invalid_audio"
        )


def _path(message: str, root: str = "") -> str | None:
    """The field that msgspec complains of: `... - at `$.session.voice`` gives session.voice."""
    if "`$" not in message:
        return None
    path = message.rsplit("`$", 1)[1].strip("`.")
    return f"{root}.{path}".strip(".") or None


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
