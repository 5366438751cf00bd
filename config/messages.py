"""What travels through Redis: msgpack of these structs, and nothing else.

What a version of them may change, `config/versions.py` says.

Positions are *session samples* (24 kHz, counted from the session's first sample) in everything the STT says, and
*reply samples* (24 kHz, counted from the reply's first sample) in everything the TTS says.
"""

from typing import Annotated, Any, Literal

import msgspec

from config.errors import ClientError, VersionRefused
from config.versions import Envelope, decode_envelope, note_dropped, refusal, understands

#: No text of one message is longer; a reply of 500 words is about 3 kB.
MAX_TEXT = 20_000

AudioFormat = Literal["pcm16", "pcmu", "pcma", "opus"]
"""16 bits, little-endian, at 24 kHz; G.711 by µ-law and A-law, at 8 kHz; raw packets at 24 kHz. All mono."""

#: What a client may send in one message is the largest packet; a step makes four, the end of a clause some more.
Packet = Annotated[bytes, msgspec.Meta(max_length=1 << 18)]
Packets = Annotated[list[Packet], msgspec.Meta(max_length=1024)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]

#: More audio before a voice is not kept.
MAX_PREFIX_MS = 5_000

#: The longest prompt: system message, history, and what they said.
MAX_MESSAGES = 1000


class Message(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """A tagged tuple on the wire."""


# --- in:{sid}, web -> stt


class Audio(Message, tag="audio"):
    """Packets, the first of them at `pos`."""

    pos: int
    packets: Packets
    received: float
    """Unix time at which the web had the last of it."""
    format: AudioFormat | None = None
    """Clients may change it; None: as Listen has it."""


class Commit(Message, tag="commit"):
    """The utterance ends at `pos`: say what it was."""

    pos: int


class Clear(Message, tag="clear"):
    """Forget what was said before `pos`."""

    pos: int


class Retune(Message, tag="retune"):
    """From `pos` on, voice is told from noise by these; None: as the engine was set up."""

    pos: int
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    """Probability from which sound is voice."""
    prefix_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_PREFIX_MS)] | None = None
    """Audio before the onset of voice that belongs to what is said."""


class End(Message, tag="end"):
    """The session is over."""


InEntry = Audio | Commit | Clear | Retune | End


# --- stt -> web: facts


class Claimed(Message, tag="claimed"):
    """First message of every epoch: who works on it, from which audio or word on."""

    worker: str


class VoiceStarted(Message, tag="voice_started"):
    """Sustained voice; its onset was at `at`."""

    at: int


class VoiceEnded(Message, tag="voice_ended"):
    """The voice stopped at `at`; a pause has begun."""

    at: int


class Pause(Message, tag="pause"):
    """Silence since `at`, `ms` long now; the turn is over with probability `p_end`."""

    at: int
    ms: int
    p_end: float


class Transcript(Message, tag="transcript"):
    """What is understood of the open utterance, begun at `start`, up to `to`. Replaces what was said of it before.

    settled: all voice up to `to` was decoded, and none came since. final: the utterance is closed.
    """

    text: Text
    start: int
    to: int
    settled: bool = False
    final: bool = False
    confidence: float = 1.0
    """How sure the recogniser is of these words, from 0 to 1; noise makes it say words, too."""


# --- functions, in prompts and answers


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may ask for."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    description: Text = ""
    parameters: dict[str, Any] = {}
    """JSON schema of its arguments."""


class ToolCall(msgspec.Struct, frozen=True):
    """The model asks for a function; `arguments` is JSON, as the model wrote it."""

    id: Annotated[str, msgspec.Meta(max_length=200)]
    name: Annotated[str, msgspec.Meta(max_length=64)]
    arguments: Text


# --- llm -> web and tts


class Words(Message, tag="words"):
    """Whole words of the reply, each with the space that follows it; `index` is the first one's number."""

    index: int
    words: Annotated[list[Text], msgspec.Meta(max_length=MAX_TEXT)]
    said: float
    """Unix time at which the LLM gave the first of them."""
    filler: bool = False
    """They bridge a wait: heard, and no part of what the model said."""


class TextDone(Message, tag="text_done"):
    """The reply's text is complete: `words` in all."""

    words: int
    reason: Literal["stop", "length", "cut"]
    input_tokens: int = 0
    output_tokens: int = 0


#: More calls of one reply are not taken.
MOST_CALLS = 64


class Called(Message, tag="called"):
    """The model asks for a function; `index` is the number of the call in its reply."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=MOST_CALLS)]
    call: ToolCall


class Consulting(Message, tag="consulting"):
    """The model asked for functions of the server's own, which run now, all at once."""

    calls: Annotated[list[ToolCall], msgspec.Meta(min_length=1, max_length=MOST_CALLS)]
    patience_s: float
    """They are over, or given up, by then."""


class Consulted(Message, tag="consulted"):
    """What those of the newest Consulting gave, in their order. The model goes on."""

    results: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=MOST_CALLS)]


# --- tts -> web


class SpokenWord(msgspec.Struct, array_like=True, frozen=True):
    """Word number `index` of the reply sounds from `start` to `stop`."""

    index: int
    start: int
    stop: int


