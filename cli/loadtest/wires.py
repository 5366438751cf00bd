"""The two dialects as a talker needs them: what to send, and the least that has to be read of what comes.

Messages are made once where that is possible; of a server's message only its type is read, and the length of audio.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol

import msgspec

from cli.loadtest.plan import Speech
from cli.ogg_pages import PAGE, OggPages
from cli.sound import PACKET_SAMPLES, RATE
from cli.url import with_extensions
from config.messages import AudioFormat

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."

#: Errors that say: wait, there is a place for you soon.
WAIT_CODES = frozenset({"stage_waiting", "server_full", "queued"})


class Kind(Enum):
    """What a server can say, as far as talkers care."""

    OPENED = auto()
    READY = auto()
    QUEUED = auto()  #: wait for a place
    TURN_ENDED = auto()
    WORDS = auto()  #: of the user, more may follow
    TRANSCRIPT = auto()  #: final
    REPLY = auto()  #: one begins
    TEXT = auto()  #: of the reply
    AUDIO = auto()
    DONE = auto()  #: the reply is complete
    CANCELLED = auto()  #: the reply was cut short
    FAILED = auto()  #: the reply will not come
    WARNING = auto()
    ERROR = auto()
    OTHER = auto()


class Heard(NamedTuple):
    """A message of the server. `code` and `words`: of an error."""

    kind: Kind
    samples: int = 0
    code: str = ""
    words: str = ""


class Wire(Protocol):
    """One conversation's dialect. It may keep state, but owns no socket and no clock."""

    #: Whether the user waits for the assistant's first words.
    assistant_first: bool
    #: Whether the dialect has an event for the final transcript.
    says_final: bool

    def hello(self) -> Sequence[bytes]:
        """What is sent as soon as the line is open."""

    def configure(self) -> Sequence[bytes]:
        """What is sent once the session is opened."""

    def append(self, packet: list[bytes]) -> bytes:
        """The message that carries a packet which `prepared` made ready."""

    def read(self, message: bytes) -> Heard:
        """What the server says."""


