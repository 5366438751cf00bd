"""The GA Realtime dialect, client side: audio in base64, items and responses by id, resume by subprotocol."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from cli import happenings as h
from cli.sound import RATE

BAD_MESSAGE = "bad_server_message"


class Sound(Protocol):
    """Another format than pcm16; `cli.ga_sound` has them all."""

    @property
    def name(self) -> dict[str, object]:
        """As the session object has it."""

    def appends(self, pcm16: bytes) -> list[dict[str, object]]:
        """Fields of the events that bring it."""

    def heard(self, delta: str, sizes: Sequence[int] | None) -> bytes:
        """The pcm16 of a delta. Raises ValueError with words."""


class Pcm16:
    """The usual format."""

    @property
    def name(self) -> dict[str, object]:
        """As the session object has it."""
        return {"type": "audio/pcm", "rate": RATE}

    def appends(self, pcm16: bytes) -> list[dict[str, object]]:
        """PCM as it is."""
        return [{"audio": base64.b64encode(pcm16).decode()}]

    def heard(self, delta: str, sizes: Sequence[int] | None) -> bytes:
        """PCM as it is."""
        try:
            return base64.b64decode(delta, validate=True)
        except binascii.Error:
            raise ValueError("the server sent audio that is not base64") from None


class _Extension(msgspec.Struct):
    """Our extension of session, response and delta: extra fields that other clients do not see."""

    resume_token: str | None = None
    llm_first_token_ms: float | None = None
    tts_first_audio_ms: float | None = None
    packets: list[int] | None = None


class _Session(msgspec.Struct):
    id: str | None = None
    antiphon: _Extension | None = None


class _Problem(msgspec.Struct):
    message: str | None = None
    code: str | None = None
    type: str | None = None


class _StatusDetails(msgspec.Struct):
    reason: str | None = None
    error: _Problem | None = None


class _Response(msgspec.Struct):
    id: str
    status: str | None = None
    status_details: _StatusDetails | None = None
    antiphon: _Extension | None = None


class _Event(msgspec.Struct):
    """The union of what is read from any server event."""

    type: str
    item_id: str = ""
    response_id: str = ""
    delta: str = ""
    transcript: str = ""
    audio_start_ms: float | None = None
    audio_end_ms: float | None = None
    session: _Session | None = None
    response: _Response | None = None
    error: _Problem | None = None
    antiphon: _Extension | None = None


class GaClient:
    """Translates for a server that speaks the OpenAI Realtime API, ours with its extensions or another."""

    assistant_first = False

    def __init__(self, voice: str | None = None, sound: Sound | None = None) -> None:
        self._voice = voice
        self._sound: Sound = sound or Pcm16()
        self._partial: dict[str, str] = {}
        self._read: Mapping[str, Callable[[_Event], Sequence[h.Happening]]] = {
            "session.created": self._session_created,
            "session.updated": lambda event: [h.SessionReady()],
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.committed": lambda event: [h.TurnEnded(event.item_id)],
            "conversation.item.input_audio_transcription.delta": self._partial_text,
            "conversation.item.input_audio_transcription.completed": self._final_text,
            "conversation.item.input_audio_transcription.failed": self._no_text,
            "response.created": self._reply_started,
            "response.output_audio_transcript.delta": self._word,
            "response.output_text.delta": self._word,
            "response.output_audio.delta": self._audio,
            "response.done": self._reply_done,
            "error": self._error,
        }

    def subprotocols(self, resume_token: str | None) -> Sequence[str]:
        """None at first, as openai-python does; a token travels here because a URL ends up in logs."""
        return [] if resume_token is None else ["realtime", f"antiphon-resume.{resume_token}"]

    def hello(self) -> Sequence[str]:
        """The server speaks first."""
        return []

    def configure(self) -> Sequence[str]:
        """One format both ways, a transcript of the user, and turns by meaning."""
        form = self._sound.name
        hear = {
            "format": form,
            "transcription": {"model": "default"},
            "turn_detection": {"type": "semantic_vad"},
        }
        say = {"format": form} if self._voice is None else {"format": form, "voice": self._voice}
        session = {"type": "realtime", "audio": {"input": hear, "output": say}}
        return [_encode({"type": "session.update", "session": session})]

    def append(self, pcm: bytes) -> Sequence[str]:
        """What is ready of it."""
        return [
            _encode({"type": "input_audio_buffer.append", **fields}) for fields in self._sound.appends(pcm)
        ]

    def understand(self, message: str | bytes) -> Sequence[h.Happening]:
        """One happening for an event that matters, none for one that does not."""
        try:
            event = msgspec.json.decode(message, type=_Event)
        except msgspec.DecodeError as error:
            return [h.ServerError(BAD_MESSAGE, f"the server sent an event that does not fit: {error}")]
        read = self._read.get(event.type)
        return read(event) if read is not None else []

    def _session_created(self, event: _Event) -> Sequence[h.Happening]:
        session = event.session or _Session()
        extension = session.antiphon or _Extension()
        return [h.SessionOpened(session.id, extension.resume_token)]

    def _speech_started(self, event: _Event) -> Sequence[h.Happening]:
        start_ms = event.audio_start_ms
        return [h.SpeechStarted(None if start_ms is None else start_ms / 1000)]

    def _speech_stopped(self, event: _Event) -> Sequence[h.Happening]:
        end_ms = event.audio_end_ms
        return [h.SpeechStopped(None if end_ms is None else end_ms / 1000)]

    def _partial_text(self, event: _Event) -> Sequence[h.Happening]:
        text = self._partial.get(event.item_id, "") + event.delta
        self._partial[event.item_id] = text
        return [h.UserText(event.item_id, text, final=False)]

    def _final_text(self, event: _Event) -> Sequence[h.Happening]:
        self._partial.pop(event.item_id, None)
        return [h.UserText(event.item_id, event.transcript.strip(), final=True)]

    def _no_text(self, event: _Event) -> Sequence[h.Happening]:
        return [h.TurnLost(event.item_id, _words(event.error, "the server gave no reason"))]

    def _reply_started(self, event: _Event) -> Sequence[h.Happening]:
        return [h.ReplyStarted(event.response.id)] if event.response is not None else []

    def _word(self, event: _Event) -> Sequence[h.Happening]:
        return [h.ReplyWord(event.response_id, event.delta)]

    def _audio(self, event: _Event) -> Sequence[h.Happening]:
        sizes = event.antiphon.packets if event.antiphon else None
        try:
            pcm = self._sound.heard(event.delta, sizes)
        except ValueError as error:
            return [h.ServerError(BAD_MESSAGE, str(error))]
        return [h.ReplyAudio(event.response_id, pcm)]

    def _reply_done(self, event: _Event) -> Sequence[h.Happening]:
        response = event.response
        if response is None:
            return []
        details = response.status_details or _StatusDetails()
        reason = _words(details.error, details.reason or "")
        return [h.ReplyDone(response.id, response.status or "completed", reason, _stages(response.antiphon))]

    def _error(self, event: _Event) -> Sequence[h.Happening]:
        problem = event.error or _Problem()
        refused = problem.type == "invalid_request_error"
        return [
            h.ServerError(
                problem.code or problem.type or "", _words(problem, "an error without words"), refused
            )
        ]


def _encode(event: Mapping[str, object]) -> str:
    return msgspec.json.encode(event).decode()


def _words(problem: _Problem | None, otherwise: str) -> str:
    return problem.message if problem is not None and problem.message else otherwise


def _stages(extension: _Extension | None) -> dict[str, float]:
    if extension is None:
        return {}
    stages = {
        "llm_first_token_ms": extension.llm_first_token_ms,
        "tts_first_audio_ms": extension.tts_first_audio_ms,
    }
    return {name: ms for name, ms in stages.items() if ms is not None}
