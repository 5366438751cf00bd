"""The dialect of Unmute's page and load tester: Ogg-Opus both ways, and an assistant that speaks first. Sans-IO.

The wire has no ids and nothing that takes words back: what is said here stays said.
Facts: kyutai-labs/unmute at 84aa28d.
"""

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from config.errors import AntiphonError, ClientError, Queued, StageWaiting
from config.messages import ChatMessage, ToolCall, Transcript
from config.settings import SAMPLE_RATE
from web.casting import Casting
from web.config import Wishes
from web.dialects import unmute_events as ev
from web.dialects.base import (
    AddItem,
    AppendAudio,
    AudioOut,
    Configure,
    DeleteItem,
    HeardUpTo,
    Look,
    ReplyOutcome,
    Request,
    RetrieveItem,
)
from web.dialects.reading import EventReader
from web.dialects.unmute_debug import Insight
from web.items import Item
from web.ogg import OggOpusReader, OggOpusWriter
from web.packets import opus_samples
from web.prompt import require_room
from web.reply_options import ReplyOptions
from web.signs import Signs
from web.transcript import AppendOnly
from web.turn_state import SILENCE

_reader: EventReader[ev.ClientEvent] = EventReader(ev.ClientEvent)
_encode = msgspec.json.encode

#: Audio that one message may bring. A page may name minutes in a few bytes, and somebody must decode them.
MAX_APPEND = 10 * SAMPLE_RATE

#: Close codes that need no word of explanation: the end of a talk, and "come back".
WORDLESS = (1000, 1012)


def last_words(code: int, reason: str) -> list[str]:
    """What this client is told before the server closes with `code`: a page shows messages, and no close codes."""
    if code in WORDLESS:
        return []
    error = {"type": "fatal", "code": f"closed_{code}", "message": reason or "the server ends this session"}
    return [_encode({"type": "error", "event_id": "event_last", "error": error}).decode()]


