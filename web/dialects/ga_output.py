"""Responses of the GA dialect: what a client is told of a reply from its beginning to its end. Sans-IO."""

from collections.abc import Callable
from typing import Any

from config.messages import SpokenWord, ToolCall
from config.settings import SAMPLE_RATE
from web.dialects import ga_formats as formats
from web.dialects import ga_items as items
from web.dialects import ga_shapes as shapes
from web.dialects.base import AudioOut, HeardUpTo, ReplyOutcome
from web.dialects.ga_audio import SentAudio
from web.dialects.ga_teller import Teller
from web.reply_options import ReplyOptions

Json = dict[str, Any]


class Output:
    """At most one reply at a time. Its message is announced with its first word: one that only asks for functions has
    none."""

    def __init__(
        self,
        names: shapes.Names,
        teller: Teller,
        audio: SentAudio,
        session: Callable[[], Json],
        *,
        ours: bool,
    ) -> None:
        """session: the session object as it is now. ours: the client knows our extensions."""
        self._names = names
        self._teller = teller
        self._audio = audio
        self._session = session
        self._ours = ours
        self._begun: Json = {}
        self.ever = False
        """A response was begun, by this connection."""
        self._options: ReplyOptions | None = None
        self._shown = ""
        self._outputs: list[Json] = []
        """Items of the reply, by their output_index; its message has no content yet."""
        self._message: int | None = None
        """Which of them is its message."""
        self._truncating = 0
        """The reply under way that the client itself cuts short; 0: none."""

    def started(self, number: int, options: ReplyOptions) -> list[str]:
        """The response is announced."""
        self.ever = True
        self._options, self._shown, self._outputs, self._message = options, "", [], None
        self._begun = shapes.begun_response(self._names, number, self._session(), options)
        self._audio.begin(number, text_only=options.wishes.text_only)
        # no response is ever refused for a rate, so there is no figure to give
        limits = self._teller.event("rate_limits.updated", rate_limits=[])
        return [self._teller.event("response.created", response=self._begun), limits]

    def words(self, number: int, words: list[str]) -> list[str]:
        """The transcript runs ahead of the audio, as with the original."""
        delta = "".join(words)
        opened = self._open_message(number)
        self._shown += delta
        kind = "output_text" if self._text_only else "output_audio_transcript"
        return [*opened, self._teller.event(f"response.{kind}.delta", delta=delta, **self._content(number))]

    def sound(self, audio: AudioOut) -> list[str]:
        """One delta for all packets of a step."""
        opened = self._open_message(audio.number)
        begin = self._audio.send(audio.number, audio.samples)
        form = self._options.wishes.output_format if self._options else "pcm16"
        sound = {**self._content(audio.number), **formats.delta(audio.packets, form)}
        if self._ours:
            words = [_sounding(*word) for word in audio.words]
            told = {"start_ms": begin * 1000 // SAMPLE_RATE, **({"words": words} if words else {})}
            sound["antiphon"] = {**sound.get("antiphon", {}), **told}
        return [*opened, self._teller.event("response.output_audio.delta", **sound)]

    def sound_lost(self, number: int, samples: int) -> None:
        """The newest of it did not leave."""
        self._audio.take_back(number, samples)

    def called(self, number: int, index: int, call: ToolCall) -> list[str]:
        """A function is asked for. It may be run at once; the reply goes on."""
        item_id = self._names.call_item(number, index)
        where = {"response_id": self._names.response(number), "output_index": len(self._outputs)}
        about = {**where, "item_id": item_id, "call_id": call.id}
        begun, done = (items.call(item_id, call, status) for status in ("in_progress", "completed"))
        self._outputs.append(done)
        event = self._teller.event
        return [
            event("response.output_item.added", item=begun, **where),
            *self._in_conversation("added", begun, self._link(item_id)),
            event("response.function_call_arguments.delta", delta=call.arguments, **about),
            event("response.function_call_arguments.done", arguments=call.arguments, name=call.name, **about),
            event("response.output_item.done", item=done, **where),
            *self._in_conversation("done", done),
        ]

    def muted(self, number: int, heard_samples: int) -> list[str]:
        """An extension: play no further than this."""
        return self._held("muted", number, heard_samples)

    def resumed(self, number: int, from_samples: int) -> list[str]:
        """An extension: the deltas that follow go on from here."""
        self._audio.go_back(number, from_samples)
        return self._held("resumed", number, from_samples)

    def ended(self, outcome: ReplyOutcome) -> list[str]:
        """Everything that was opened is closed, in order."""
        self._audio.end(outcome.number, whole=outcome.status == "completed")
        closed = self._close_message(outcome)
        response = shapes.ended_response(self._begun, outcome, self._outputs)
        return [*closed, self._teller.event("response.done", response=response)]

    def truncation(self, item_id: str, end_ms: int, event_id: str | None) -> HeardUpTo:
        """What the client means by it. Raises ClientError where it can mean nothing."""
        heard = self._audio.truncation(self._names.reply_number(item_id), item_id, end_ms, event_id)
        self._truncating = heard.reply
        return heard

    def truncated(self, number: int, samples: int) -> list[str]:
        """So much of a reply stays; asked again, it is answered again."""
        return [
            self._teller.event(
                "conversation.item.truncated",
                item_id=self._names.reply_item(number),
                content_index=0,
                audio_end_ms=self._audio.client_ms(number, samples),
            )
        ]

    @property
    def response_id(self) -> str | None:
        """Of the newest response; None: there was none over this connection."""
        return self._begun.get("id")

    def in_progress(self, item_id: str) -> Json | None:
        """The message of the reply under way, if that is it."""
        if self._message is None or self._outputs[self._message]["id"] != item_id:
            return None
        return items.reply(item_id, "in_progress", [self._part])

    # --- the message

    @property
    def _text_only(self) -> bool:
        return self._options is not None and self._options.wishes.text_only

    @property
    def _part(self) -> Json:
        return items.part(self._shown.strip(), text_only=self._text_only)

    def _open_message(self, number: int) -> list[str]:
        if self._message is not None:
            return []
        self._message = len(self._outputs)
        item = items.reply(self._names.reply_item(number), "in_progress", [])
        self._outputs.append(item)
        output = {"response_id": self._names.response(number), "output_index": self._message}
        return [
            self._teller.event("response.output_item.added", item=item, **output),
            *self._in_conversation("added", item, self._link(item["id"])),
            self._teller.event("response.content_part.added", part=self._part, **self._content(number)),
        ]

    def _close_message(self, outcome: ReplyOutcome) -> list[str]:
        if self._message is None:
            return []
        number, event, content = outcome.number, self._teller.event, self._content(outcome.number)
        whole = outcome.status == "completed" and outcome.stopped != "length"
        item = items.reply(content["item_id"], "completed" if whole else "incomplete", [self._part])
        self._outputs[self._message] = item
        cut_by_us = outcome.cut and number != self._truncating and not self._aside
        output = {name: content[name] for name in ("response_id", "output_index")}
        self._message = None
        return [
            *self._content_done(content),
            event("response.content_part.done", part=self._part, **content),
            event("response.output_item.done", item=item, **output),
            *self._in_conversation("done", item),
            *(self.truncated(number, outcome.heard_samples) if cut_by_us else []),
        ]

    def _content_done(self, content: Json) -> list[str]:
        event, text = self._teller.event, self._shown.strip()
        if self._text_only:
            return [event("response.output_text.done", text=text, **content)]
        return [
            event("response.output_audio.done", **content),
            event("response.output_audio_transcript.done", transcript=text, **content),
        ]

    def _content(self, number: int) -> Json:
        return {
            "response_id": self._names.response(number),
            "output_index": self._message,
            "item_id": self._names.reply_item(number),
            "content_index": 0,
        }

    # --- its place in the conversation

    @property
    def _aside(self) -> bool:
        return self._options is not None and self._options.aside

    def _link(self, item_id: str) -> str | None:
        return None if self._aside else self._teller.link(item_id)

    def _in_conversation(self, what: str, item: Json, before: str | None = None) -> list[str]:
        """The same of the conversation, where the reply belongs to it."""
        if self._aside:
            return []
        previous = {"previous_item_id": before} if what == "added" else {}
        return [self._teller.event(f"conversation.item.{what}", item=item, **previous)]

    def _held(self, what: str, number: int, sample: int) -> list[str]:
        if not self._ours:
            return []
        return [
            self._teller.event(
                f"antiphon.output.{what}",
                response_id=self._names.response(number),
                item_id=self._names.reply_item(number),
                audio_end_ms=sample * 1000 // SAMPLE_RATE,
            )
        ]


def _sounding(word: SpokenWord, text: str) -> Json:
    return {"text": text, "start_ms": word.start * 1000 // SAMPLE_RATE}
