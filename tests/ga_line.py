"""A client's side of the GA dialect, which takes no event that the official SDK would not."""

import json
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from config.errors import ClientError
from config.messages import SpokenWord, ToolCall, Transcript
from config.settings import SAMPLE_RATE
from web.casting import Part
from web.dialects.base import AudioOut, Configure, ReplyOutcome
from web.dialects.ga import GaDialect
from web.dialects.ga_character import PARAM
from web.reply_options import ReplyOptions

SERVER = TypeAdapter(RealtimeServerEvent)

S = SAMPLE_RATE

CALL = ToolCall("c1", "weather", '{"town": "Rome"}')
TOOL = {"type": "function", "name": "weather", "description": "Of a town.", "parameters": {"type": "object"}}


class Line:
    """One client's side of a dialect: notes each event that is sent, once the SDK has accepted it."""

    def __init__(self, *extensions: str) -> None:
        self.dialect = GaDialect(
            "0123456789abcdef",
            160,
            self._speaker,
            self.casting,
            voice="marin",
            extensions=frozenset(extensions),
        )
        self.events: list[dict[str, Any]] = []

    @staticmethod
    def casting(name: str, language: str) -> Part:
        if name == "Nobody":
            raise ClientError("there is no character 'Nobody'", code="character_not_found", param=PARAM)
        return Part(f"You are {name}. Speak {language or 'Czech'}.", f"engine-{name}", language or "cs")

    @staticmethod
    def _speaker(voice: str) -> str:
        if voice == "nobody":
            raise ClientError(
                "there is no voice 'nobody'", code="voice_not_found", param="session.audio.output.voice"
            )
        return f"engine-{voice}"

    def send(self, kind: str, **fields: Any) -> list[Any]:
        return self.dialect.receive(json.dumps({"type": kind, **fields}))

    def update(self, **session: Any) -> dict[str, Any]:
        assert self.send("session.update", session={"type": "realtime", **session}) == [Configure()]
        return self.hear(self.dialect.configured())[0]["session"]

    def hear(self, messages: list[str]) -> list[dict[str, Any]]:
        events = [json.loads(message) for message in messages]
        for event in events:
            if not event["type"].startswith("antiphon."):
                SERVER.validate_python(event, strict=False)
        self.events += events
        return events

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def last(self, kind: str) -> dict[str, Any]:
        return next(event for event in reversed(self.events) if event["type"] == kind)

    # --- pieces of conversations

    def greet(self) -> None:
        self.hear(self.dialect.greeting(resumed=False, token="s.t"))

    def speak(self, text: str, at_s: int = 1) -> None:
        dialect = self.dialect
        self.hear(dialect.speech_began(at_s * S))
        self.hear(dialect.partial_text(Transcript(text, at_s * S, at_s * S + S)))
        self.hear(dialect.speech_stopped(at_s * S + S))
        self.hear(dialect.committed())
        self.hear(dialect.partial_text(Transcript(text, at_s * S, at_s * S + S, final=True)))
        self.hear(dialect.user_text(text))

    def begin(self, number: int, options: ReplyOptions | None = None) -> None:
        options = options or ReplyOptions(self.dialect.wishes)
        self.hear(self.dialect.reply_started(number, options, again=False))

    def answer(self, number: int, *words: str) -> None:
        self.begin(number)
        for index, word in enumerate(words):
            self.hear(self.dialect.reply_words(number, [word]))
            if not self.dialect.wishes.text_only:
                spoken = [(SpokenWord(index, 0, 960), word)]
                self.hear(self.dialect.reply_audio(AudioOut(number, [bytes(960)] * 4, 1920, spoken)))

    def end(self, number: int, status: str = "completed", reason: str = "", text: str = "Fine.") -> None:
        cut = status == "cancelled" and not self.dialect.wishes.text_only
        self.hear(
            self.dialect.reply_ended(
                ReplyOutcome(number, status, reason, text, text, 1200, cut, 20, 3, 90.0, 60.0)
            )
        )


SPOKEN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
]
BEGUN = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
VOICED = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
VOICE_DONE = ["response.output_audio.done", "response.output_audio_transcript.done"]
ITEM_DONE = ["response.content_part.done", "response.output_item.done", "conversation.item.done"]
DONE = [*VOICE_DONE, *ITEM_DONE, "response.done"]
