"""The Unmute dialect, client side: Ogg-Opus both ways, no ids, and an assistant that speaks first.

The wire names neither turns nor replies, so they are counted here. A user's turn begins with the first word or
`speech_started`, and ends with `speech_stopped`. A reply ends with `response.audio.done`, or cut short by
`unmute.interrupted_by_vad` or by the next `response.created`.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence

import msgspec

from cli import happenings as h
from cli.ogg_opus import NotOgg, OggOpusReader, OggOpusWriter

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."

RESUME_PROTOCOL = "antiphon-resume."

BAD_MESSAGE = "bad_server_message"


class _Problem(msgspec.Struct):
    type: str = ""
    message: str = ""
    code: str | None = None


class _Extension(msgspec.Struct):
    resume_token: str | None = None


class _Session(msgspec.Struct):
    id: str | None = None
    antiphon: _Extension | None = None


class _Event(msgspec.Struct):
    type: str
    delta: str = ""
    session: _Session | None = None
    error: _Problem | None = None


class UnmuteClient:
    """Translates for a server that speaks to Unmute's page."""

    assistant_first = True

    def __init__(self, voice: str | None = None) -> None:
        self._voice = voice
        self._writer = OggOpusWriter()
        self._reader = OggOpusReader()
        self._begun = False
        self._resumable = False
        self._turns = self._replies = 0
        #: The words of the turn; None while no turn is open.
        self._words: str | None = None
        self._turn_open = self._reply_open = False
        self._said = ""
        self._read: Mapping[str, Callable[[_Event], list[h.Happening]]] = {
            "session.updated": self._session_updated,
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "conversation.item.input_audio_transcription.delta": self._user_word,
            "response.created": self._reply_started,
            "unmute.response.text.delta.ready": self._word_ready,
            "response.text.delta": self._word_said,
            "response.audio.delta": self._audio,
            "response.audio.done": lambda event: self._end_reply("completed"),
            "unmute.interrupted_by_vad": lambda event: self._end_reply("cancelled"),
            "error": self._error,
        }

    def subprotocols(self, resume_token: str | None) -> Sequence[str]:
        """Exactly this one names the dialect."""
        return ["realtime"] if resume_token is None else ["realtime", RESUME_PROTOCOL + resume_token]

    def hello(self) -> Sequence[str]:
        """Unmute opens no session of itself: it waits for this. A session taken up again needs no second one."""
        if self._resumable:
            return []
        session: dict[str, object] = {
            "instructions": {"type": "constant", "text": INSTRUCTIONS},
            "allow_recording": False,
        }
        if self._voice is not None:
            session["voice"] = self._voice
        return [_encode({"type": "session.update", "session": session})]

    def configure(self) -> Sequence[str]:
        """All was said in the first message."""
        return []

    def append(self, pcm: bytes) -> Sequence[str]:
        """A page for each packet; the stream's two headers go before the first."""
        pages = [] if self._begun else self._writer.head()
        self._begun = True
        return [
            _encode({"type": "input_audio_buffer.append", "audio": base64.b64encode(page).decode()})
            for page in (*pages, self._writer.page(pcm))
        ]

    def understand(self, message: str | bytes) -> Sequence[h.Happening]:
        """What the event says, with the turn and reply it must belong to."""
        try:
            event = msgspec.json.decode(message, type=_Event)
        except msgspec.DecodeError as error:
            return [h.ServerError(BAD_MESSAGE, f"the server sent an event that does not fit: {error}")]
        read = self._read.get(event.type)
        return read(event) if read is not None else []

    def _session_updated(self, event: _Event) -> list[h.Happening]:
        session = event.session or _Session()
        token = session.antiphon.resume_token if session.antiphon is not None else None
        self._resumable = token is not None
        return [h.SessionOpened(session.id, token), h.SessionReady()]

    # The user's turns.

    @property
    def _turn(self) -> str:
        return f"turn-{self._turns}"

    def _begin_turn(self) -> None:
        if not self._turn_open:
            self._turns += 1
            self._turn_open = True
            self._words = ""

    def _speech_started(self, event: _Event) -> list[h.Happening]:
        self._begin_turn()
        return [h.SpeechStarted()]

    def _user_word(self, event: _Event) -> list[h.Happening]:
        """A word after `speech_stopped` still belongs to that turn, until the reply begins."""
        if not event.delta.strip():
            return []
        if self._words is None:
            self._begin_turn()
        self._words = _joined(self._words or "", event.delta)
        return [h.UserText(self._turn, self._words, final=False)]

    def _speech_stopped(self, event: _Event) -> list[h.Happening]:
        """Without an open turn this is the silence that Unmute puts in the user's mouth: no turn of ours."""
        if not self._turn_open:
            return []
        self._turn_open = False
        return [h.SpeechStopped(), h.TurnEnded(self._turn)]

    # The assistant's replies.

    @property
    def _reply(self) -> str:
        return f"reply-{self._replies}"

    def _reply_started(self, event: _Event) -> list[h.Happening]:
        happenings = self._end_reply("cancelled")
        if self._words is not None and not self._turn_open:
            happenings.append(h.UserText(self._turn, self._words, final=True))
            self._words = None
        self._replies += 1
        self._reply_open = True
        self._said = ""
        return [*happenings, h.ReplyStarted(self._reply)]

    def _word_ready(self, event: _Event) -> list[h.Happening]:
        return [h.ReplyWord(self._reply, "")] if self._reply_open else []

    def _word_said(self, event: _Event) -> list[h.Happening]:
        if not self._reply_open:
            return []
        longer = _joined(self._said, event.delta)
        word, self._said = longer[len(self._said) :], longer
        return [h.ReplyWord(self._reply, word)]

    def _audio(self, event: _Event) -> list[h.Happening]:
        try:
            pcm = self._reader.read(base64.b64decode(event.delta, validate=True))
        except (binascii.Error, NotOgg) as error:
            self._reader = OggOpusReader()
            return [h.ServerError(BAD_MESSAGE, f"the server sent audio that is not Ogg-Opus: {error}")]
        return [h.ReplyAudio(self._reply, pcm)] if self._reply_open else []

    def _end_reply(self, status: str) -> list[h.Happening]:
        if not self._reply_open:
            return []
        self._reply_open = False
        return [h.ReplyDone(self._reply, status)]

    def _error(self, event: _Event) -> list[h.Happening]:
        problem = event.error or _Problem()
        refused = problem.type == "invalid_request_error"  # after a fatal one the close code says more
        return [
            h.ServerError(problem.code or problem.type, problem.message or "an error without words", refused)
        ]


def _encode(event: Mapping[str, object]) -> str:
    return msgspec.json.encode(event).decode()


def _joined(text: str, word: str) -> str:
    """Unmute's words come without the spaces between them."""
    spaced = not text or text[-1].isspace() or word[:1].isspace()
    return text + word if spaced else f"{text} {word}"
