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
from web.config import Wishes
from web.dialects import ga_character as characters
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
    Unwatched,
)
from web.dialects.ga_audio import SentAudio
from web.dialects.ga_output import Output
from web.dialects.ga_session import (
    new_session,
    of_kind,
    of_response,
    response_wishes,
    shown,
    transcribing,
    updated,
    wishes_of,
)  # fmt: skip
from web.dialects.ga_shapes import Names, voice_name
from web.dialects.ga_teller import Teller
from web.dialects.ga_user import User
from web.dialects.reading import EventReader
from web.items import Item, no_such
from web.prompt import require_room
from web.reply_options import ReplyOptions

_reader: EventReader[Any] = EventReader(ev.ClientEvent)

#: From the voice a client names to the TTS engine's name for it. Raises ClientError.
Speaker = Callable[[str], str]

#: Life of a session as told to the client.
SESSION_S = 3600

#: Attributes, less their underscores, that a later connection goes on with.
KEPT = ("session", "voice_heard")


class GaDialect(Unwatched):
    """One GA client."""

    name = "ga"
    speaks_first = False

    def __init__(
        self, session_id: str, lead_ms: int, speaker: Speaker, casting: characters.Casting,
        model: str = "antiphon", voice: str = "", extensions: frozenset[str] = frozenset(),
        context_tokens: int | None = None, transcribes: bool = False,
    ) -> None:  # fmt: skip
        """transcribes: it begins as a transcription session."""
        self.lead_ms = lead_ms
        self._names = Names(session_id)
        self._session = new_session(session_id, model, voice, int(time.time()) + SESSION_S)
        if transcribes:
            self._session = transcribing(self._session)
        self._speaker = speaker
        self._casting = casting
        self._played = characters.Played()
        self._context_tokens = context_tokens
        self.wishes = self._cast(wishes_of(self._session), self._played)
        self._teller = Teller()
        self._event = self._teller.event
        self._user = User(self._names, self._teller, lambda: self.wishes, lambda: self._session)
        self._cut: ReplyOutcome | None = None
        """The reply that the user interrupts in this moment."""
        self._voice_heard = False
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
            ev.ResponseCancel: self._cancel,
        }

    # --- ids

    def closing_item(self) -> str:
        """Of the utterance that is committed next."""
        return self._user.closing_item()

    def unread_item(self) -> str:
        """Of the utterance that waits longest for its text."""
        return self._user.oldest_unread

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
        begun = self._user.spoke or self._output.ever
        base = of_kind(self._session, event.session.get("type"), begun=begun)
        session = updated(base, event.session)[0]
        formats.require_extension(session, ours=self._ours)
        characters.require_extension(self._session, session, ours=self._ours)
        played = characters.played(self._played, session, self._casting)
        session = characters.with_its_voice(self._session, session, event.session)
        wishes = self._cast(wishes_of(session), played)
        require_room(wishes, self._context_tokens)
        if self._voice_heard and wishes.voice != self.wishes.voice:
            raise self._voice_locked(session)
        self._session, self.wishes, self._played = session, wishes, played
        return [Configure()]

    def _voice_locked(self, asked: dict[str, Any]) -> ClientError:
        by_character = characters.named(asked) not in ("", characters.named(self._session))
        return ClientError(
            "the voice cannot change once it was heard" + "; name it to keep it" * by_character,
            param=characters.PARAM if by_character else "session.audio.output.voice",
            code="cannot_update_voice",
        )

    def preset(self, session: dict[str, Any]) -> dict[str, Any]:
        """What an ephemeral key carries: an update before anybody is told of the session, which is given back. Raises
        ClientError."""
        self._update(ev.SessionUpdate(session=session))
        return shown(self._session)

    def _cast(self, asked: Wishes, played: characters.Played) -> Wishes:
        return msgspec.structs.replace(played.wishes(asked), voice=self._speaker(asked.voice))

    def _create_item(self, event: ev.ItemCreate) -> list[Request]:
        item = items.taken(event.item, event.item.id or self._user.next_item())
        sound = items.sound(event.item, self.wishes.input_format)
        return [AddItem(item, event.previous_item_id, event.event_id, sound)]

    def _truncate(self, event: ev.ItemTruncate) -> list[Request]:
        return [self._output.truncation(event.item_id, event.audio_end_ms, event.event_id)]

    def _create_response(self, event: ev.ResponseCreate) -> list[Request]:
        if self.wishes.listen_only:
            raise ClientError(
                "a transcription session gives no responses", param="type", code="invalid_parameter"
            )
        if event.response is None:
            return [CreateReply(event.event_id)]
        sounds = (
            (place, items.sound(item, self.wishes.input_format, f"response.input[{place}]"))
            for place, item in enumerate(event.response.input or [])
        )
        heard = tuple((place, sound) for place, sound in sounds if sound is not None)
        return [CreateReply(event.event_id, self._options(event.response), heard)]

    def _cancel(self, event: ev.ResponseCancel) -> list[Request]:
        if event.response_id not in (None, self._output.response_id):
            raise ClientError(
                f"no response {event.response_id!r} is active",
                param="response_id",
                code="response_cancel_not_active",
            )
        return [StopReply(event.event_id)]

    def _options(self, asked: ev.ResponseConfig) -> ReplyOptions:
        session, wishes = response_wishes(self._session, asked)
        try:
            formats.require_extension(session, ours=self._ours)
            wishes = self._cast(wishes, self._played)
            require_room(wishes, self._context_tokens)
        except ClientError as error:
            raise of_response(error) from error
        told = {name: session[name] for name in ("output_modalities", "max_output_tokens", "audio")}
        output = session["audio"]["output"]
        told["audio"] = {"output": {"format": output["format"], "voice": voice_name(output["voice"])}}
        said = asked.input
        return ReplyOptions(
            wishes,
            None
            if said is None
            else [
                items.taken(item, item.id or "", f"response.input[{place}]")
                for place, item in enumerate(said)
            ],
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
        session = {**shown(self._session), "antiphon": ours}
        lost = self._user.lost_aside() if resumed else []
        return [self._event("session.created", session=session), *lost]

    def queued(self, place: int) -> list[str]:
        """An extension: others learn by session.updated that they are served."""
        return [self._event("antiphon.queued", place=place)] if self._ours else []

    def served(self) -> list[str]:
        """What the session is now."""
        return self.configured()

    def configured(self) -> list[str]:
        """The whole effective configuration."""
        return [self._event("session.updated", session=shown(self._session))]

    def error(self, error: AntiphonError, event_id: str | None = None) -> list[str]:
        """Most errors leave the session open."""
        body: dict[str, Any] = {"type": error.type, "code": error.code, "message": str(error), "param": None}
        if isinstance(error, ClientError):
            body.update(code=error.wire_code, param=error.param)
            event_id = event_id or error.event_id
        return [self._event("error", error={**body, "event_id": event_id})]

    # --- the user

    def speech_began(self, at: int, *, again: bool = False) -> list[str]:
        """And the reply that it interrupts is over."""
        cut, self._cut = self._cut, None
        return [
            *self._user.speech_began(at, again=again),
            *(self._output.ended(cut) if cut is not None else []),
        ]

    def speech_stopped(self, at: int) -> list[str]:
        """The voice ended."""
        return self._user.speech_stopped(at)

    def committed(self, at: int | None = None) -> list[str]:
        """The user's item, its transcript still unknown."""
        return self._user.committed(at)

    def cleared(self, at: int | None = None) -> list[str]:
        """The input was forgotten."""
        return self._user.cleared(at)

    def idle_timeout(self, at: int) -> list[str]:
        """The silence becomes an item of the user's, without words."""
        return self._user.idle_timeout(at)

    def item_added(self, request: AddItem, before: str | None) -> list[str]:
        """The item, added and done."""
        shown = items.shown(request.item)
        if request.sound is not None:
            self._user.reads_aside(request.item.id, request.sound.samples)
            shown = items.unread(request.item.id)
        return (
            self._teller.whole_item(shown) if request.after is None else self._teller.item_at(shown, before)
        )

    def item_understood(self, item_id: str, text: str | AntiphonError) -> list[str]:
        """Its transcript."""
        return self._user.understood_aside(item_id, text)

    def item_retrieved(self, request: RetrieveItem, item: Item | None) -> list[str]:
        """As it is now; an utterance without its text yet, and a reply that is still being made, too."""
        item_id = request.item_id
        known = items.shown(item) if item is not None else self._output.in_progress(item_id)
        if item is not None and self._user.reads(item_id):
            known = items.unread(item_id)
        if known is None:
            raise no_such("retrieve", item_id)
        return [self._event("conversation.item.retrieved", item=known)]

    def item_deleted(self, request: DeleteItem, last: str | None) -> list[str]:
        """The next item follows the newest that is left."""
        if self._teller.last_item == request.item_id:
            self._teller.last_item = last
        return [self._event("conversation.item.deleted", item_id=request.item_id)]

    def partial_text(self, heard: Transcript) -> list[str]:
        """What of it will hardly change any more, or all of it for a client that knows our extensions."""
        return self._user.partial_text(heard, ours=self._ours)

    def user_text(self, text: str) -> list[str]:
        """The transcript of the oldest item that waits for one."""
        return self._user.user_text(text)

    def not_understood(self) -> list[str]:
        """The transcript of that item will not come."""
        return self._user.not_understood()

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

    def audio_lost(self, number: int, samples: int) -> None:
        """Places are counted without it."""
        self._output.sound_lost(number, samples)

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
        played = msgspec.to_builtins(self._played)
        return {**kept, **told, **self._user.snapshot(), "played": played, "audio": self._audio.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on counting where the last connection stopped."""
        for name in KEPT:
            setattr(self, f"_{name}", snapshot[name])
        self._teller.told, self._teller.last_item = snapshot["events"], snapshot["last_item"]
        self._user.restore(snapshot)
        self._hear_again(snapshot["audio"])
        self._played = msgspec.convert(snapshot.get("played", {}), characters.Played)
        self.wishes = self._cast(wishes_of(self._session), self._played)
