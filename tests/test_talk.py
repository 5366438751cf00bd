"""`antiphon talk`: the turn book as tables, the GA translation, and the command against a scripted server."""

import base64
import contextlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from cli import happenings as h
from cli import sound
from cli.ga_client import GaClient
from cli.main import main
from cli.measure import TurnBook
from cli.ogg_opus import NotOgg, OggOpusReader, OggOpusWriter
from cli.ogg_pages import PRE_SKIP, OggPages
from cli.unmute_client import UnmuteClient
from tests.ports import free_port

Timed = tuple[float, h.Happening]


def tone(ms: int, level: float = 0.3, rate: int = sound.RATE) -> NDArray[np.float32]:
    return np.asarray(level * np.sin(np.arange(rate * ms // 1000) * 2 * np.pi * 500 / rate), dtype=np.float32)


def voice(ms: int) -> bytes:
    return (tone(ms) * 32767).astype("<i2").tobytes()


def quiet(ms: int) -> bytes:
    return bytes(2 * sound.RATE * ms // 1000)


def speech(start: float, end: float) -> list[Timed]:
    """Clear speech sent from start to end: one packet each 20 ms."""
    count = round((end - start) / sound.PACKET_S)
    return [(start + (n + 1) * sound.PACKET_S, h.PacketSent(loud=True, clear=True)) for n in range(count)]


def answer(reply: str, began: float, audio: float, done: float, status: str = "completed") -> list[Timed]:
    return [
        (began, h.ReplyStarted(reply)),
        (began, h.ReplyWord(reply, "Hi.")),
        (audio, h.ReplyAudio(reply, voice(1000))),
        (done, h.ReplyDone(reply, status)),
    ]


def booked(*happenings: Timed) -> TurnBook:
    book = TurnBook()
    for t, happening in happenings:
        book.note(happening, t)
    return book


ONE_TURN: list[Timed] = [*speech(0, 1), (1.4, h.TurnEnded("a")), (1.45, h.UserText("a", "hello", final=True))]
QUIET = h.PacketSent(loud=False)
#: Speech, a pause of 400 ms, and the next 100 ms of speech.
PAUSED: list[Timed] = [*speech(0, 1), *[(1.02 + n / 50, QUIET) for n in range(20)], *speech(1.4, 1.5)]
ANSWERED: list[Timed] = [
    (4.4, h.TurnEnded("a")),
    (4.5, h.UserText("a", "hello", True)),
    *answer("r", 4.6, 4.7, 5.7),
]
NO_TEXT: list[Timed] = [*speech(0, 1), (1.4, h.TurnEnded("a"))]

# Each row: what happened, and what the report of the last turn must then say.
FIGURES: dict[str, tuple[list[Timed], dict[str, object]]] = {
    "a plain turn is measured stage by stage": (
        [*ONE_TURN, *answer("r", 1.6, 1.7, 2.7)],
        {
            "user_text": "hello",
            "assistant_text": "Hi.",
            "voice_to_voice_ms": 700.0,
            "end_of_turn_ms": 400.0,
            "llm_first_token_ms": 200.0,
            "tts_first_audio_ms": 100.0,
            "reply_audio_s": 1.0,
            "late_audio_ms": 0.0,
            "interrupted": False,
        },
    ),
    "the server's own stage times win over the client's": (
        [
            *ONE_TURN,
            *answer("r", 1.6, 1.7, 2.7)[:-1],
            (2.7, h.ReplyDone("r", stages={"llm_first_token_ms": 55.0})),
        ],
        {"llm_first_token_ms": 55.0, "tts_first_audio_ms": 100.0},
    ),
    "silence at the head of a reply is no voice yet": (
        [*ONE_TURN, (1.6, h.ReplyAudio("r", quiet(80))), (1.7, h.ReplyAudio("r", voice(80)))],
        {"voice_to_voice_ms": 700.0},
    ),
    "quiet packets after the speech do not count as speech": (
        [
            *speech(0, 1),
            (1.02, h.PacketSent(loud=False)),
            (1.4, h.TurnEnded("a")),
            *answer("r", 1.6, 1.7, 2.7),
        ],
        {"voice_to_voice_ms": 700.0},
    ),
    "each turn has its own last speech": (
        [
            *ONE_TURN,
            *answer("r", 1.6, 1.7, 2.7),
            *speech(3, 4),
            (4.3, h.TurnEnded("b")),
            *answer("s", 4.4, 4.5, 5),
        ],
        {"voice_to_voice_ms": 500.0, "end_of_turn_ms": 300.0, "user_text": None},
    ),
    "a turn that ended in a pause of the recording is measured from that pause": (
        [
            *PAUSED,
            (1.55, h.SpeechStopped(1.03)),
            (1.55, h.TurnEnded("a")),
            *answer("r", 1.56, 1.6, 2.6),
        ],
        {"voice_to_voice_ms": 600.0, "end_of_turn_ms": 550.0},
    ),
    "what is heard a little after the server's end of the voice is its tail": (
        [*speech(0, 1), (1.4, h.SpeechStopped(0.9)), (1.4, h.TurnEnded("a")), *answer("r", 1.6, 1.7, 2.7)],
        {"voice_to_voice_ms": 700.0},
    ),
    "what went on after a turn's end belongs to the next": (
        [
            *PAUSED,
            (1.5, h.SpeechStopped(1.03)),
            (1.5, h.TurnEnded("a")),
            *[(1.52 + n / 50, QUIET) for n in range(9)],
            (1.9, h.SpeechStopped(1.5)),
            (1.9, h.TurnEnded("b")),
            *answer("r", 2, 2.1, 3),
        ],
        {"voice_to_voice_ms": 600.0, "end_of_turn_ms": 400.0},
    ),
    "a server that says not where the voice ended, while the recording goes on: nobody knows": (
        [*PAUSED, (1.51, h.TurnEnded("a")), *answer("r", 1.52, 1.53, 2.5)],
        {"voice_to_voice_ms": None, "end_of_turn_ms": None},
    ),
    "after a lost line server and client count different sound": (
        [
            *speech(0, 1),
            (1.0, h.LineBack(0)),
            (1.4, h.SpeechStopped(0.3)),
            (1.4, h.TurnEnded("a")),
            *answer("r", 1.6, 1.7, 2.7),
        ],
        {"voice_to_voice_ms": 700.0},
    ),
    "audio that comes in time is not late": (
        [
            *ONE_TURN,
            (2.0, h.ReplyAudio("r", voice(100))),
            (2.17, h.ReplyAudio("r", voice(100))),
            (2.27, h.ReplyAudio("r", voice(100))),
        ],
        {"late_audio_ms": 0.0},
    ),
    "each stall of the player is added": (
        [
            *ONE_TURN,
            (2.0, h.ReplyAudio("r", voice(100))),  # plays 2.08 to 2.18
            (2.2, h.ReplyAudio("r", voice(100))),  # 20 ms late, plays to 2.3
            (2.33, h.ReplyAudio("r", voice(100))),  # 30 ms late
        ],
        {"late_audio_ms": 50.0, "reply_audio_s": 0.3},
    ),
    "a barge-in marks the turn whose reply was cut": (
        [*ONE_TURN, *answer("r", 1.6, 1.7, 2.7, "cancelled")],
        {"interrupted": True, "reply_audio_s": 1.0},
    ),
    "audio after the end of a reply is nobody's": (
        [*ONE_TURN, *answer("r", 1.6, 1.7, 2.7, "cancelled"), (2.8, h.ReplyAudio("r", voice(500)))],
        {"reply_audio_s": 1.0},
    ),
    "a reply announced again after a lost line is the same reply; its words begin anew": (
        [
            *ONE_TURN,
            *answer("r", 1.6, 1.7, 0)[:-1],
            (1.8, h.LineLost(1006)),
            (1.9, h.ReplyStarted("r")),
            (1.9, h.ReplyWord("r", "Hi. There.")),
            (1.9, h.ReplyAudio("r", voice(1000))),
            (3, h.ReplyDone("r")),
            (3.1, h.ReplyDone("r", "cancelled")),
        ],
        {
            "assistant_text": "Hi. There.",
            "reply_audio_s": 2.0,
            "voice_to_voice_ms": 700.0,
            "interrupted": False,
        },
    ),
    "a turn that grew after its end is one turn, measured from its later end": (
        [
            *ONE_TURN,
            (1.5, h.ReplyStarted("r")),
            *speech(1.5, 2),
            (2.0, h.ReplyDone("r", "cancelled")),
            (2.3, h.TurnEnded("a")),
            (2.3, h.UserText("a", "hello you", final=True)),
            *answer("s", 2.4, 2.5, 3.5),
        ],
        {"user_text": "hello you", "end_of_turn_ms": 300.0, "voice_to_voice_ms": 500.0, "interrupted": False},
    ),
    "a transcript may come before its turn has ended": (
        [*speech(0, 1), (1.2, h.UserText("a", "early", final=True)), (1.4, h.TurnEnded("a"))],
        {"user_text": "early", "voice_to_voice_ms": None, "assistant_text": ""},
    ),
    "a failed reply that is tried again counts with its second": (
        [
            *ONE_TURN,
            (1.6, h.ReplyStarted("r")),
            (1.7, h.ReplyDone("r", "failed")),
            *answer("s", 1.8, 2.0, 3.0),
        ],
        {"voice_to_voice_ms": 1000.0, "assistant_text": "Hi."},
    ),
}


@pytest.mark.parametrize(("happenings", "expected"), FIGURES.values(), ids=FIGURES.keys())
def test_the_report_of_a_turn(happenings: list[Timed], expected: dict[str, object]) -> None:
    report = booked(*happenings).report()[-1]
    assert {name: report[name] for name in expected} == expected


# Each row: what happened, when we ask, whether all is settled, and how many failures there are.
SETTLED: dict[str, tuple[list[Timed], float, bool, int]] = {
    "an empty book is settled": ([], 0, True, 0),
    "speech without a turn is owed one": (speech(0, 1), 9, False, 1),
    "a click is owed nothing": (speech(0, 0.1), 9, True, 0),
    "noise far below the speech is owed nothing": ([(t / 50, h.PacketSent(True)) for t in range(99)], 9, True, 0),
    "what the server hears may become a turn": ([(1, h.SpeechStarted())], 9, False, 1),
    "what the server no longer hears was noise": ([(1, h.SpeechStarted()), (2, h.SpeechStopped())], 9, True, 0),
    "a turn is owed a reply": (ONE_TURN, 9, False, 1),
    "a reply that still speaks is not the end": ([*ONE_TURN, *answer("r", 1.6, 1.7, 0)[:-1]], 9, False, 0),
    "an answered turn is over": ([*ONE_TURN, *answer("r", 1.6, 1.7, 2.7)], 2.7, True, 0),
    "a turn in which nothing was understood is owed nothing": (
        [*NO_TEXT, (1.5, h.UserText("a", "", final=True))], 1.5, True, 0,
    ),
    "a transcript is waited for after the reply": ([*NO_TEXT, *answer("r", 1.6, 1.7, 2.7)], 3.0, False, 0),
    "but not for ever": ([*NO_TEXT, *answer("r", 1.6, 1.7, 2.7)], 5.0, True, 0),
    "a reply without a voice is a failure": ([*ONE_TURN, (2, h.ReplyDone("r", "failed", "no voice"))], 2, True, 1),
    "a turn the server could not understand is a failure": ([*NO_TEXT, (1.5, h.TurnLost("a", "?"))], 1.5, True, 1),
    "a turn that a later one overtook is over, and a failure": (
        [*ONE_TURN, *speech(2, 3), (3.1, h.TurnEnded("b")), (3.1, h.UserText("b", "x", True)), *answer("r", 4, 5, 6)],
        6, True, 1,
    ),
    "a user who goes on is answered by the later reply": (
        [*ONE_TURN, (1.6, h.ReplyStarted("q")), *speech(2, 3), (2.1, h.ReplyDone("q", "cancelled", "turn_detected")),
         (3.1, h.TurnEnded("b")), (3.1, h.UserText("b", "x", True)), *answer("r", 4, 5, 6)],
        6, True, 0,
    ),
    "speech after the last turn is owed a turn": (
        [*ONE_TURN, *answer("r", 1.6, 1.7, 2.7), *speech(3, 4)], 9, False, 1,
    ),
    "speech long before the first that was heard is a failure": (
        [*speech(0, 1), *[(0.0, QUIET)] * 100, *speech(3, 4), (4, h.SpeechStarted(3.0)), *ANSWERED], 6, True, 1,
    ),
    "a pause within a turn is no failure": (
        [*speech(0, 1), (1, h.SpeechStarted(0.2)), (2, h.SpeechStopped()), *[(0.0, QUIET)] * 100,
         *speech(3, 4), (4, h.SpeechStarted(3.0)), *ANSWERED], 6, True, 0,
    ),
    "a session that was forgotten takes its open turns along": (
        [(0, h.SessionOpened("one")), *ONE_TURN, (2, h.SessionOpened("two"))], 2, True, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("happenings", "t", "settled", "failures"), SETTLED.values(), ids=SETTLED.keys())
def test_when_a_conversation_is_settled(
    happenings: list[Timed], t: float, settled: bool, failures: int
) -> None:
    book = booked(*happenings)
    assert (book.settled(t), len(book.failures())) == (settled, failures)


LAST = [*ONE_TURN, *answer("r", 1.6, 1.7, 2.7)]


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ([(3.0, h.SpeechStarted()), *speech(3, 4)], "was heard, but its turn had not ended"),
        (
            [
                (3.0, h.SpeechStarted()),
                *speech(3, 4),
                (4.1, h.SpeechStopped()),
                (4.2, h.UserText("b", "hm", False)),
            ],
            "1000 ms of clear sound, from .* were understood ('hm'), but no turn came of them",
        ),
        (
            [(3.0, h.SpeechStarted()), *speech(3, 4), (4.1, h.SpeechStopped())],
            "were heard as speech, but no turn",
        ),
        (speech(3, 4), "were not heard as speech after the last turn"),
    ],
    ids=["it goes on", "it was understood", "it was heard", "it was not heard"],
)
def test_what_became_of_the_last_speech_is_told_as_far_as_it_is_known(then: list[Timed], says: str) -> None:
    book = booked(*LAST, *then)
    (told,) = book.failures()
    assert re.search(says.replace("(", r"\(").replace(")", r"\)"), told)
    assert book.failures(to_the_end=False) == [], "nobody wanted more turns"


def test_a_user_who_goes_on_makes_one_exchange_of_two_turns() -> None:
    went_on: list[Timed] = [
        *ONE_TURN,
        (1.6, h.ReplyStarted("q")),
        (2.1, h.ReplyDone("q", "cancelled", "turn_detected")),
    ]
    then: list[Timed] = [(3.1, h.TurnEnded("b")), (3.1, h.UserText("b", "x", True)), *answer("r", 4, 5, 6)]
    assert booked(*went_on).exchanges_over(3) == 0
    assert booked(*went_on, *then).exchanges_over(7) == 1


def test_a_greeting_is_over_when_a_player_has_played_it() -> None:
    book = booked(*answer("r", 0, 1, 1.1))
    assert not book.greeted(2.0)
    assert book.greeted(2.1)
    assert book.report() == []


def test_the_events_of_a_turn_come_once_and_in_order() -> None:
    book = TurnBook()
    events = []
    for t, happening in [
        (0.0, h.SpeechStarted()),
        *ONE_TURN,
        *answer("r", 1.6, 1.7, 1.9),
        *answer("r", 2, 2, 2),
    ]:
        events += [(notice.event, notice.t) for notice in book.note(happening, t)]
    assert events == [
        ("speech_started", 0.0),
        ("turn_ended", 1.4),
        ("user_text", 1.45),
        ("reply_started", 1.6),
        ("llm_first_word", 1.6),
        ("first_audio", 1.7),
        ("first_audible", 1.7),
        ("reply_done", 1.9),
    ]


# Each row: a server event, and what it says.
GA_EVENTS: dict[str, tuple[dict[str, object], list[h.Happening]]] = {
    "a session with a way back": (
        {"type": "session.created", "session": {"id": "s", "antiphon": {"resume_token": "t"}}},
        [h.SessionOpened("s", "t")],
    ),
    "a session of another server": (
        {"type": "session.created", "session": {"id": "s"}},
        [h.SessionOpened("s")],
    ),
    "where the voice ended": (
        {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 1320},
        [h.SpeechStopped(1.32)],
    ),
    "the end of a turn": ({"type": "input_audio_buffer.committed", "item_id": "i"}, [h.TurnEnded("i")]),
    "a final transcript": (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "i",
            "transcript": " ok ",
        },
        [h.UserText("i", "ok", final=True)],
    ),
    "reply audio": (
        {"type": "response.output_audio.delta", "response_id": "r", "delta": "AAE="},
        [h.ReplyAudio("r", b"\0\1")],
    ),
    "audio that is not base64": (
        {"type": "response.output_audio.delta", "response_id": "r", "delta": "%"},
        [h.ServerError("bad_server_message", "the server sent audio that is not base64")],
    ),
    "a barge-in": (
        {
            "type": "response.done",
            "response": {"id": "r", "status": "cancelled", "status_details": {"reason": "turn_detected"}},
        },
        [h.ReplyDone("r", "cancelled", "turn_detected")],
    ),
    "the server's stage times": (
        {
            "type": "response.done",
            "response": {"id": "r", "status": "completed", "antiphon": {"llm_first_token_ms": 5}},
        },
        [h.ReplyDone("r", stages={"llm_first_token_ms": 5.0})],
    ),
    "an error of ours": (
        {"type": "error", "error": {"type": "invalid_request_error", "code": "c", "message": "m"}},
        [h.ServerError("c", "m", refused=True)],
    ),
    "an event nobody knows": ({"type": "rate_limits.updated", "rate_limits": []}, []),
}


@pytest.mark.parametrize(("event", "expected"), GA_EVENTS.values(), ids=GA_EVENTS.keys())
def test_what_a_ga_event_says(event: dict[str, object], expected: list[h.Happening]) -> None:
    assert list(GaClient().understand(json.dumps(event))) == expected


@pytest.mark.parametrize("message", ["{", '{"type": 5}', "[]", '{"type": "response.done", "response": {}}'])
def test_a_broken_ga_event_is_an_error_and_no_crash(message: str) -> None:
    (said,) = GaClient().understand(message)
    assert isinstance(said, h.ServerError)


def test_a_file_of_any_rate_and_width_becomes_24_khz_packets(tmp_path: Path) -> None:
    stereo = np.stack([tone(500, rate=44_100), tone(500, rate=44_100)], axis=1)
    soundfile.write(tmp_path / "a.flac", np.concatenate([stereo, 0 * stereo]), 44_100)
    clip = sound.load(tmp_path / "a.flac")
    assert clip.seconds == pytest.approx(1.0, abs=0.021)
    assert clip.loud[:25] == (True,) * 25
    assert not any(clip.loud[26:])


@pytest.mark.parametrize(("dbfs", "loud"), [(-44.5, True), (-45.5, False)])
def test_audible_is_over_minus_45_dbfs(dbfs: float, loud: bool) -> None:
    peak = 10 ** (dbfs / 20) * 2**0.5
    assert sound.cut((tone(20, peak) * 32768).astype("<i2")).loud == (loud,)


def test_noise_far_below_the_speech_is_loud_but_not_clear() -> None:
    clip = sound.cut((np.concatenate([tone(20, 0.5), tone(20, 0.02)]) * 32767).astype("<i2"))
    assert (clip.loud, clip.clear) == ((True, True), (True, False))


def test_a_listener_hears_across_pieces_of_any_size() -> None:
    listener = sound.Listener()
    pcm = voice(20)
    assert not listener.hears(pcm[:500])
    assert listener.hears(pcm[500:])


# The far side: a server that follows a script.


@dataclass
class Line:
    """One accepted connection of the scripted server."""

    socket: ServerConnection
    loud: list[bool] = field(default_factory=list)
    heard_at: list[float] = field(default_factory=list)

    @property
    def offered(self) -> str:
        request = self.socket.request
        assert request is not None
        return request.headers.get("Sec-WebSocket-Protocol", "")

    def send(self, kind: str, **fields: object) -> None:
        self.socket.send(json.dumps({"type": kind, "event_id": "e", **fields}))

    def created(self, **extension: str) -> None:
        self.send("session.created", session={"id": "sess_1", "antiphon": extension})

    def open(self, resume_token: str | None = "tok-1") -> dict[str, Any]:
        """Greets, and gives the configuration it was asked for."""
        self.created(**({} if resume_token is None else {"resume_token": resume_token}))
        update: dict[str, Any] = json.loads(self.socket.recv())
        self.send("session.updated", session={"id": "sess_1"})
        return update

    def hear(self) -> None:
        event = json.loads(self.socket.recv())
        assert event["type"] == "input_audio_buffer.append"
        self.loud += sound.cut(np.frombuffer(base64.b64decode(event["audio"]), "<i2")).loud
        self.heard_at.append(monotonic())

    def hear_turn(self, silence: int = 5) -> None:
        """Listens until some speech is followed by so many silent packets."""
        while not any(self.loud) or any(self.loud[-silence:]):
            self.hear()
        self.send("input_audio_buffer.speech_started", item_id="i1", audio_start_ms=0)
        end_ms = 1000 * sound.PACKET_S * (len(self.loud) - self.loud[::-1].index(True))
        self.send("input_audio_buffer.speech_stopped", item_id="i1", audio_end_ms=round(end_ms))
        self.send("input_audio_buffer.committed", item_id="i1", previous_item_id=None)
        self.send(
            "conversation.item.input_audio_transcription.completed", item_id="i1", transcript="hello there"
        )

    def reply(self, words: str, packets: int) -> None:
        self.send("response.created", response={"id": "r1", "status": "in_progress"})
        self.send("response.output_audio_transcript.delta", response_id="r1", delta=words)
        for _ in range(packets):
            self.send(
                "response.output_audio.delta", response_id="r1", delta=base64.b64encode(voice(20)).decode()
            )

    def done(self, status: str = "completed") -> None:
        extension = {"llm_first_token_ms": 12.0, "tts_first_audio_ms": 34.0}
        self.send("response.done", response={"id": "r1", "status": status, "antiphon": extension})
        self.stay()

    def stay(self) -> None:
        """Listens until the client hangs up."""
        try:
            while True:
                self.hear()
        except ConnectionClosed:
            pass

    def drop(self) -> None:
        """The line breaks: no close frame."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)


@dataclass
class ScriptedServer:
    url: str = ""
    lines: list[Line] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)


Script = Callable[[Line], None]
Start = Callable[..., ScriptedServer]


@pytest.fixture
def scripted() -> Iterator[Start]:
    """Starts a server that treats its first caller by the first script, its second by the second, and so on."""
    started: list[tuple[ScriptedServer, Server, threading.Thread]] = []

    def start(*scripts: Script) -> ScriptedServer:
        far = ScriptedServer()

        def answer_call(connection: ServerConnection) -> None:
            far.lines.append(Line(connection))
            try:
                scripts[len(far.lines) - 1](far.lines[-1])
            except Exception as error:
                far.failed.append(error)

        server = serve(answer_call, "127.0.0.1", 0, select_subprotocol=_select)
        far.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        started.append((far, server, thread))
        return far

    yield start
    for far, server, thread in started:
        server.shutdown()
        thread.join()
        assert far.failed == []


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """A file with 300 ms of speech and 100 ms of silence."""
    path = tmp_path / "said.wav"
    soundfile.write(path, np.concatenate([tone(300), np.zeros(2400, np.float32)]), sound.RATE)
    return path


def talk(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["talk", *map(str, arguments)])


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_conversation_from_file_to_answer(scripted: Start, said: Path, tmp_path: Path) -> None:
    asked = {}

    def script(line: Line) -> None:
        asked.update(line.open())
        line.hear_turn()
        line.reply("Good day.", packets=10)
        line.done()

    far = scripted(script)
    result = talk(
        "--in", said, "--url", far.url, "--out", tmp_path / "r.wav", "--json", "--events", "--voice", "ann"
    )
    assert result.exit_code == 0, result.output

    session = asked["session"]
    assert far.lines[0].offered == ""
    assert session["type"] == "realtime"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["output"]["voice"] == "ann"

    report = json.loads(result.stdout)
    (turn,) = report["turns"]
    assert (report["session"], report["errors"]) == ("sess_1", [])
    assert (turn["user_text"], turn["assistant_text"]) == ("hello there", "Good day.")
    assert (turn["llm_first_token_ms"], turn["tts_first_audio_ms"]) == (12.0, 34.0)
    assert turn["reply_audio_s"] == 0.2
    assert 80 <= turn["end_of_turn_ms"] <= turn["voice_to_voice_ms"] < 1000
    assert turn["late_audio_ms"] == 0
    assert soundfile.info(tmp_path / "r.wav").duration == pytest.approx(0.2)

    events = json_lines(result.stderr)
    names = [event["event"] for event in events]
    assert [event["t_ms"] for event in events] == sorted(event["t_ms"] for event in events)
    wanted = [
        "session_opened",
        "file_started",
        "speech_started",
        "turn_ended",
        "llm_first_word",
        "first_audio",
    ]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "reply_done"


def test_people_read_what_was_understood_and_answered(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.open()
        line.hear_turn()
        line.reply("Good\x1b[2J day.", packets=2)
        line.done()

    result = talk("--in", said, "--url", scripted(script).url)
    assert result.exit_code == 0
    assert result.stdout.startswith("you: hello there\nassistant: Good [2J day.\nturn 1: voice to voice ")
    assert result.stderr == ""


def test_the_microphone_keeps_time(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.open()
        while len(line.heard_at) < 51:
            line.hear()
        line.hear_turn()
        line.reply("Ok.", packets=1)
        line.done()

    far = scripted(script)
    assert talk("--in", said, "--url", far.url).exit_code == 0
    heard_at = far.lines[0].heard_at
    assert heard_at[50] - heard_at[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("code", [1006, 1012])
def test_a_lost_line_is_taken_up_again(scripted: Start, said: Path, code: int) -> None:
    def breaks(line: Line) -> None:
        line.open()
        line.hear_turn()
        line.reply("Good ", packets=3)
        line.drop() if code == 1006 else line.socket.close(code, "draining")

    def goes_on(line: Line) -> None:
        line.created(resume_token="tok-2")
        line.reply("Good day.", packets=4)
        line.done()

    far = scripted(breaks, goes_on)
    result = talk("--in", said, "--url", far.url, "--json", "--events")
    assert result.exit_code == 0, result.stderr
    assert far.lines[1].offered.replace(" ", "") == "realtime,antiphon-resume.tok-1"
    assert "tok-" not in result.output
    report = json.loads(result.stdout)
    (turn,) = report["turns"]
    assert (turn["assistant_text"], turn["reply_audio_s"], report["errors"]) == ("Good day.", 0.14, [])
    events = {event["event"]: event for event in json_lines(result.stderr)}
    assert events["disconnected"]["code"] == code
    assert events["reconnected"]["skipped_ms"] == 0


def test_speech_of_a_short_break_is_sent_in_a_burst(scripted: Start, said: Path) -> None:
    def breaks(line: Line) -> None:
        line.open()
        line.hear()
        line.drop()

    def goes_on(line: Line) -> None:
        threading.Event().wait(0.3)  # the far side takes its time, while the user speaks on
        line.created()
        line.hear_turn()
        line.reply("Ok.", packets=1)
        line.done()

    far = scripted(breaks, goes_on)
    assert talk("--in", said, "--url", far.url).exit_code == 0
    first, second = far.lines
    assert sum(first.loud) + sum(second.loud) >= 14  # of 15: one packet may die with the line
    assert second.heard_at[10] - second.heard_at[0] < 0.15


def test_a_turn_without_an_answer_is_an_error(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.open()
        line.hear_turn()
        line.send(
            "error", error={"type": "server_error", "code": "stage_failed", "message": "no voice today"}
        )
        line.send("response.created", response={"id": "r1"})
        line.done("failed")

    result = talk("--in", said, "--url", scripted(script).url, "--json")
    assert result.exit_code == 1
    errors = json.loads(result.stdout)["errors"]
    assert errors[0] == "stage_failed: no voice today"
    assert errors[-1] == "turn 1 was not answered: its reply ended without a voice (failed)"


def test_an_answer_that_never_comes_ends_in_time(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.open()
        line.hear_turn()
        line.stay()

    result = talk("--in", said, "--url", scripted(script).url, "--json", "--timeout", "0.3")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["errors"] == [
        "no end of the conversation within 0.3 s of the file's end",
        "turn 1 was not answered: no reply was begun",
    ]


def test_a_session_that_is_refused_is_one_line(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.created()
        line.socket.recv()
        line.send(
            "error", error={"type": "invalid_request_error", "code": "voice", "message": "no voice named bob"}
        )
        line.stay()

    result = talk("--in", said, "--url", scripted(script).url, "--voice", "bob")
    assert (result.exit_code, result.stderr) == (
        2,
        "antiphon: the server refused the session: no voice named bob\n",
    )


def test_a_line_lost_to_a_server_without_a_way_back(scripted: Start, said: Path) -> None:
    def script(line: Line) -> None:
        line.open(resume_token=None)
        line.hear()
        line.socket.close(1011, "oh no")

    result = talk("--in", said, "--url", scripted(script).url, "--json")
    assert result.exit_code == 1
    assert (
        json.loads(result.stdout)["errors"][0]
        == "the line was lost (1011 oh no), and the server offers no way back"
    )


def test_a_server_that_is_full_is_one_line(scripted: Start, said: Path) -> None:
    result = talk("--in", said, "--url", scripted(lambda line: line.socket.close(1013, "no free slot")).url)
    wanted = "antiphon: the server closed the line before the conversation began (1013 no free slot)\n"
    assert (result.exit_code, result.stderr) == (2, wanted)


MISTAKES: dict[str, tuple[list[str], str]] = {
    "a file that is missing": (["--in", "{dir}/none.wav"], "none.wav: no such file"),
    "a file that is no sound": (["--in", "{dir}/text.wav"], "text.wav: is not a sound file"),
    "a directory": (["--in", "{dir}"], "is a directory"),
    "an address that is none": (["--in", "{dir}/said.wav", "--url", "http://x"], "http://x: not the address"),
    "an answer in no known format": (
        ["--in", "{dir}/said.wav", "--out", "{dir}/r.xyz"],
        "names no sound format",
    ),
    "an answer into nowhere": (["--in", "{dir}/said.wav", "--out", "{dir}/no/r.wav"], "does not exist"),
    "a server that is not there": (["--in", "{dir}/said.wav", "--url", "{nobody}"], "connection refused"),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_line(arguments: list[str], line: str, said: Path) -> None:
    (said.parent / "text.wav").write_text("these are words")
    nobody = f"ws://127.0.0.1:{free_port()}/v1/realtime"
    result = talk(*(argument.format(dir=said.parent, nobody=nobody) for argument in arguments), "--json")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert line in result.stderr
    assert line in json.loads(result.stdout)["errors"][0]


def test_a_variable_that_names_no_setting_is_told_of_before_anything_is_done() -> None:
    slip = {"ANTIPHON_API_KYE": "ak_x"}
    said = CliRunner().invoke(main, ["talk"], env=slip)
    assert said.exit_code == 2
    assert "antiphon: ANTIPHON_API_KYE names no setting, and changes nothing" in said.stderr
    assert "ak_x" not in said.output
    assert "names no setting" not in CliRunner().invoke(main, ["talk"], env={"ANTIPHON_API_KEY": "x"}).output
    assert "names no setting" not in CliRunner().invoke(main, ["doctor", "--help"], env=slip).output


def test_the_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "talk" in result.stdout


# The Unmute dialect.


def test_ogg_opus_comes_back_as_it_went() -> None:
    writer, reader, tone_s = OggOpusWriter(), OggOpusReader(), voice(1000)
    stream = b"".join(
        [*writer.head(), *(writer.page(tone_s[n : n + 960]) for n in range(0, len(tone_s), 960))]
    )
    whole = soundfile.read(io.BytesIO(stream), dtype="float32")[0]
    pieces = b"".join(reader.read(stream[n : n + 700]) for n in range(0, len(stream), 700))
    assert len(whole) == len(pieces) // 2 == sound.RATE - PRE_SKIP // 2
    assert np.frombuffer(pieces, "<i2") / 32768 == pytest.approx(whole, abs=1e-3)


def test_pages_that_hold_many_packets_are_read() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, tone(1000), sound.RATE, format="OGG", subtype="OPUS")
    assert len(OggOpusReader().read(stream.getvalue())) // 2 == pytest.approx(sound.RATE, abs=480)


@pytest.mark.parametrize("stream", [b"x" * 100, OggPages()._page([b"vorbis"], 2), b"OggS" + b"\xff" * 2**18])
def test_what_is_no_ogg_opus_is_refused(stream: bytes) -> None:
    with pytest.raises(NotOgg):
        OggOpusReader().read(stream)


def unmute_says(*events: tuple[str, dict[str, object]]) -> list[h.Happening]:
    client = UnmuteClient()
    return [
        said for kind, fields in events for said in client.understand(json.dumps({"type": kind, **fields}))
    ]


USER_WORD = "conversation.item.input_audio_transcription.delta"

# Each row: server events in order, and what they say.
UNMUTE_EVENTS: dict[str, tuple[list[tuple[str, dict[str, object]]], list[h.Happening]]] = {
    "a turn and its reply get numbers and spaces": (
        [
            (USER_WORD, {"delta": ""}),
            (USER_WORD, {"delta": "how"}),
            ("input_audio_buffer.speech_started", {}),
            (USER_WORD, {"delta": "are"}),
            ("input_audio_buffer.speech_stopped", {}),
            (USER_WORD, {"delta": "you"}),
            ("response.created", {"response": {}}),
            ("unmute.response.text.delta.ready", {"delta": "Fine"}),
            ("response.text.delta", {"delta": "Fine,"}),
            ("response.text.delta", {"delta": "thanks"}),
            ("response.audio.done", {}),
        ],
        [
            h.UserText("turn-1", "how", final=False),
            h.SpeechStarted(),
            h.UserText("turn-1", "how are", final=False),
            h.SpeechStopped(),
            h.TurnEnded("turn-1"),
            h.UserText("turn-1", "how are you", final=False),
            h.UserText("turn-1", "how are you", final=True),
            h.ReplyStarted("reply-1"),
            h.ReplyWord("reply-1", ""),
            h.ReplyWord("reply-1", "Fine,"),
            h.ReplyWord("reply-1", " thanks"),
            h.ReplyDone("reply-1"),
        ],
    ),
    "a reply may be cut short": (
        [("response.created", {}), ("unmute.interrupted_by_vad", {}), ("response.audio.done", {})],
        [h.ReplyStarted("reply-1"), h.ReplyDone("reply-1", "cancelled")],
    ),
    "a silence that ends is no turn": ([("input_audio_buffer.speech_stopped", {})], []),
    "a warning refuses nothing": (
        [("error", {"error": {"type": "warning", "message": "wait"}})],
        [h.ServerError("warning", "wait")],
    ),
    "audio that is no Ogg": (
        [("response.created", {}), ("response.audio.delta", {"delta": base64.b64encode(b"x" * 99).decode()})],
        [
            h.ReplyStarted("reply-1"),
            h.ServerError("bad_server_message", "the server sent audio that is not Ogg-Opus: no Ogg page"),
        ],
    ),
}


@pytest.mark.parametrize(("events", "expected"), UNMUTE_EVENTS.values(), ids=UNMUTE_EVENTS.keys())
def test_what_unmute_events_say(
    events: list[tuple[str, dict[str, object]]], expected: list[h.Happening]
) -> None:
    assert unmute_says(*events) == expected


class UnmuteLine:
    """The far side of Unmute's dialect, on a scripted line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.update = json.loads(line.socket.recv())
        self._reader = OggOpusReader()
        self._writer = OggOpusWriter()
        self._pages = self._writer.head()
        line.send("session.updated", session=self.update["session"])

    def hear_turn(self) -> None:
        loud: list[bool] = []
        while not any(loud) or any(loud[-5:]):
            event = json.loads(self.line.socket.recv())
            pcm = self._reader.read(base64.b64decode(event["audio"]))
            loud += sound.cut(np.frombuffer(pcm, "<i2")).loud if pcm else []
        self.line.send("input_audio_buffer.speech_started")
        self.line.send(USER_WORD, delta="hello", start_time=0.0)
        self.line.send("input_audio_buffer.speech_stopped")

    def reply(self, word: str, packets: int) -> None:
        self.line.send("response.created", response={"object": "realtime.response", "status": "in_progress"})
        self.line.send("response.text.delta", delta=word)
        for page in [*self._pages, *(self._writer.page(voice(20)) for _ in range(packets))]:
            self.line.send("response.audio.delta", delta=base64.b64encode(page).decode())
        self._pages = []
        self.line.send("response.audio.done")


def test_an_unmute_conversation_begins_with_the_assistant(
    scripted: Start, said: Path, tmp_path: Path
) -> None:
    far_sides = []

    def script(line: Line) -> None:
        far = UnmuteLine(line)
        far_sides.append(far)
        far.reply("Welcome.", packets=5)
        far.hear_turn()
        far.reply("Good day.", packets=10)
        with contextlib.suppress(ConnectionClosed):
            while True:
                line.socket.recv()

    far = scripted(script)
    out = tmp_path / "r.wav"
    result = talk("--in", said, "--url", far.url, "--dialect", "unmute", "--out", out, "--json", "--events")
    assert result.exit_code == 0, result.output
    assert far.lines[0].offered == "realtime"
    assert far_sides[0].update["session"]["allow_recording"] is False
    (turn,) = json.loads(result.stdout)["turns"]
    assert (turn["user_text"], turn["assistant_text"]) == ("hello", "Good day.")
    assert 80 <= turn["end_of_turn_ms"] <= turn["voice_to_voice_ms"] < 1000
    assert turn["reply_audio_s"] == 0.2
    names = [event["event"] for event in json_lines(result.stderr)]
    assert names.index("reply_done") < names.index("file_started") < names.index("turn_ended")
