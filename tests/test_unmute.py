"""The Unmute dialect: its handshake, its replies, its mistakes. Sans-IO: the test is the session and the client."""

import base64
import io
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import pytest
import soundfile

from cli import happenings as h
from cli.sound import PACKET_SAMPLES
from cli.unmute_client import UnmuteClient
from config import settings, voices
from config.errors import ClientError, StageFailed, StageWaiting
from config.messages import Transcript
from config.settings import SAMPLE_RATE
from config.voices import Instructions
from tests.unmute_bench import (
    SMALLTALK,
    USUAL,
    append,
    casting,
    kinds,
    new,
    outcome,
    packets,
    read,
    speech,
    update,
)
from web import characters, roles
from web.casting import Part, play
from web.dialects.base import AppendAudio, Configure
from web.dialects.unmute import MAX_APPEND, UnmuteDialect, last_words
from web.handshake import Handshake, dialect_name
from web.ogg import OggOpusReader, OggOpusWriter
from web.transcript import AppendOnly

USER_WORDS = "conversation.item.input_audio_transcription.delta"


# --- a strict client: what Unmute's load tester demands of every event, and of their order


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    event_id: str


class _Chat(msgspec.Struct):
    role: str
    content: str


class _Config(msgspec.Struct):
    allow_recording: bool
    instructions: dict[str, Any] | None = None
    voice: str | None = None


class SessionUpdated(_Event, tag="session.updated"):
    session: _Config


class _Response(msgspec.Struct):
    status: str
    voice: str
    chat_history: list[_Chat]
    object: str


class ResponseCreated(_Event, tag="response.created"):
    response: _Response


class TextReady(_Event, tag="unmute.response.text.delta.ready"):
    delta: str


class TextDelta(_Event, tag="response.text.delta"):
    delta: str


class TextDone(_Event, tag="response.text.done"):
    text: str


class AudioDelta(_Event, tag="response.audio.delta"):
    delta: bytes


class AudioDone(_Event, tag="response.audio.done"):
    pass


class UserWords(_Event, tag=USER_WORDS):
    delta: str
    start_time: float


class SpeechStarted(_Event, tag="input_audio_buffer.speech_started"):
    pass


class SpeechStopped(_Event, tag="input_audio_buffer.speech_stopped"):
    pass


class Interrupted(_Event, tag="unmute.interrupted_by_vad"):
    pass


class _Args(msgspec.Struct):
    chat_history: list[_Chat]
    debug_dict: dict[str, Any]


class Outputs(_Event, tag="unmute.additional_outputs"):
    args: _Args


class _Problem(msgspec.Struct):
    type: str
    message: str


class Error(_Event, tag="error"):
    error: _Problem


SERVER_EVENTS = (
    SessionUpdated | ResponseCreated | TextReady | TextDelta | TextDone | AudioDelta | AudioDone | UserWords
    | SpeechStarted | SpeechStopped | Interrupted | Outputs | Error
)  # fmt: skip