class UnmuteDialect:
    """One client of Unmute's kind."""

    name = "unmute"
    speaks_first = True
    stops_when_muted = False

    def __init__(
        self, session_id: str, lead_ms: int, casting: Casting, user_silence_s: float = 7.0,
        context_tokens: int | None = None,
    ) -> None:  # fmt: skip
        self.lead_ms = lead_ms
        self._id = session_id
        self._token = ""
        self._casting = casting
        self._context_tokens = context_tokens
        self._events = 0
        self._config = ev.SessionConfig(allow_recording=False)
        self._input = OggOpusReader()
        self._output = OggOpusWriter(zlib.crc32(session_id.encode()))
        self._output_begun = False
        self._heard = AppendOnly()
        self._held_space = ""
        self._insight = Insight()
        self.wishes = Wishes(
            input_format="opus", output_format="opus", user_silence_s=user_silence_s, goodbye=True
        )

    # --- ids, of which this dialect knows none

    def closing_item(self) -> str:
        """None."""
        return ""

    def unread_item(self) -> str:
        """None."""
        return ""

    def reply_item(self, number: int) -> str:
        """None."""
        return ""

    def call_item(self, number: int, index: int) -> str:
        """None that a client sees."""
        return f"call_{number}_{index}"

    # --- client events

    def receive(self, raw: str) -> list[Request]:
        """What a message asks for."""
        try:
            event = _reader.read(raw)
        except ClientError as error:
            raise _explained(error, raw) from error
        if isinstance(event, ev.Append):
            return self._append(event.audio)
        if isinstance(event, ev.AppendAnonymized):
            return []
        self._update(event.session)
        return [Configure()]

    def _append(self, pages: bytes) -> list[Request]:
        """Packets of the client's stream; none before its first page has come."""
        packets = [packet for packet in self._input.read(pages) if opus_samples(packet)]
        samples = sum(map(opus_samples, packets))
        if samples > MAX_APPEND:
            raise ClientError(
                f"one append may bring {MAX_APPEND // SAMPLE_RATE} s", param="audio", code="invalid_audio"
            )
        if packets:
            self._insight.received(samples)
            heard = AppendAudio(packets, samples)
            return [heard, Look()] if self.wishes.instructions and self._insight.due() else [heard]
        if self._input.trouble:
            raise ClientError(
                f"audio must be Ogg-Opus: {self._input.trouble}", param="audio", code="invalid_audio"
            )
        return []

    def _update(self, asked: ev.SessionConfig) -> None:
        """The part is cast anew only when it changes: a quiz that goes on keeps its questions."""
        kept = self._config
        wanted = kept.instructions if asked.instructions is None else _known(asked.instructions)
        config = ev.SessionConfig(asked.allow_recording, wanted, asked.voice or kept.voice, asked.antiphon)
        changed = (config.instructions, config.voice) != (kept.instructions, kept.voice)
        if changed or not self.wishes.instructions:
            part = self._casting(config.instructions, config.voice or "")
            wishes = msgspec.structs.replace(
                self.wishes, instructions=part.prompt, voice=part.voice, language=part.language
            )
            require_room(wishes, self._context_tokens)
            self.wishes = wishes
        self._config = config
        self._take_consents()

    def _take_consents(self) -> None:
        ours = self._config.antiphon or ev.Ours()
        self.wishes = msgspec.structs.replace(
            self.wishes, allow_recording=self._config.allow_recording, record_audio=ours.record_audio
        )

    # --- the connection

    def _event(self, kind: str, **fields: Any) -> str:
        self._events += 1
        return _encode({"type": kind, "event_id": f"event_{self._events}", **fields}).decode()

    def greeting(self, *, resumed: bool, token: str) -> list[str]:
        """Nothing: this client speaks first on the wire. One that comes back knows the session by its update."""
        self._token = token
        return self.configured() if resumed else []

    def queued(self, place: int) -> list[str]:
        """A warning: there is no other word for it on this wire."""
        return self.error(Queued(f"all places are taken; you are number {place} in the line"))

    def served(self) -> list[str]:
        """Nothing: the answer to its session.update says it."""
        return []

    def configured(self) -> list[str]:
        """The session as it is now; a client of ours finds its token there, others do not look."""
        session = msgspec.to_builtins(self._config)
        ours = {**session.get("antiphon", {}), "resume_token": self._token}
        return [
            self._event("session.updated", session={**session, "id": f"sess_{self._id}", "antiphon": ours})
        ]

    def error(self, error: AntiphonError, event_id: str | None = None) -> list[str]:
        """A `warning` is not shown to people: it is for what mends itself. A `fatal` one is followed by the end."""
        body: dict[str, Any] = {"type": error.type, "code": error.code, "message": str(error)}
        if isinstance(error, ClientError):
            body["code"] = error.wire_code
            if error.param is not None:
                body.update(param=error.param, details={"field": error.param})
        elif isinstance(error, StageWaiting):
            body["type"] = "warning"
        return [self._event("error", error=body)]

    # --- the user

    def speech_began(self, at: int, *, again: bool = False) -> list[str]:
        """The user speaks."""
        self._insight.user_spoke()
        return [self._event("input_audio_buffer.speech_started")]

    def speech_stopped(self, at: int) -> list[str]:
        """The user's turn ended."""
        self._insight.turn_ended()
        return [self._event("input_audio_buffer.speech_stopped")]

    def committed(self, at: int | None = None) -> list[str]:
        """Nothing: not of this dialect."""
        return []

    def cleared(self, at: int | None = None) -> list[str]:
        """Nothing: not of this dialect."""
        return []

    def idle_timeout(self, at: int) -> list[str]:
        """As at the end of a turn, though none began: silence is what the user says."""
        return [self._event("input_audio_buffer.speech_stopped")]

    def item_added(self, request: AddItem, before: str | None) -> list[str]:
        """Nothing: nobody types in this dialect, and items have no ids."""
        return []

    def item_understood(self, item_id: str, text: str | AntiphonError) -> list[str]:
        """Nothing: as above."""
        return []

    def item_retrieved(self, request: RetrieveItem, item: Item | None) -> list[str]:
        """Nothing: as above."""
        return []

    def item_deleted(self, request: DeleteItem, last: str | None) -> list[str]:
        """Nothing: as above."""
        return []

    def partial_text(self, heard: Transcript) -> list[str]:
        """The words that will not change any more."""
        return self._user_words(*self._heard.partial(heard))

    def user_text(self, text: str) -> list[str]:
        """The rest of them. The history goes along: who waits for the reply looks there for what was asked."""
        events = [] if text == SILENCE else self._user_words(*self._heard.final(text))
        self._insight.user_said(text)
        return [*events, self._outputs()]

    def not_understood(self) -> list[str]:
        """Nothing: the error that goes with it says all."""
        self._insight.user_said("")
        return []

    def _user_words(self, words: str, since: int) -> list[str]:
        if not words:
            return []
        self._insight.user_says(words)
        kind = "conversation.item.input_audio_transcription.delta"
        return [self._event(kind, delta=words, start_time=round(since / SAMPLE_RATE, 3))]

    # --- the assistant

    def reply_started(self, number: int, options: ReplyOptions, *, again: bool) -> list[str]:
        """A reply is being made; `again` is nothing new for this client."""
        self._held_space = ""
        self._insight.reply_began()
        if again:
            return []
        response = {
            "object": "realtime.response",
            "status": "in_progress",
            "voice": self._config.voice or self.wishes.voice,
            "chat_history": [ChatMessage("system", self.wishes.instructions), *self._insight.history],
        }
        return [self._event("response.created", response=response)]

    def reply_words(self, number: int, words: list[str]) -> list[str]:
        """Words of the LLM, each with the space before it instead of after it."""
        text = self._held_space + "".join(words)
        ready = text.rstrip()
        self._held_space = text[len(ready) :]
        return [self._event("unmute.response.text.delta.ready", delta=ready)] if ready else []

    def reply_written(self, number: int, text: str) -> list[str]:
        """All of the text; its sound goes on."""
        return [self._event("response.text.done", text=text)]

    def reply_called(self, number: int, index: int, call: ToolCall) -> list[str]:
        """Nothing: this client has no functions."""
        return []

    def reply_audio(self, audio: AudioOut) -> list[str]:
        """The words whose sound begins here, then the sound."""
        words = [said for _, word in audio.words if (said := word.strip())]
        self._insight.reply_sounds(audio.samples, words)
        events = [self._event("response.text.delta", delta=word) for word in words]
        if audio.packets:
            head = b"" if self._output_begun else self._output.head()
            self._output_begun = True
            pages = head + self._output.pages(audio.packets)  # msgspec writes bytes as base64
            events.append(self._event("response.audio.delta", delta=pages))
        return events

    def audio_lost(self, number: int, samples: int) -> None:
        """Nothing: its clients know no places."""

    def muted(self, number: int, heard_samples: int) -> list[str]:
        """Nothing: not of this dialect; what was sent plays out."""
        return []

    def resumed(self, number: int, from_samples: int) -> list[str]:
        """Nothing: its sound goes on."""
        return []

    def truncated(self, request: HeardUpTo) -> list[str]:
        """Nothing: this client never asks for it."""
        return []

    def reply_ended(self, outcome: ReplyOutcome) -> list[str]:
        """What was heard goes into the history, and that to the client, before it learns that this is the end."""
        self._insight.reply_ended(outcome)
        outputs = self._outputs()
        if outcome.status != "completed":
            return [outputs, self._event("unmute.interrupted_by_vad")]
        return [outputs, self._event("response.audio.done")]

    # --- what clients are shown of the conversation

    def _outputs(self) -> str:
        return self._event("unmute.additional_outputs", args=self._insight.args(self.wishes.voice))

    def attend(self, signs: Callable[[], Signs]) -> None:
        """Where the figures are looked for that are not heard of here."""
        self._insight.signs = signs

    def looked(self) -> list[str]:
        """The history and the figures, whoever speaks or is silent."""
        return [self._outputs()]

    # --- going on later

    def snapshot(self) -> dict[str, object]:
        """The configuration, the history, and which Ogg stream the client is sending."""
        return {
            "events": self._events,
            "config": msgspec.to_builtins(self._config),
            "instructions": self.wishes.instructions,
            "voice": self.wishes.voice,
            "language": self.wishes.language,
            "history": msgspec.to_builtins(self._insight.history),
            "stream": self._input.serial,
            "heard": self._heard.snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on; the client's decoder is new, so our stream begins anew."""
        self._events = snapshot["events"]
        self._config = msgspec.convert(snapshot["config"], ev.SessionConfig)
        self._insight.history = msgspec.convert(snapshot["history"], list[ChatMessage])
        self._input = OggOpusReader(snapshot["stream"])
        self._heard.restore(snapshot.get("heard", {}))
        self.wishes = msgspec.structs.replace(
            self.wishes, **{name: snapshot[name] for name in ("instructions", "voice", "language")}
        )
        self._take_consents()


def _known(instructions: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody reads: it would be saved and sent back with every turn."""
    return {name: instructions[name] for name in ev.INSTRUCTION_FIELDS if instructions.get(name) is not None}


def _explained(error: ClientError, raw: str) -> ClientError:
    """The same error, or a hint to who speaks the other dialect."""
    if not (error.param or "").startswith("session"):
        return error
    try:
        session = msgspec.json.decode(raw, type=ev.AnySession).session
    except (
        msgspec.DecodeError
    ):  # it is no object, or holds numbers that nobody reads: the error says so already
        return error
    if ev.GA_FIELDS.isdisjoint(session):
        return error
    return ClientError(
        "this looks like the OpenAI dialect: connect with ?dialect=ga to speak it", param="session"
    )
