"""A conversation that everybody disturbs: a client that says anything at any time, workers that are late, or double,
or fail, a clock that jumps, connections that change. Nothing raises, and its client can read all that it is told."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from config import messages as m
from config import redis_keys as keys
from config import tracing
from config.errors import ClientError
from config.settings import SAMPLE_RATE, Settings, load
from config.versions import VERSION
from tasks.celery import app
from tasks.leases import Lease, Leases
from tests import wild
from tests.ga_line import SERVER
from tests.talker import Order
from tests.test_fuzz_events import actor, ga_messages, speaker
from web import saved
from web.conversation import Conversation
from web.dialects import base
from web.dialects.ga import GaDialect
from web.dictation import Dictations
from web.intake import Intake
from web.reply_options import ReplyOptions
from web.turn_state import Phase

S = SAMPLE_RATE


@dataclass
class Rim:
    """What a conversation has of its process; nobody takes its work."""

    state: redis.Redis
    media: redis.Redis
    settings: Settings

    def __post_init__(self) -> None:
        self.leases = Leases(self.state, 60_000)
        self.intake = Intake(lambda entries, told: None)
        self.tracer = tracing.OFF
        self.watchdog = SimpleNamespace(spare=True)
        self.withdrawals = None

    def tell(self, worker: str, what: m.Command) -> None:
        """To nobody."""


SESSIONS: list[dict[str, Any]] = [
    {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
    {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}},
    },
    {"type": "realtime", "output_modalities": ["text"]},
    {"type": "realtime", "output_modalities": ["audio"]},
]
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
    {"type": "function_call_output", "call_id": "c1", "output": "12"},
]

#: Words of a client that come together in this order, in conversations as they are.
SENSIBLE: list[dict[str, Any]] = [
    {"type": "response.create"},
    {"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}},
    {
        "type": "response.create",
        "response": {"tools": [{"type": "function", "name": "f"}], "metadata": {"a": "b"}},
    },
    {"type": "response.cancel"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    *({"type": "session.update", "session": session} for session in SESSIONS),
    *({"type": "conversation.item.create", "item": item} for item in ITEMS),
]


class Disturbed(RuleBasedStateMachine):
    """One conversation, its client's ears, and a hand in every part of it."""

    rim: Rim
    new_sid: Callable[[], str]
    clock: list[float]

    @initialize(extensions=st.sampled_from([(), ("antiphon",)]))
    def begin(self, extensions: tuple[str, ...]) -> None:
        self.sid = self.new_sid()
        self.extensions = frozenset(extensions)
        self.complaints: list[str] = []
        self.order = Order(self.complaints)
        self.items: list[str] = ["root", "nobody's"]
        self.told: list[str] = []
        self.epochs: dict[str, int] = dict.fromkeys(keys.STAGES, 0)
        self.seqs: dict[str, int] = dict.fromkeys(keys.STAGES, 0)
        self.of_reply: dict[str, int] = dict.fromkeys(keys.STAGES, 0)
        self.words = self.samples = 0
        self.rim.leases.create(self.sid, {keys.REPLY: "0", keys.VERSION: VERSION}, 60)
        self.connect(None)

    def connect(self, before: saved.Saved | None) -> None:
        lease = self.rim.leases.claim("web", self.sid, "web", seize=True)
        assert isinstance(lease, Lease)
        self.dialect = GaDialect(
            self.sid,
            160,
            speaker,
            actor,
            extensions=self.extensions,
            context_tokens=self.rim.settings.llm.window_tokens,
        )
        if before is not None:
            self.dialect.restore(before.snapshot)
        dictations = Dictations(self.rim, self.sid, lambda: None)  # type: ignore[arg-type]  # nobody gets to them
        self.talk = Conversation(self.rim, lease, self.dialect, self.hear, before, lambda: None, dictations)  # type: ignore[arg-type]
        self.hear(self.dialect.greeting(resumed=before is not None, token="t"))
        if before is None:
            self.talk.begin()
        else:
            self.talk.pick_up()

    def hear(self, told: Iterable[str]) -> bool:
        """The client's ears: what its SDK would not take, or not in this order, is a complaint."""
        for message in told:
            event = json.loads(message)
            self.told.append(event["type"])
            if not event["type"].startswith("antiphon."):
                SERVER.validate_python(event, strict=False)
            self.order.heard(event)
            if event["type"] == "conversation.item.added":
                self.items.append(event["item"]["id"])
        return True

    # --- the client

    @rule(raw=ga_messages)
    def say_anything(self, raw: str) -> None:
        if wild.utf8(raw):
            self.receive(raw)

    @rule(event=st.sampled_from(SENSIBLE))
    def say_something(self, event: dict[str, Any]) -> None:
        self.receive(json.dumps(event))

    @rule(
        kind=st.sampled_from(["retrieve", "delete", "truncate", "create", "create"]), which=st.integers(0, 40),
        after=st.one_of(st.none(), st.integers(0, 40)), end_ms=st.integers(0, 3000),
    )  # fmt: skip
    def say_something_of_an_item(self, kind: str, which: int, after: int | None, end_ms: int) -> None:
        item_id = self.items[which % len(self.items)]
        event: dict[str, Any] = {"type": f"conversation.item.{kind}", "item_id": item_id}
        if kind == "truncate":
            event |= {"content_index": 0, "audio_end_ms": end_ms}
        if kind == "create":
            before = None if after is None else self.items[after % len(self.items)]
            text = [{"type": "input_text", "text": "Well."}]
            item = {"type": "message", "role": "user", "id": item_id, "content": text}
            event = {"type": event["type"], "item": item, "previous_item_id": before}
        self.receive(json.dumps(event))

    @rule(kind=st.sampled_from(["u", "a", "f"]), ahead=st.integers(0, 2))
    def take_an_id_of_the_servers_own(self, kind: str, ahead: int) -> None:
        number = self.talk._turn.reply + ahead
        name = f"item_{self.sid[:12]}_{kind}{number}" + ("_0" if kind == "f" else "")
        self.items.append(name)
        item = {
            "type": "message",
            "role": "user",
            "id": name,
            "content": [{"type": "input_text", "text": "Mine."}],
        }
        self.receive(json.dumps({"type": "conversation.item.create", "item": item}))

    @rule(ms=st.sampled_from([20, 80, 500]))
    def send_sound(self, ms: int) -> None:
        self.receive(wild.append(bytes(2 * S * ms // 1000)))

    def receive(self, raw: str) -> None:
        try:
            requests = self.dialect.receive(raw)
        except ClientError as error:
            self.talk.handle(error)
            return
        for request in requests:
            if isinstance(request, base.AppendAudio):
                self.talk.input.hear(request.packets, request.samples, request.format)
            else:
                self.talk.handle(request)

    @rule()
    def come_back(self) -> None:
        """Over another connection."""
        self.talk.save({})
        (state,) = self.rim.leases.read(self.sid, [keys.STATE])
        assert state is not None
        self.talk.end()
        self.order.connected()
        self.connect(saved.decode(state))

    # --- the workers

    def result(self, stage: str, reply: int, body: m.Body, skip: int = 0) -> None:
        """The next of a stage; a new owner begins a new epoch."""
        if reply != self.of_reply[stage] or not self.epochs[stage]:
            self.of_reply[stage], self.seqs[stage] = reply, 0
            self.epochs[stage] += 1
            if stage != "stt":
                self.words = self.words if stage == "tts" else 0
                self.samples = 0
            self.result(stage, reply, m.Claimed("worker"))
        self.seqs[stage] += 1 + skip
        version = m.Result(VERSION, stage, self.epochs[stage], reply, self.seqs[stage], 0, body)
        self.talk.handle(m.decode_result(m.encode(version)))

    @rule(
        kind=st.sampled_from(["voice", "end", "pause", "words", "final"]), ago_ms=st.integers(0, 2000),
        text=st.sampled_from(["", "Hi.", "Stop that, please.", "..."]), p_end=st.floats(0, 1),
        skip=st.sampled_from([0, 0, 0, 1]),
    )  # fmt: skip
    def understand(self, kind: str, ago_ms: int, text: str, p_end: float, skip: int) -> None:
        to = max(0, self.talk.input.now - ago_ms * S // 1000)
        body: dict[str, m.Body] = {
            "voice": m.VoiceStarted(to), "end": m.VoiceEnded(to), "pause": m.Pause(to, ago_ms, p_end),
            "words": m.Transcript(text, max(0, to - S), to, settled=True),
            "final": m.Transcript(text, max(0, to - S), to, final=True),
        }  # fmt: skip
        self.result("stt", 0, body[kind], skip)

    @rule(
        kind=st.sampled_from(["words", "words", "done", "call", "failed"]), late=st.sampled_from([0, 0, 0, 1]),
        skip=st.sampled_from([0, 0, 0, 1]),
    )  # fmt: skip
    def write(self, kind: str, late: int, skip: int) -> None:
        reply = self.talk._turn.reply - late
        if reply <= 0:
            return
        if reply != self.of_reply["llm"]:
            self.words = 0
        call = m.ToolCall(f"c{self.seqs['llm']}", "f", "{}")
        bodies: dict[str, m.Body] = {
            "words": m.Words(self.words, ["word ", "more "], 0.0),
            "done": m.TextDone(self.words, "stop", 5, self.words),
            "call": m.Called(self.seqs["llm"] % 4, call), "failed": m.Failed("engine_failed", "no reason"),
        }  # fmt: skip
        self.result("llm", reply, bodies[kind], skip)
        self.words += 2 * (kind == "words")

    @rule(
        kind=st.sampled_from(["sound", "sound", "sound", "done", "failed"]), late=st.sampled_from([0, 0, 0, 1]),
        begins=st.integers(0, 3), steps=st.integers(1, 12),
    )  # fmt: skip
    def speak(self, kind: str, late: int, begins: int, steps: int) -> None:
        reply, length = self.talk._turn.reply - late, steps * 1920
        if reply <= 0:
            return
        if reply != self.of_reply["tts"]:
            self.samples = 0
        words = [m.SpokenWord(begins, self.samples, self.samples + length)]
        bodies: dict[str, m.Body] = {
            "sound": m.Speech(self.samples, length, [bytes(960)] * 4 * steps, words, begins, self.samples),
            "done": m.SpeechDone(self.samples), "failed": m.Failed("engine_failed", "no reason"),
        }  # fmt: skip
        self.result("tts", reply, bodies[kind])
        self.samples += length * (kind == "sound")

    # --- time

    @rule(ms=st.sampled_from([1, 20, 100, 1000, 6000]), looks=st.integers(1, 5))
    def wait(self, ms: int, looks: int) -> None:
        for _ in range(looks):
            self.clock[0] += ms / 1000
            self.talk.look_at_time()

    @invariant()
    def nobody_complains(self) -> None:
        """But of a voice that is told of again: a reply that was asked for in the middle of it came to nothing."""
        complaints = [one for one in getattr(self, "complaints", []) if one != "speech_started twice"]
        assert not complaints, (complaints, self.told[-20:])

    def teardown(self) -> None:
        """Whatever happened, it ends: a turn that nobody works on any more is given up."""
        if not hasattr(self, "talk"):
            return
        begun = self.talk._turn.reply
        for _ in range(12):
            for stage in ("llm", "tts"):
                if self.of_reply[stage] != self.talk._turn.reply:
                    self.result(stage, self.talk._turn.reply, m.Claimed("worker"))
            for watch in self.talk.stages.watches():  # as the watchdog does, who sees the claims
                watch.seen(self.clock[0])
            self.wait(1000, 10)
        stuck = self.talk._turn.phase is Phase.THINKING and self.talk._turn.reply == begun
        assert not stuck, self.told[-20:]
        self.talk.end()


@pytest.fixture
def rim(state: redis.Redis, media: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rim]:
    """Tasks go to a broker in memory, from which nobody takes them."""
    monkeypatch.setattr(app.conf, "broker_url", "memory://")
    yield Rim(state, media, load("null"))


def test_a_disturbed_conversation_raises_nothing_and_says_nothing_wrong(
    rim: Rim, new_sid: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Disturbed.rim, Disturbed.new_sid, Disturbed.clock = rim, staticmethod(new_sid), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: Disturbed.clock[0])
    run_state_machine_as_test(
        Disturbed,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


#: Conversations of 40 steps; each takes some hundredths of a second.
EXAMPLES = 10


def test_a_response_names_a_voice_of_an_object_by_its_id() -> None:
    dialect = GaDialect("0123456789abcdef", 160, speaker, actor)
    voice = {"id": "marin"}
    update = {
        "type": "session.update",
        "session": {"type": "realtime", "audio": {"output": {"voice": voice}}},
    }
    dialect.receive(json.dumps(update))
    (asked,) = dialect.receive(json.dumps({"type": "response.create", "response": {"instructions": "Now."}}))
    assert isinstance(asked, base.CreateReply) and asked.options is not None
    for options in (asked.options, ReplyOptions(dialect.wishes)):
        for message in dialect.reply_started(1, options, again=False):
            SERVER.validate_python(json.loads(message), strict=False)