class Speech(Message, tag="speech"):
    """Audio of the reply from `pos` on, `samples` long, in the session's output format.

    words: those whose sound begins in it. spoken: number of words whose sound is complete with it, the last of
    them at `spoken_to`: there a successor goes on.
    """

    pos: int
    samples: int
    packets: Packets
    words: Annotated[list[SpokenWord], msgspec.Meta(max_length=1024)]
    spoken: int
    spoken_to: int


class SpeechDone(Message, tag="speech_done"):
    """The reply's audio is complete: `samples` in all."""

    samples: int


class Failed(Message, tag="failed"):
    """The stage gives up on this reply or session; `reason` is for an operator's eyes."""

    code: str
    reason: str


# --- operator -> web


class Dismissed(Message, tag="dismissed"):
    """The session shall end; `reason` is told to its client. Published alone: epoch, reply and seq are 0."""

    reason: Annotated[str, msgspec.Meta(max_length=100)]


class Unknown(Message, tag="unknown"):
    """Stands for what another version says and this one does not know."""

    kind: str


Body = (
    Claimed
    | VoiceStarted
    | VoiceEnded
    | Pause
    | Transcript
    | Words
    | TextDone
    | Called
    | Consulting
    | Consulted
    | Speech
    | SpeechDone
    | Failed
    | Dismissed
    | Unknown
)


#: The bodies this version knows, by their tags.
KINDS = frozenset(str(kind.__struct_config__.tag) for kind in Body.__args__)


class Result(msgspec.Struct, array_like=True, frozen=True):
    """Envelope of everything on `out:` and in replay streams."""

    version: int
    stage: str
    epoch: int
    reply: int
    """Number of the reply; 0 for stt."""
    seq: int
    """From 1, without holes, in each epoch."""
    mark: int
    """stt: session sample from which a successor must listen again. Else 0."""
    body: Body


# --- ctl:{worker}, web or operator -> worker


class Cancel(Message, tag="cancel"):
    """Drop what you do for reply `reply` of the session."""

    sid: str
    reply: int


class Played(Message, tag="played"):
    """The client has heard the reply up to `pos`."""

    sid: str
    reply: int
    pos: int


class Drain(Message, tag="drain"):
    """Finish what is begun, hand the sessions over, and end."""


Command = Cancel | Played
"""What concerns a reply."""


# --- fields of sess:{sid}


class Listen(Message, tag="listen"):
    """How to listen to a session; `threshold` and `prefix_ms` as in Retune."""

    format: AudioFormat
    language: str = "en"
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    prefix_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_PREFIX_MS)] | None = None


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a prompt. An assistant's may hold calls; the result of each is a message of role tool."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Annotated[str, msgspec.Meta(max_length=10 * MAX_TEXT)]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """role tool: the call that it answers."""


#: More functions are not taken.
MOST_TOOLS = 128


class Order(Message, tag="order"):
    """What a reply needs: the prompt for the LLM, the voice and format for the TTS."""

    reply: int
    messages: Annotated[list[ChatMessage], msgspec.Meta(max_length=MAX_MESSAGES)]
    voice: str
    format: AudioFormat
    temperature: float = 0.3
    max_tokens: int = 256
    speed: float = 1.0
    language: str = "en"
    """How numbers and dates are read out."""
    say: Text = ""
    """What the reply says, word for word; the LLM is not asked then."""
    tools: Annotated[list[Tool], msgspec.Meta(max_length=MOST_TOOLS)] = []
    """Functions that the model may ask for."""
    tool_choice: Annotated[str, msgspec.Meta(max_length=64)] = "auto"
    """'auto', 'none', 'required', or the name of the function that must be called."""
    spoken: bool = True
    """There is a voice for it, and silence to be bridged."""


encode = msgspec.msgpack.Encoder().encode
decode_in = msgspec.msgpack.Decoder(InEntry).decode
decode_command = msgspec.msgpack.Decoder(Cancel | Played | Drain).decode
decode_listen = msgspec.msgpack.Decoder(Listen).decode
decode_order = msgspec.msgpack.Decoder(Order).decode


_decode_result = msgspec.msgpack.Decoder(Result).decode


def decode_result(data: bytes) -> Result:
    """A result. What only another version knows has the body Unknown, so that nothing is missing in the order.

    Raises VersionRefused for a version too far from ours, and msgspec.DecodeError for what is no result.
    """
    try:
        result = _decode_result(data)
    except msgspec.ValidationError:
        result = _unknown(decode_envelope(data))
    if not understands(result.version):
        raise VersionRefused(refusal("a worker", result.version))
    return result


def _unknown(envelope: Envelope) -> Result:
    """Raises msgspec.ValidationError for a kind that this version knows, and that does not fit."""
    kind, version = envelope.kind, envelope.version
    if kind in KINDS:
        raise msgspec.ValidationError(f"a result of kind {kind!r} does not fit")
    note_dropped(version, kind)
    head = (version, envelope.stage, envelope.epoch, envelope.reply, envelope.seq, envelope.mark)
    return Result(*head, Unknown(kind))


def require_text(text: str, param: str) -> str:
    """`text`, or ClientError when it is longer than any message may be."""
    if len(text) > MAX_TEXT:
        raise ClientError(f"{param} is longer than {MAX_TEXT} characters", param=param)
    return text
