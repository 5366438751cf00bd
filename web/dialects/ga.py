"""The OpenAI Realtime dialect (GA over WebSocket): its events to requests, our notices to its events. Sans-IO.

Shapes and order: docs of the protocol and openai-python's `types/realtime`, against which a test validates every
event sent here.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from config.errors import AntiphonError, ClientError
from config.messages import Transcript
from config.settings import SAMPLE_RATE
from web.config import Wishes
from web.dialects import ga_events as ev
from web.dialects import ga_shapes as shapes
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
from web.dialects.ga_audio import SentAudio
from web.dialects.ga_session import new_session, updated, wishes_of
from web.dialects.reading import EventReader
from web.prompt import require_room
from web.turn import SILENCE

_reader: EventReader[Any] = EventReader(ev.ClientEvent)
_encode = msgspec.json.encode

#: From the voice a client names to the TTS engine's name for it. Raises ClientError.
Speaker = Callable[[str], str]

#: Life of a session as told to the client.
SESSION_S = 3600

#: Attributes, less their underscores, that a later connection goes on with.
KEPT = (
    "session", "events", "user_items", "open_item", "unread_items", "last_item", "newest_reply", "voice_heard",
    "heard_to",
)  # fmt: skip

#: Its events begin like this.
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class GaDialect:
    """One GA client."""

    name = "ga"
    speaks_first = False

    def __init__(
        self, session_id: str, lead_ms: int, speaker: Speaker, model: str = "antiphon", voice: str = "",
        extensions: frozenset[str] = frozenset(), context_tokens: int | None = None,
    ) -> None:  # fmt: skip
        self.lead_ms = lead_ms
        self._names = shapes.Names(session_id)
        self._session = new_session(session_id, model, voice, int(time.time()) + SESSION_S)
        self._speaker = speaker
        self._context_tokens = context_tokens
        self.wishes = self._cast(wishes_of(self._session))
        self._events = 0
        self._user_items = 0
        self._open_item = ""
        """The user's item that is being spoken."""
        self._unread_items: list[str] = []
        """Committed items whose transcripts are still to come."""
        self._last_item: str | None = None
        self._newest_reply = 0
        self._voice_heard = False
        self._shown = ""
        self._heard_to = 0
        """Where the newest utterance ended: the padding of the next begins no earlier."""
        self._ours = self.stops_when_muted = "antiphon" in extensions
        self._audio = SentAudio(told_of_mutes=self._ours)
        self._truncating = 0
        """The reply under way that the client itself cuts short; 0: none."""
        self._handlers: dict[type, Callable[[Any], list[Request]]] = {
            ev.SessionUpdate: self._update,
            ev.Append: self._append,
            ev.Commit: lambda event: [CommitInput(event.event_id)],
            ev.Clear: lambda event: [ClearInput()],
            ev.ItemCreate: lambda event: [shapes.typed_message(event.item)],
            ev.ItemTruncate: self._truncate,
            ev.ItemRetrieve: self._unsupported,
            ev.ItemDelete: self._unsupported,
            ev.ResponseCreate: self._create_response,
            ev.ResponseCancel: lambda event: [StopReply(event.event_id)],
        }

    # --- client events

    def receive(self, raw: str) -> list[Request]:
        """What a message asks for. An error carries the `event_id` of its cause."""
        event = _reader.read(raw)
        try:
            return self._handlers[type(event)](event)
        except ClientError as error:
            error.event_id = event.event_id
            raise

    def _append(self, event: ev.Append) -> list[Request]:
        if len(event.audio) % 2:
            raise ClientError(
                "pcm16 audio must have an even number of bytes", param="audio", code="invalid_audio"
            )
        return [AppendAudio([event.audio], len(event.audio) // 2)]

    def _update(self, event: ev.SessionUpdate) -> list[Request]:
        if (
            "type" not in event.session
            and "audio" not in event.session
            and "allow_recording" in event.session
        ):
            raise ClientError(
                "this looks like the Unmute dialect: connect with ?dialect=unmute to speak it",
                param="session",
            )
        session, asked = updated(self._session, event.session)
        wishes = self._cast(asked)
        require_room(wishes, self._context_tokens)
        if self._voice_heard and wishes.voice != self.wishes.voice:
            raise ClientError(
                "the voice cannot change once it was heard",
                param="session.audio.output.voice",
                code="cannot_update_voice",
            )
        self._session, self.wishes = session, wishes
        return [Configure()]

    def _cast(self, asked: Wishes) -> Wishes:
        return msgspec.structs.replace(asked, voice=self._speaker(asked.voice))

    def _truncate(self, event: ev.ItemTruncate) -> list[Request]:
        number = self._names.reply_number(event.item_id)
        heard = self._audio.truncation(number, event.audio_end_ms, event.event_id)
        self._truncating = heard.reply
        return [heard]

    @staticmethod
    def _create_response(event: ev.ResponseCreate) -> list[Request]:
        if event.response is not None and event.response.conversation == "none":
            raise ClientError(
                "responses outside the conversation are not supported yet", param="response.conversation"
            )
        return [CreateReply(event.event_id)]

    @staticmethod
    def _unsupported(event: ev.ItemRetrieve | ev.ItemDelete) -> list[Request]:
        kind = event.__struct_config__.tag
        raise ClientError(f"{kind} is not supported yet", param="type", code="unsupported_event")

    # --- the connection

    def _event(self, kind: str, **fields: Any) -> str:
        self._events += 1
        return _encode({"type": kind, "event_id": f"event_{self._events}", **fields}).decode()

    def greeting(self, *, resumed: bool, token: str) -> list[str]:
        """session.created, with the token that resumes the session on another connection."""
        ours = {**self._session["antiphon"], "resume_token": token, "resumed": resumed}
        session = {**self._session, "antiphon": ours}
        return [self._event("session.created", session=session)]

    def queued(self, place: int) -> list[str]:
        """An extension: others learn by session.updated that they are served."""
        return [self._event("antiphon.queued", place=place)] if self._ours else []

    def served(self) -> list[str]:
        """What the session is now."""
        return self.configured()

    def configured(self) -> list[str]:
        """The whole effective configuration."""
        return [self._event("session.updated", session=self._session)]

    def error(self, error: AntiphonError, event_id: str | None = None) -> list[str]:
        """Most errors leave the session open."""
        body: dict[str, Any] = {"type": error.type, "code": error.code, "message": str(error), "param": None}
        if isinstance(error, ClientError):
            body.update(code=error.wire_code, param=error.param)
            event_id = event_id or error.event_id
        return [self._event("error", error={**body, "event_id": event_id})]

    # --- the user

    def speech_began(self, at: int) -> list[str]:
        """The item that the utterance will become gets its id now. Its audio begins some time before the voice."""
        self._open_item = self._next_user_item()
        padded = at - (self.wishes.prefix_ms or 0) * SAMPLE_RATE // 1000
        start_ms = _ms(min(at, max(padded, self._heard_to)))
        return [
            self._event("input_audio_buffer.speech_started", item_id=self._open_item, audio_start_ms=start_ms)
        ]

    def speech_stopped(self, at: int) -> list[str]:
        """The voice ended."""
        self._heard_to = at
        return [
            self._event("input_audio_buffer.speech_stopped", item_id=self._open_item, audio_end_ms=_ms(at))
        ]

    def committed(self) -> list[str]:
        """The user's item, its transcript still unknown."""
        item_id, self._open_item = self._open_item or self._next_user_item(), ""
        self._unread_items.append(item_id)
        committed = self._event(
            "input_audio_buffer.committed", item_id=item_id, previous_item_id=self._last_item
        )
        return [committed, *self._whole_item(shapes.spoken_item(item_id))]

    def cleared(self) -> list[str]:
        """The input was forgotten."""
        self._open_item = ""
        return [self._event("input_audio_buffer.cleared")]

    def idle_timeout(self, at: int) -> list[str]:
        """The silence becomes an item of the user's, without words."""
        self._open_item, self._heard_to = self._next_user_item(), at
        since = max(0, at - int((self.wishes.idle_timeout_s or 0) * SAMPLE_RATE))
        triggered = self._event(
            "input_audio_buffer.timeout_triggered",
            item_id=self._open_item,
            audio_start_ms=_ms(since),
            audio_end_ms=_ms(at),
        )
        return [triggered, *self.committed()]

    def typed(self, added: AddText) -> list[str]:
        """The item, added and done."""
        item_id = added.item_id or self._next_user_item()
        return self._whole_item(shapes.typed_item(item_id, added.role, added.text))

    def partial_text(self, heard: Transcript) -> list[str]:
        """Nothing while it may change, for deltas cannot be taken back."""
        return []

    def user_text(self, text: str) -> list[str]:
        """The transcript of the oldest item that waits for one."""
        text = "" if text == SILENCE else text
        return self._about_unread(
            [("delta", {"delta": text})] if text else [],
            ("completed", {"transcript": text, "usage": {"type": "duration", "seconds": 0}}),
        )

    def not_understood(self) -> list[str]:
        """The transcript of that item will not come."""
        error = {"type": "server_error", "code": "stage_failed", "message": "no transcript came in time"}
        return self._about_unread([], ("failed", {"error": error}))

    def _about_unread(
        self, before: list[tuple[str, dict[str, Any]]], last: tuple[str, dict[str, Any]]
    ) -> list[str]:
        if not self._unread_items:
            return []
        item_id = self._unread_items.pop(0)
        if self._session["audio"]["input"]["transcription"] is None:
            return []
        return [
            self._event(f"{TRANSCRIPTION}.{kind}", item_id=item_id, content_index=0, **fields)
            for kind, fields in (*before, last)
        ]

    def _whole_item(self, item: dict[str, Any]) -> list[str]:
        before, self._last_item = self._last_item, item["id"]
        return [
            self._event("conversation.item.added", item=item, previous_item_id=before),
            self._event("conversation.item.done", item=item, previous_item_id=before),
        ]

    def _next_user_item(self) -> str:
        self._user_items += 1
        return self._names.user_item(self._user_items)

    # --- the assistant

    def reply_started(self, number: int, *, again: bool) -> list[str]:
        """The response, its item and its part are announced."""
        self._shown = ""
        self._newest_reply = number
        self._audio.begin(number, text_only=self.wishes.text_only)
        item = shapes.reply_item(self._names.reply_item(number), "in_progress", [])
        before = self._last_item if self._last_item != item["id"] else None
        self._last_item = item["id"]
        part = shapes.part("", text_only=self.wishes.text_only)
        response = shapes.begun_response(self._names, number, self._session)
        return [
            self._event("response.created", response=response),
            self._event("response.output_item.added", item=item, **self._names.output(number)),
            self._event("conversation.item.added", item=item, previous_item_id=before),
            self._event("response.content_part.added", part=part, **self._names.content(number)),
        ]

    def reply_words(self, number: int, words: list[str]) -> list[str]:
        """The transcript runs ahead of the audio, as with the original."""
        delta = "".join(words)
        self._shown += delta
        kind = "output_text" if self.wishes.text_only else "output_audio_transcript"
        return [self._event(f"response.{kind}.delta", delta=delta, **self._names.content(number))]

    def reply_audio(self, audio: AudioOut) -> list[str]:
        """One delta for all packets of a step."""
        self._voice_heard = True
        self._audio.send(audio.number, audio.samples)
        pcm = b"".join(audio.packets)  # msgspec writes bytes as base64
        return [self._event("response.output_audio.delta", delta=pcm, **self._names.content(audio.number))]

    def muted(self, number: int, heard_samples: int) -> list[str]:
        """An extension: play no further than this."""
        return self._output("muted", number, heard_samples)

    def resumed(self, number: int, from_samples: int) -> list[str]:
        """An extension: the deltas that follow go on from here."""
        self._audio.go_back(number, from_samples)
        return self._output("resumed", number, from_samples)

    def _output(self, what: str, number: int, sample: int) -> list[str]:
        if not self._ours:
            return []
        names = self._names
        return [
            self._event(
                f"antiphon.output.{what}",
                response_id=names.response(number),
                item_id=names.reply_item(number),
                audio_end_ms=_ms(sample),
            )
        ]

    def reply_ended(self, outcome: ReplyOutcome) -> list[str]:
        """Everything that was opened is closed, in order."""
        self._audio.end(outcome.number, whole=outcome.status == "completed")
        cut_by_us = outcome.cut and outcome.number != self._truncating
        names, text = self._names, self._shown.strip()
        where, output = names.content(outcome.number), names.output(outcome.number)
        part = shapes.part(text, text_only=self.wishes.text_only)
        status = "completed" if outcome.status == "completed" else "incomplete"
        item = shapes.reply_item(where["item_id"], status, [part])
        response = shapes.ended_response(names, outcome, self._session, item)
        return [
            *self._content_done(text, where),
            self._event("response.content_part.done", part=part, **where),
            self._event("response.output_item.done", item=item, **output),
            self._event("conversation.item.done", item=item),
            *(self._truncated(outcome.number, outcome.heard_samples) if cut_by_us else []),
            self._event("response.done", response=response),
        ]

    def _content_done(self, text: str, where: dict[str, Any]) -> list[str]:
        if self.wishes.text_only:
            return [self._event("response.output_text.done", text=text, **where)]
        return [
            self._event("response.output_audio.done", **where),
            self._event("response.output_audio_transcript.done", transcript=text, **where),
        ]

    def truncated(self, request: HeardUpTo) -> list[str]:
        """The answer to the client's own truncation; asked again, it is answered again."""
        return self._truncated(request.reply, request.samples)

    def _truncated(self, number: int, samples: int) -> list[str]:
        return [
            self._event(
                "conversation.item.truncated",
                item_id=self._names.reply_item(number),
                content_index=0,
                audio_end_ms=self._audio.client_ms(number, samples),
            )
        ]

    # --- going on later

    def snapshot(self) -> dict[str, object]:
        """Counters, configuration, and what was sent."""
        return {**{name: getattr(self, f"_{name}") for name in KEPT}, "audio": self._audio.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on counting where the last connection stopped."""
        for name in KEPT:
            setattr(self, f"_{name}", snapshot[name])
        self._audio = SentAudio(told_of_mutes=self._ours, known=snapshot["audio"])
        self.wishes = self._cast(wishes_of(self._session))


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
