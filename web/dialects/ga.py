"""The OpenAI Realtime dialect (GA over WebSocket): its events to requests, our notices to its events. Sans-IO.

Shapes and order: docs of the protocol and openai-python's `types/realtime`, against which a test validates every
event sent here.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from config.errors import AntiphonError, ClientError
from config.messages import ToolCall, Transcript
from config.settings import SAMPLE_RATE
from web.config import Wishes
from web.dialects import ga_events as ev
from web.dialects import ga_formats as formats
from web.dialects import ga_items as items
from web.dialects.base import (
    AddItem,
    AudioOut,
    ClearInput,
    CommitInput,
    Configure,
    CreateReply,
    DeleteItem,
    HeardUpTo,
    ReplyOutcome,
    Request,
    RetrieveItem,
    StopReply,
)
from web.dialects.ga_audio import SentAudio
from web.dialects.ga_output import Output
from web.dialects.ga_session import new_session, of_response, response_wishes, updated, wishes_of
from web.dialects.ga_shapes import Names
from web.dialects.ga_teller import PARTIAL, Teller
from web.dialects.ga_wordless import Wordless
from web.dialects.reading import EventReader
from web.items import Item
from web.prompt import require_room
from web.reply_options import ReplyOptions
from web.turn import SILENCE

_reader: EventReader[Any] = EventReader(ev.ClientEvent)

#: From the voice a client names to the TTS engine's name for it. Raises ClientError.
Speaker = Callable[[str], str]

#: Life of a session as told to the client.
SESSION_S = 3600

#: Attributes, less their underscores, that a later connection goes on with.
KEPT = ("session", "user_items", "open_item", "unread_items", "voice_heard", "heard_to")

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
        self._names = Names(session_id)
        self._session = new_session(session_id, model, voice, int(time.time()) + SESSION_S)
        self._speaker = speaker
        self._context_tokens = context_tokens
        self.wishes = self._cast(wishes_of(self._session))
        self._teller = Teller()
        self._event = self._teller.event
        self._user_items = 0
        self._open_item = ""
        """The user's item that is being spoken."""
        self._unread_items: list[str] = []
        """Committed items whose transcripts are still to come."""
        self._wordless = Wordless()
        self._cut: ReplyOutcome | None = None
        """The reply that the user interrupts in this moment."""
        self._voice_heard = False
        self._heard_to = 0
        """Where the newest utterance ended: the padding of the next begins no earlier."""
        self._ours = self.stops_when_muted = "antiphon" in extensions
        self._hear_again(())
        self._handlers: dict[type, Callable[[Any], list[Request]]] = {
            ev.SessionUpdate: self._update,
            ev.Append: lambda event: [formats.taken(event, self.wishes.input_format)],
            ev.Commit: lambda event: [CommitInput(event.event_id)],
            ev.Clear: lambda event: [ClearInput()],
            ev.ItemCreate: self._create_item,
            ev.ItemTruncate: self._truncate,
            ev.ItemRetrieve: lambda event: [RetrieveItem(event.item_id, event.event_id)],
            ev.ItemDelete: lambda event: [DeleteItem(event.item_id, event.event_id)],
            ev.ResponseCreate: self._create_response,
            ev.ResponseCancel: lambda event: [StopReply(event.event_id)],
        }

    # --- ids

    def user_item(self, *, closes: bool) -> str:
        """Of the utterance that waits longest for its text."""
        if not self._unread_items and closes:
            self._open_item = self._open_item or self._next_user_item()
            return self._open_item
        return self._unread_items[0] if self._unread_items else ""

    def reply_item(self, number: int) -> str:
        """Of a reply's message."""
        return self._names.reply_item(number)

    def call_item(self, number: int, index: int) -> str:
        """Of a function call."""
        return self._names.call_item(number, index)

    # --- client events

    def receive(self, raw: str) -> list[Request]:
        """What a message asks for. An error carries the `event_id` of its cause."""
        event = _reader.read(raw)
        try:
            return self._handlers[type(event)](event)
        except ClientError as error:
            error.event_id = event.event_id
            raise

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
        formats.require_extension(session, ours=self._ours)
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

    def preset(self, session: dict[str, Any]) -> dict[str, Any]:
        """What an ephemeral key carries: an update before anybody is told of the session, which is given back. Raises
        ClientError."""
        self._update(ev.SessionUpdate(session=session))
        return self._session

    def _cast(self, asked: Wishes) -> Wishes:
        return msgspec.structs.replace(asked, voice=self._speaker(asked.voice))

    def _create_item(self, event: ev.ItemCreate) -> list[Request]:
        item_id = event.item.id or self._next_user_item()
        return [AddItem(items.taken(event.item, item_id), event.previous_item_id, event.event_id)]

    def _truncate(self, event: ev.ItemTruncate) -> list[Request]:
        number = self._names.reply_number(event.item_id)
        return [self._output.truncation(number, event.audio_end_ms, event.event_id)]

    def _create_response(self, event: ev.ResponseCreate) -> list[Request]:
        if event.response is None:
            return [CreateReply(event.event_id)]
        return [CreateReply(event.event_id, self._options(event.response))]

    def _options(self, asked: ev.ResponseConfig) -> ReplyOptions:
        session, wishes = response_wishes(self._session, asked)
        try:
            formats.require_extension(session, ours=self._ours)
            wishes = self._cast(wishes)
            require_room(wishes, self._context_tokens)
        except ClientError as error:
            raise of_response(error) from error
        told = {name: session[name] for name in ("output_modalities", "max_output_tokens", "audio")}
        told["audio"] = {"output": {name: session["audio"]["output"][name] for name in ("format", "voice")}}
        said = asked.input
        return ReplyOptions(
            wishes,
            None if said is None else [items.taken(item, item.id or "", "response.input") for item in said],
            asked.conversation == "none",
            {**told, "metadata": asked.metadata},
        )

    # --- the connection

    def _hear_again(self, sent: Any) -> None:
        """What was sent of replies, and what will be."""
        audio = self._audio = SentAudio(told_of_mutes=self._ours, known=sent)
        self._output = Output(self._names, self._teller, audio, lambda: self._session, ours=self._ours)

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
        started = self._event(
            "input_audio_buffer.speech_started", item_id=self._open_item, audio_start_ms=start_ms
        )
        cut, self._cut = self._cut, None
        return [started, *(self._output.ended(cut) if cut is not None else [])]

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
            "input_audio_buffer.committed", item_id=item_id, previous_item_id=self._teller.last_item
        )
        return [committed, *self._teller.whole_item(items.unread(item_id))]

    def cleared(self) -> list[str]:
        """The input was forgotten."""
        self._open_item = ""
        return [self._event("input_audio_buffer.cleared")]

    def idle_timeout(self, at: int) -> list[str]:
        """The silence becomes an item of the user's, without words."""
        self._open_item, self._heard_to = self._open_item or self._next_user_item(), at
        since = max(0, at - int((self.wishes.idle_timeout_s or 0) * SAMPLE_RATE))
        triggered = self._event(
            "input_audio_buffer.timeout_triggered",
            item_id=self._open_item,
            audio_start_ms=_ms(since),
            audio_end_ms=_ms(at),
        )
        return [triggered, *self.committed()]

    def item_added(self, request: AddItem, before: str | None) -> list[str]:
        """The item, added and done."""
        if request.after is None:
            return self._teller.whole_item(items.shown(request.item))
        return self._teller.item_at(items.shown(request.item), before)

    def item_retrieved(self, request: RetrieveItem, item: Item | None) -> list[str]:
        """As it is now; an utterance without its text yet, and a reply that is still being made, too."""
        item_id = request.item_id
        known = items.shown(item) if item is not None else self._output.in_progress(item_id)
        if known is None and item_id in self._unread_items:
            known = items.unread(item_id)
        if known is None:
            known = self._wordless.shown(item_id, of_reply=self._names.reply_number(item_id) is not None)
        if known is None:
            raise ClientError("there is no item of this id", param="item_id", code="item_not_found")
        return [self._event("conversation.item.retrieved", item=known)]

    def item_deleted(self, request: DeleteItem, last: str | None) -> list[str]:
        """The next item follows the newest that is left."""
        if self._teller.last_item == request.item_id:
            self._teller.last_item = last
        return [self._event("conversation.item.deleted", item_id=request.item_id)]

    def partial_text(self, heard: Transcript) -> list[str]:
        """An extension: it may change, and deltas cannot be taken back."""
        if not (self._ours and self._open_item):
            return []
        return [self._event(PARTIAL, item_id=self._open_item, text=heard.text)]

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
        if not before:
            self._wordless.add(item_id)
        if self._session["audio"]["input"]["transcription"] is None:
            return []
        return [
            self._event(f"{TRANSCRIPTION}.{kind}", item_id=item_id, content_index=0, **fields)
            for kind, fields in (*before, last)
        ]

    def _next_user_item(self) -> str:
        self._user_items += 1
        return self._names.user_item(self._user_items)

    # --- the assistant

    def reply_started(self, number: int, options: ReplyOptions, *, again: bool) -> list[str]:
        """The response is announced; its items come with what is in them."""
        return self._output.started(number, options)

    def reply_words(self, number: int, words: list[str]) -> list[str]:
        """The transcript runs ahead of the audio, as with the original."""
        return self._output.words(number, words)

    def reply_called(self, number: int, index: int, call: ToolCall) -> list[str]:
        """A function call, whole at once."""
        return self._output.called(number, index, call)

    def reply_audio(self, audio: AudioOut) -> list[str]:
        """One delta for all packets of a step."""
        self._voice_heard = True
        return self._output.sound(audio)

    def muted(self, number: int, heard_samples: int) -> list[str]:
        """An extension: play no further than this."""
        return self._output.muted(number, heard_samples)

    def resumed(self, number: int, from_samples: int) -> list[str]:
        """An extension: the deltas that follow go on from here."""
        return self._output.resumed(number, from_samples)

    def reply_ended(self, outcome: ReplyOutcome) -> list[str]:
        """Everything that was opened is closed, in order.

        Of an interruption the client hears first that the user speaks, and in the same moment of this: by that event
        SDKs empty their players, and they truncate only what is not done yet.
        """
        if outcome.cut and not outcome.text:
            self._wordless.add(self.reply_item(outcome.number))
        if (outcome.status, outcome.reason) == ("cancelled", "turn_detected"):
            self._cut = outcome
            return []
        return self._output.ended(outcome)

    def truncated(self, request: HeardUpTo) -> list[str]:
        """The answer to the client's own truncation; asked again, it is answered again."""
        return self._output.truncated(request.reply, request.samples)

    # --- going on later

    def snapshot(self) -> dict[str, object]:
        """Counters, configuration, and what was sent."""
        told = {"events": self._teller.told, "last_item": self._teller.last_item}
        kept = {name: getattr(self, f"_{name}") for name in KEPT}
        return {**kept, **told, "audio": self._audio.snapshot(), "wordless": self._wordless.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on counting where the last connection stopped."""
        for name in KEPT:
            setattr(self, f"_{name}", snapshot[name])
        self._teller.told, self._teller.last_item = snapshot["events"], snapshot["last_item"]
        self._hear_again(snapshot["audio"])
        self._wordless = Wordless(snapshot.get("wordless", ()))  # one of an earlier version has none
        self.wishes = self._cast(wishes_of(self._session))


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