class _Problem(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    code: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    status_details: msgspec.Raw = msgspec.Raw(b"null")


class _Ours(msgspec.Struct):
    packets: list[int] = []


class _Event(msgspec.Struct):
    type: str
    delta: str = ""
    response: _Response | None = None
    error: _Problem | None = None
    antiphon: _Ours | None = None


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.encode

_BROKEN = Heard(Kind.ERROR, code="bad_server_message", words="the server sent what is no event")


def _append(audio: bytes) -> bytes:
    return b'{"type":"input_audio_buffer.append","audio":"%s"}' % base64.b64encode(audio)


def _append_packets(packets: Sequence[bytes]) -> bytes:
    """Of Opus, which has an extension for more than one."""
    sizes = b",".join(b"%d" % len(packet) for packet in packets)
    return b'%s,"antiphon":{"packets":[%s]}}' % (_append(b"".join(packets))[:-1], sizes)


def _problem(event: _Event) -> Heard:
    problem = event.error or _Problem()
    code = problem.code or problem.type or "unnamed"
    if code in WAIT_CODES:
        return Heard(Kind.QUEUED, code=code, words=problem.message or "")
    kind = Kind.WARNING if problem.type == "warning" else Kind.ERROR
    return Heard(kind, code=code, words=problem.message or "")


class GaWire:
    """The OpenAI Realtime API, in any format. Packets are whole messages already."""

    assistant_first = False
    says_final = True

    KINDS: Mapping[str, Kind] = {
        "session.created": Kind.OPENED,
        "session.updated": Kind.READY,
        "antiphon.queued": Kind.QUEUED,
        "input_audio_buffer.committed": Kind.TURN_ENDED,
        "conversation.item.input_audio_transcription.delta": Kind.WORDS,
        "conversation.item.input_audio_transcription.completed": Kind.TRANSCRIPT,
        "response.created": Kind.REPLY,
        "response.output_audio_transcript.delta": Kind.TEXT,
        "response.output_text.delta": Kind.TEXT,
    }
    STATUSES: Mapping[str | None, Kind] = {
        "completed": Kind.DONE,
        "incomplete": Kind.DONE,
        "cancelled": Kind.CANCELLED,
    }

    def __init__(self, audio_format: AudioFormat = "pcm16") -> None:
        self._format = audio_format

    def hello(self) -> Sequence[bytes]:
        """The server speaks first."""
        return ()

    def configure(self) -> Sequence[bytes]:
        """One format both ways, a transcript of the user, and turns by meaning."""
        pcm = {"type": "audio/pcm", "rate": RATE}
        form = pcm if self._format == "pcm16" else {"type": f"audio/{self._format}"}
        turns = {"type": "semantic_vad"}
        hear = {"format": form, "transcription": {"model": "default"}, "turn_detection": turns}
        session = {"type": "realtime", "audio": {"input": hear, "output": {"format": form}}}
        return (_encode({"type": "session.update", "session": session}),)

    def append(self, packet: list[bytes]) -> bytes:
        """The message it is."""
        return packet[0]

    def read(self, message: bytes) -> Heard:
        """By its type."""
        try:
            event = _decode(message)
        except msgspec.DecodeError:
            return _BROKEN
        kind = event.type
        if kind == "response.output_audio.delta":
            return Heard(Kind.AUDIO, self._length(event))
        if kind == "response.done":
            response = event.response or _Response()
            words = bytes(response.status_details).decode(errors="replace")
            return Heard(self.STATUSES.get(response.status, Kind.FAILED), words=words)
        if kind == "error":
            return _problem(event)
        return Heard(self.KINDS.get(kind, Kind.OTHER))

    def _length(self, event: _Event) -> int:
        """Samples at 24 kHz; nothing is decoded, and packets of Opus are taken for 20 ms."""
        if self._format == "opus":
            return len(event.antiphon.packets) * PACKET_SAMPLES if event.antiphon else 0
        size = len(event.delta) * 3 // 4 - event.delta[-2:].count("=")
        return size // 2 if self._format == "pcm16" else 3 * size


class UnmuteWire:
    """Unmute's own: Opus in Ogg, and an assistant that speaks first."""

    assistant_first = True
    says_final = False

    KINDS: Mapping[str, Kind] = {
        "session.updated": Kind.READY,
        "input_audio_buffer.speech_stopped": Kind.TURN_ENDED,
        "conversation.item.input_audio_transcription.delta": Kind.WORDS,
        "response.created": Kind.REPLY,
        "unmute.response.text.delta.ready": Kind.TEXT,
        "response.text.delta": Kind.TEXT,
        "response.audio.done": Kind.DONE,
        "unmute.interrupted_by_vad": Kind.CANCELLED,
    }

    def __init__(self, packet_samples: int) -> None:
        self._samples = packet_samples
        self._pages = OggPages()
        self._head = b"".join(self._pages.head())
        self._granule = 0
        self._rest = b""

    def hello(self) -> Sequence[bytes]:
        """Nothing begins before this."""
        instructions = {"type": "constant", "text": INSTRUCTIONS}
        session = {"instructions": instructions, "allow_recording": False}
        return (_encode({"type": "session.update", "session": session}),)

    def configure(self) -> Sequence[bytes]:
        """All was said in the first message."""
        return ()

    def append(self, packet: list[bytes]) -> bytes:
        """A page; the stream's two headers go before the first."""
        page = self._pages.page(packet, self._samples)
        head, self._head = self._head, b""
        return _append(head + page)

    def read(self, message: bytes) -> Heard:
        """By its type."""
        try:
            event = _decode(message)
        except msgspec.DecodeError:
            return _BROKEN
        if event.type == "response.audio.delta":
            return self._audio(event.delta)
        if event.type == "error":
            return _problem(event)
        return Heard(self.KINDS.get(event.type, Kind.OTHER))

    def _audio(self, delta: str) -> Heard:
        try:
            pages = self._rest + base64.b64decode(delta)
        except binascii.Error:
            return _BROKEN
        return Heard(Kind.AUDIO, self._length(pages))

    def _length(self, pages: bytes) -> int:
        """New samples by the granule position of the last page, whose header must be whole; nothing is decoded."""
        at = pages.rfind(b"OggS")
        if at < 0 or len(pages) < at + PAGE.size:
            self._rest = pages[-PAGE.size :] if at < 0 else pages[at:]
            return 0
        self._rest = b""
        granule = int.from_bytes(pages[at + 6 : at + 14], "little", signed=True)
        samples = (granule - self._granule) * RATE // 48_000
        self._granule = granule
        return max(0, samples)


#: Subprotocols that name the dialect to a server.
SUBPROTOCOLS: Mapping[str, tuple[str, ...]] = {"ga": (), "unmute": ("realtime",)}


def address(url: str, dialect: str) -> str:
    """Where to connect: GA says only to who asks for our extensions that it lets them wait. Other servers ignore it."""
    return with_extensions(url) if dialect == "ga" else url


def wire(dialect: str, speech: Speech) -> Wire:
    """For one conversation."""
    return UnmuteWire(speech.packet_samples) if dialect == "unmute" else GaWire(speech.format)


def prepared(dialect: str, speech: Speech) -> Speech:
    """With packets as `append` wants them: for GA, all messages are made here, once for all talkers."""
    if dialect != "ga":
        return speech
    message = _append_packets if speech.format == "opus" else lambda packet: _append(b"".join(packet))
    for utterance in speech.utterances:
        utterance.packets = [[message(packet)] for packet in utterance.packets]
    speech.silence = [message(speech.silence)]
    return speech