class LoadTester:
    """Dies of an unknown event, of a phase out of order, and of a reply's end before its history."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(SERVER_EVENTS).decode
        self._phases: list[str] = []
        self._speaking_since: float | None = None
        self._chat: list[_Chat] = []
        self.user_asked: list[str] = []
        self.answers: list[str] = []
        self.audio = b""

    def hear(self, messages: list[str]) -> None:
        for message in messages:
            self._hear(self._decode(message))

    def _hear(self, event: Any) -> None:
        match event:
            case ResponseCreated():
                assert self._phases == []
                self._phases.append("created")
                said = [message.content for message in self._chat if message.role == "user"]
                self.user_asked += said[-1:]
            case TextReady():
                self._phases += ["text"] if self._phases == ["created"] else []
            case AudioDelta(delta=pages):
                self._phases += ["audio"] if self._phases[-1] == "text" else []
                self.audio += pages
            case AudioDone():
                assert self._phases == ["created", "text", "audio"]
                assert self._chat[-1].role == "assistant"
                self.answers.append(self._chat[-1].content)
                self._phases = []
                self._speaking_since = 0.0
            case UserWords():
                assert self._speaking_since is not None, "words before anybody spoke"
            case Outputs(args=args):
                self._chat = args.chat_history


def test_the_handshake_of_the_load_tester():
    dialect, tester = new(), LoadTester()
    assert dialect_name(Handshake({}, ("realtime",), authorized=False)) == dialect.name
    assert dialect.speaks_first
    assert dialect.greeting(resumed=False, token="s.t") == []
    stream = OggOpusWriter(1)
    silence = append(stream.head() + stream.pages(packets(2)))
    assert dialect.receive(update(SMALLTALK)) == [Configure()]
    (heard,) = dialect.receive(silence)
    assert isinstance(heard, AppendAudio)
    assert heard.samples == 960

    tester.hear(dialect.configured())
    tester.hear(dialect.reply_started(1, USUAL, again=False))
    tester.hear(dialect.reply_words(1, ["Good ", "day."]))
    tester.hear(dialect.reply_written(1, "Good day."))
    tester.hear(dialect.reply_audio(speech(1, (0, "Good "))))
    tester.hear(dialect.reply_audio(speech(1, (1, "day."))))
    tester.hear(dialect.reply_ended(outcome(1, "Good day.")))

    tester.hear(dialect.speech_began(24_000))
    tester.hear(dialect.partial_text(Transcript("bear or", 24_000, 48_000)))
    tester.hear(dialect.partial_text(Transcript("bear or shark", 24_000, 60_000)))
    tester.hear(dialect.speech_stopped(72_000))
    tester.hear(dialect.committed())
    tester.hear(dialect.partial_text(Transcript("bear or shark?", 24_000, 72_000, settled=True, final=True)))
    tester.hear(dialect.user_text("bear or shark?"))
    tester.hear(dialect.reply_started(2, USUAL, again=False))
    tester.hear(dialect.reply_words(2, ["Shark."]))
    tester.hear(dialect.reply_written(2, "Shark."))
    tester.hear(dialect.reply_audio(speech(2, (0, "Shark."))))
    tester.hear(dialect.reply_ended(outcome(2, "Shark.")))

    assert tester.answers == ["Good day.", "Shark."]
    assert tester.user_asked == ["bear or shark?"]
    heard_pcm, _ = soundfile.read(io.BytesIO(tester.audio))
    assert len(heard_pcm) == pytest.approx(12 * 480, abs=200)


def test_our_own_client_understands_a_conversation():
    """`antiphon talk` and the server, face to face."""
    dialect, client = new(), UnmuteClient(voice="v")
    (hello,) = client.hello()
    assert dialect.receive(hello) == [Configure()]
    assert dialect.wishes.voice == "v"
    said: list[h.Happening] = []

    def tell(messages: list[str]) -> None:
        for message in messages:
            said.extend(client.understand(message))

    tell(dialect.greeting(resumed=False, token="s.t"))
    tell(dialect.configured())
    heard = [
        request for _ in range(50) for raw in client.append(bytes(960)) for request in dialect.receive(raw)
    ]
    assert (
        sum(request.samples for request in heard if isinstance(request, AppendAudio)) == 50 * PACKET_SAMPLES
    )
    tell(dialect.reply_started(1, USUAL, again=False))
    tell(dialect.reply_words(1, ["Wel", "come ", "here."]))
    tell(dialect.reply_audio(speech(1, (0, "Welcome "), (1, "here."))))
    tell(dialect.reply_ended(outcome(1, "Welcome here.")))
    tell(dialect.speech_began(0))
    tell(dialect.partial_text(Transcript("how are", 0, 100)))
    tell(dialect.partial_text(Transcript("how are you", 0, 200)))
    tell(dialect.speech_stopped(300))
    tell(dialect.user_text("how are you doing"))
    tell(dialect.reply_started(2, USUAL, again=False))
    tell(dialect.reply_audio(speech(2, (0, "Fine "), (1, "thanks."))))
    tell(dialect.reply_ended(outcome(2, "Fine thanks.", heard="Fine", status="cancelled")))
    tell(dialect.error(StageWaiting("one moment")))
    assert client.subprotocols("s.t") == ["realtime", "antiphon-resume.s.t"]
    assert client.hello() == []
    pcm = [len(piece.pcm) // 2 for piece in said if isinstance(piece, h.ReplyAudio)]
    assert pcm == [4 * 480 - 156, 4 * 480]
    assert [piece for piece in said if not isinstance(piece, h.ReplyAudio)] == [
        h.SessionOpened("sess_0123456789abcdef", "s.t"),
        h.SessionReady(),
        h.ReplyStarted("reply-1"),
        h.ReplyWord("reply-1", ""),
        h.ReplyWord("reply-1", "Welcome"),
        h.ReplyWord("reply-1", " here."),
        h.ReplyDone("reply-1"),
        h.SpeechStarted(),
        h.UserText("turn-1", "how are", final=False),
        h.SpeechStopped(),
        h.TurnEnded("turn-1"),
        h.UserText("turn-1", "how are you doing", final=False),
        h.UserText("turn-1", "how are you doing", final=True),
        h.ReplyStarted("reply-2"),
        h.ReplyWord("reply-2", "Fine"),
        h.ReplyWord("reply-2", " thanks."),
        h.ReplyDone("reply-2", "cancelled"),
        h.ServerError("stage_waiting", "one moment"),
    ]


def test_an_interruption_leaves_what_was_heard_with_its_mark():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    dialect.user_text("tell me")
    dialect.reply_started(1, USUAL, again=False)
    events = read(dialect.reply_ended(outcome(1, "One two three.", heard="One two", status="cancelled")))
    assert [event["type"] for event in events] == ["unmute.additional_outputs", "unmute.interrupted_by_vad"]
    assert events[0]["args"]["chat_history"] == [
        {"role": "user", "content": "tell me"},
        {"role": "assistant", "content": "One two—"},
    ]


def test_the_system_prompt_is_shown_when_a_reply_begins():
    dialect = new()
    dialect.receive(update({**SMALLTALK, "instructions": {"type": "constant", "text": "You are a pirate."}}))
    dialect.user_text("hi")
    (created,) = read(dialect.reply_started(1, USUAL, again=False))
    response = created["response"]
    assert (response["object"], response["status"], response["voice"]) == (
        "realtime.response",
        "in_progress",
        "v.wav",
    )
    assert [message["role"] for message in response["chat_history"]] == ["system", "user"]
    assert response["chat_history"][0]["content"].endswith("You are a pirate.")


def test_an_update_changes_what_it_names():
    dialect = new()
    dialect.receive(
        update({"instructions": {"type": "quiz_show", "language": "fr/en"}, "allow_recording": True})
    )
    dialect.receive(update({"voice": "other", "allow_recording": True}))
    wishes = dialect.wishes
    assert (wishes.instructions, wishes.voice, wishes.language) == ("You: quiz_show", "other", "fr")


def test_a_quiz_that_goes_on_keeps_its_questions():
    parts = iter([Part("first draw", "v", "en"), Part("second draw", "v", "en")])
    dialect = UnmuteDialect("0123456789abcdef", 320, lambda instructions, voice: next(parts))
    for _ in range(2):
        dialect.receive(update({"instructions": {"type": "quiz_show"}, "allow_recording": True}))
    assert dialect.wishes.instructions == "first draw"
    dialect.receive(update({"instructions": {"type": "news"}, "allow_recording": True}))
    assert dialect.wishes.instructions == "second draw"


@pytest.mark.parametrize("kind", ["smalltalk", "guess_animal", "quiz_show", "news", "unmute_explanation"])
def test_every_kind_of_instructions_becomes_a_part(kind):
    cast = roles.cast(voices.load(settings.load("null").voices_file), settings.load("null"))
    noon = datetime(2026, 8, 1, 12, 0)
    first = cast[0].character
    part = play(cast, {"type": kind}, first.name, now=noon, dice=Random(1))
    assert (part.voice, part.language) == (cast[0].voice, first.language)
    assert part.prompt == characters.system_prompt(
        Instructions(type=kind, language=first.language), noon, Random(1)
    )
    own = play(cast, None, first.source.path_on_server, now=noon, dice=Random(1))
    assert own.prompt == characters.system_prompt(first.spoken, noon, Random(1))
    with pytest.raises(ClientError, match="there is no voice 'nobody'; voices: "):
        play(cast, {"type": kind}, "nobody", now=noon, dice=Random(1))


@pytest.mark.parametrize("language", [None, "en", "fr", "en/fr", "fr/en"])
@pytest.mark.parametrize("more", [{}, {"text": None}, {"text": ""}, {"text": "Be kind."}, {"unknown": 1}])
@pytest.mark.parametrize(
    "kind", ["constant", "smalltalk", "guess_animal", "quiz_show", "news", "unmute_explanation"]
)
def test_whatever_instructions_unmutes_clients_may_send_make_a_prompt(kind, more, language):
    cast = roles.cast(voices.load(settings.load("null").voices_file), settings.load("null"))
    wanted = {"type": kind, "language": language, **more}
    part = play(cast, wanted, "", now=datetime(2026, 8, 1, 12, 0), dice=Random(1))
    assert len(part.prompt) > len(characters.FRAME)
    assert part.language == (language or cast[0].character.language)[:2]
    assert ("Be kind." in part.prompt) is (more.get("text") == "Be kind.")


def test_ready_words_carry_the_space_before_them():
    dialect = new()
    said = [dialect.reply_words(1, words) for words in (["One ", "two "], ["three "], [" "], ["four."])]
    assert [event["delta"] for messages in said for event in read(messages)] == [
        "One two",
        " three",
        "  four.",
    ]


def test_the_users_silence_is_remembered_and_not_told():
    dialect = new()
    assert kinds(dialect.idle_timeout(0)) == ["input_audio_buffer.speech_stopped"]
    (outputs,) = read(dialect.user_text("..."))
    assert outputs["args"]["chat_history"] == [{"role": "user", "content": "..."}]


def test_a_noise_without_words_is_no_message():
    dialect = new()
    assert dialect.user_text("")
    assert dialect.snapshot()["history"] == []


def test_replies_are_one_stream_with_one_header():
    dialect = new()
    pages = [
        base64.b64decode(event["delta"])
        for number in (1, 2, 3)
        for event in read(dialect.reply_audio(speech(number)))
    ]
    assert [page.count(b"OpusHead") for page in pages] == [1, 0, 0]
    reader = OggOpusReader()
    assert [len(reader.read(page)) for page in pages] == [4, 4, 4]


# --- the user's words


#: Partials in a row, the final, and what is given.
TRANSCRIPTS = {
    "a word is given once two partials agree": (
        ["I", "I want", "I want to"], "I want to go", ["I", "want", "to go"],
    ),
    "words that still change are held back": (
        ["eye", "I won't", "I want"], "I want it", ["I", "want it"],
    ),
    "what was given is not taken back": (
        ["I wonder", "I wonder", "I wander"], "I wander off", ["I wonder", "off"],
    ),
    "without partials the final comes whole": ([], "hello there", ["hello there"]),
    "a shorter final gives nothing": (["one two", "one two"], "one", ["one two"]),
}  # fmt: skip


@pytest.mark.parametrize(("partials", "final", "expected"), TRANSCRIPTS.values(), ids=TRANSCRIPTS.keys())
def test_words_can_only_be_added(partials, final, expected):
    view = AppendOnly()
    given = [view.partial(Transcript(text, 0, to))[0] for to, text in enumerate(partials, 1)]
    assert [words for words in [*given, view.final(final)[0]] if words] == expected


def test_an_utterance_that_came_to_nothing_leaves_nothing_behind():
    view = AppendOnly()
    for to in (10, 20):
        view.partial(Transcript("hm well", 0, to))
    view.partial(Transcript("", 0, 30, final=True))
    assert view.partial(Transcript("now then", 40, 50))[0] == ""
    assert view.partial(Transcript("now then", 40, 60))[0] == "now then"


def test_a_late_partial_of_a_turn_that_is_over_is_nothing():
    view = AppendOnly()
    view.partial(Transcript("all of it", 0, 30, final=True))
    assert view.final("all of it")[0] == "all of it"
    assert view.partial(Transcript("all of", 0, 20))[0] == ""
    assert view.partial(Transcript("all of it", 0, 30))[0] == ""


def test_the_text_is_done_when_it_is_written_and_not_when_it_was_heard():
    dialect = new()
    dialect.reply_started(1, USUAL, again=False)
    (done,) = read(dialect.reply_written(1, "One two."))
    assert (done["type"], done["text"]) == ("response.text.done", "One two.")
    dialect.reply_audio(speech(1, (0, "One ")))
    assert kinds(dialect.reply_ended(outcome(1, "One two."))) == [
        "unmute.additional_outputs",
        "response.audio.done",
    ]


def test_words_say_from_when_on_they_were_said():
    dialect = new()
    told = []
    for text, to_s in (("one", 2.0), ("one two", 2.5), ("one two three", 3.0)):
        told += read(dialect.partial_text(Transcript(text, SAMPLE_RATE, int(to_s * SAMPLE_RATE))))
    told += read(dialect.user_text("one two three four"))[:1]
    assert [(event["delta"], event["start_time"]) for event in told] == [
        ("one", 1.0), ("two", 2.5), ("three four", 3.0),
    ]  # fmt: skip


# --- what people get wrong


def stream(count: int = 1) -> bytes:
    writer = OggOpusWriter(3)
    return writer.head() + writer.pages(packets(count))


def damaged(pages: bytes) -> bytes:
    return pages[:-1] + bytes([pages[-1] ^ 1])


MISTAKES = {
    "broken JSON": ("{", None, "not JSON"),
    "not an object": ("[1]", None, "JSON object"),
    "JSON nested too deeply": ('{"type":' + "[" * 50_000, None, "not JSON|nested"),
    "an unknown event": ('{"type": "response.create"}', "type", "no event type 'response.create'"),
    "an event without a type": ("{}", "type", "type"),
    "wrong base64": ('{"type": "input_audio_buffer.append", "audio": "#"}', "audio", "base64"),
    "audio that is no Ogg": (append(b"RIFF" + bytes(500)), "audio", "Ogg-Opus: these bytes are no Ogg page"),
    "a damaged page": (append(damaged(stream())[-60:]), "audio", "Ogg"),
    "Ogg that is not Opus": (append(OggOpusWriter(1)._page([b"\1vorbis"], 2)), "audio", "not mono or stereo Opus"),
    "minutes of audio at once": (append(stream(MAX_APPEND // 480 + 1)), "audio", "10 s"),
    "no consent given or refused": (update({"voice": "v"}), "session.allow_recording", "allow_recording"),
    "unknown instructions": (
        update({"instructions": {"type": "pirate"}, "allow_recording": False}),
        "session.instructions.type",
        "there are: constant, smalltalk, guess_animal, quiz_show, news, unmute_explanation",
    ),
    "instructions without a type": (
        update({"instructions": {}, "allow_recording": False}), "session.instructions.type", "there are: constant",
    ),
    "instructions too long": (
        update({"instructions": {"type": "constant", "text": "x" * 20_001}, "allow_recording": False}),
        "session.instructions.text",
        "at most 20000 characters",
    ),
    "the other dialect": (
        update({"type": "realtime", "instructions": "Be kind."}), "session", "dialect=ga",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "param", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_error_and_the_session_lives_on(raw, param, words):
    dialect = new()
    dialect.receive(update(SMALLTALK))
    with pytest.raises(ClientError, match=words) as raised:
        dialect.receive(raw)
    assert raised.value.param == param
    (told,) = dialect.error(raised.value)
    event = msgspec.json.decode(told, type=SERVER_EVENTS)
    assert event.error.type == "invalid_request_error"
    assert len(event.error.message) < 300
    (heard,) = dialect.receive(append(stream()))
    assert isinstance(heard, AppendAudio)
    assert dialect.wishes.voice == "v.wav"


def test_old_pages_from_before_are_dropped_in_silence():
    dialect, old = new(), OggOpusWriter(9)
    old.head()
    assert dialect.receive(append(old.pages(packets(2)))) == []
    assert dialect.receive(append(stream(2))) == [AppendAudio(packets(2), 960)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StageWaiting("soon"), "warning"),
        (StageFailed("gone"), "server_error"),
        (ClientError("no"), "invalid_request_error"),
    ],
)
def test_errors_say_whether_people_must_see_them(error, kind):
    (event,) = read(new().error(error))
    assert event["error"]["type"] == kind


@pytest.mark.parametrize(
    ("code", "told"),
    [(1000, []), (1012, []), (1013, ["all places are taken"]), (1011, ["all places are taken"])],
)
def test_an_end_that_is_no_goodbye_is_told_as_fatal(code, told):
    said = [
        msgspec.json.decode(raw, type=SERVER_EVENTS).error for raw in last_words(code, "all places are taken")
    ]
    assert [(error.type, error.message) for error in said] == [("fatal", message) for message in told]


def test_what_unmutes_recordings_hold_instead_of_audio_is_let_pass():
    raw = '{"type": "unmute.input_audio_buffer.append_anonymized", "number_of_samples": 480}'
    assert new().receive(raw) == []


# --- a later connection


def test_a_later_connection_goes_on():
    first, client_stream = new(), OggOpusWriter(4)
    first.receive(update(SMALLTALK))
    first.receive(append(client_stream.head()))
    first.user_text("hello")
    first.reply_started(1, USUAL, again=False)
    first.reply_audio(speech(1))
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()))

    later = new()
    later.restore(saved)
    assert later.wishes == first.wishes
    (back,) = read(later.greeting(resumed=True, token="s.t"))
    assert back["session"]["antiphon"] == {"resume_token": "s.t"}
    assert back["session"]["voice"] == "v.wav"
    assert later.receive(append(client_stream.pages(packets(1)))) == [AppendAudio(packets(1), 480)]
    assert later.reply_started(1, USUAL, again=True) == []
    (audio,) = read(later.reply_audio(speech(1)))
    assert b"OpusHead" in base64.b64decode(audio["delta"])
    (outputs, _) = read(later.reply_ended(outcome(1, "Hi.", status="cancelled")))
    assert [message["role"] for message in outputs["args"]["chat_history"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("handshake", "dialect"),
    [
        (Handshake({}, ("realtime",), authorized=False), "unmute"),
        (Handshake({}, ("realtime", "antiphon-resume.a.b"), authorized=False), "unmute"),
        (Handshake({}, ("realtime",), authorized=True), "ga"),
        (Handshake({"model": "gpt-realtime"}, ("realtime",), authorized=False), "ga"),
        (Handshake({}, ("realtime", "openai-insecure-api-key.k"), authorized=False), "ga"),
        (Handshake({}, (), authorized=False), "ga"),
        (Handshake({"dialect": "unmute"}, (), authorized=True), "unmute"),
        (Handshake({"dialect": "ga"}, ("realtime",), authorized=False), "ga"),
    ],
)
def test_the_handshake_decides_the_dialect(handshake, dialect):
    assert dialect_name(handshake) == dialect


@pytest.mark.parametrize(
    ("query", "extensions"),
    [({}, set()), ({"extensions": "antiphon"}, {"antiphon"}), ({"extensions": "x, antiphon,"}, {"antiphon"})],
)
def test_the_handshake_names_extensions_and_unknown_ones_mean_nothing(query, extensions):
    assert Handshake(query, (), authorized=False).extensions == extensions


def test_consent_to_recording_outlives_the_connection():
    dialect = new()
    assert not dialect.wishes.allow_recording
    dialect.receive(update({**SMALLTALK, "allow_recording": True}))
    later = new()
    later.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(dialect.snapshot())))
    assert dialect.wishes.allow_recording and later.wishes.allow_recording
    dialect.receive(update(SMALLTALK))
    assert not dialect.wishes.allow_recording


def test_consent_to_sound_is_given_each_time():
    dialect = new()
    dialect.receive(update({**SMALLTALK, "allow_recording": True, "antiphon": {"record_audio": True}}))
    assert dialect.wishes.record_audio
    (updated,) = read(dialect.configured())
    assert updated["session"]["antiphon"] == {"record_audio": True, "resume_token": ""}
    later = new()
    later.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(dialect.snapshot())))
    assert later.wishes.record_audio
    dialect.receive(update({**SMALLTALK, "allow_recording": True}))
    assert dialect.wishes.allow_recording and not dialect.wishes.record_audio


def test_instructions_that_leave_no_room_are_refused():
    dialect = UnmuteDialect("0123456789abcdef", 320, casting, context_tokens=512)
    with pytest.raises(ClientError, match="tokens") as raised:
        dialect.receive(
            update({"instructions": {"type": "constant", "text": "x" * 600}, "allow_recording": False})
        )
    assert raised.value.param == "session.instructions"
    assert not dialect.wishes.instructions
    assert dialect.receive(update(SMALLTALK)) == [Configure()]


def test_who_comes_back_in_the_middle_of_an_utterance_is_not_told_its_words_again():
    dialect, later = new(), new()
    for to in (1, 2):
        dialect.partial_text(Transcript("once upon a", 0, to))
    later.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(dialect.snapshot())))
    told = [
        event for to in (3, 4) for event in read(later.partial_text(Transcript("once upon a time", 0, to)))
    ]
    assert [event["delta"] for event in told] == ["time"]
