"""What clients of Unmute's kind are shown beside the talk. Sans-IO: the test is the session and the client."""

from typing import Any

import pytest

from config.messages import Speech, Transcript
from config.settings import SAMPLE_RATE
from tests.unmute_bench import (
    SMALLTALK,
    USUAL,
    append,
    new,
    outcome,
    packets,
    read,
    speech,
    update,
)
from web.dialects.base import AppendAudio, Look
from web.dialects.unmute import UnmuteDialect
from web.ogg import OggOpusWriter
from web.pacing import Playback
from web.reply import Reply
from web.signs import Signs, read_signs
from web.stages import Stages
from web.turn_state import Phase, Turn


class Microphone:
    """One stream of sound."""

    def __init__(self, dialect: UnmuteDialect) -> None:
        self._dialect = dialect
        self._stream = OggOpusWriter(5)
        dialect.receive(append(self._stream.head()))

    def run(self, seconds: float) -> list[Any]:
        """So much of it; returns what it asks for."""
        return self._dialect.receive(append(self._stream.pages(packets(int(seconds * 50)))))


def shown(messages: list[str]) -> list[dict[str, Any]]:
    return [event["args"] for event in read(messages) if event["type"] == "unmute.additional_outputs"]


def debug(messages: list[str]) -> dict[str, Any]:
    (args,) = shown(messages)
    return args["debug_dict"]  # type: ignore[no-any-return]


def test_it_is_shown_once_for_each_second_of_audio_whoever_is_silent():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    microphone, times = Microphone(dialect), []
    for _ in range(8):
        asked = microphone.run(0.5)
        assert isinstance(asked[0], AppendAudio)
        times += [debug(dialect.looked())["last_receive_time"] for _ in asked[1:]]
    assert times == [1.0, 2.0, 3.0, 4.0]


def test_nothing_is_shown_before_the_session_is_configured():
    dialect = new()
    microphone = Microphone(dialect)
    assert not any(isinstance(asked, Look) for _ in range(4) for asked in microphone.run(0.5))


def test_it_is_shown_who_has_the_turn():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    states = []

    def look(messages: list[str]) -> None:
        states.extend(args["debug_dict"]["conversation_state"] for args in shown(messages))

    look(dialect.user_text(""))
    dialect.speech_began(0)
    look(dialect.user_text("hi"))
    dialect.reply_started(1, USUAL, again=False)
    dialect.reply_audio(speech(1))
    look(dialect.looked())
    look(dialect.reply_ended(outcome(1, "Hello.")))
    dialect.reply_started(2, USUAL, again=False)
    dialect.speech_began(0)
    look(dialect.reply_ended(outcome(2, "Hello there.", heard="Hello", status="cancelled")))
    dialect.not_understood()
    look(dialect.user_text(""))
    assert states == [
        "waiting_for_user", "user_speaking", "bot_speaking", "waiting_for_user", "user_speaking", "waiting_for_user",
    ]  # fmt: skip


def test_a_reply_under_way_is_shown_as_far_as_it_sounded_and_how_fast_it_comes():
    dialect = new()
    dialect.attend(lambda: Signs(made=4 * SAMPLE_RATE))
    dialect.receive(update(SMALLTALK))
    dialect.user_text("hi")
    dialect.reply_started(1, USUAL, again=False)
    dialect.reply_audio(speech(1, (0, "Well "), (1, "then "), count=100))
    Microphone(dialect).run(1.0)
    dialect.reply_audio(speech(1, (2, "listen."), count=50))
    (args,) = shown(dialect.looked())
    assert args["chat_history"][-1] == {"role": "assistant", "content": "Well then listen."}
    assert args["debug_dict"]["tts_throughput"] == {
        "time_received": 4.0, "time_received_yielded": 3.0, "time_since_start": 1.0, "ratio": 2.97,
    }  # fmt: skip
    (args,) = shown(dialect.reply_ended(outcome(1, "Well then listen.", heard="Well then")))
    assert args["chat_history"][-1]["content"] == "Well then—"
    assert args["debug_dict"]["timing"] == {"to_first_token": 0.12, "tts_audio": 0.08}
    dialect.speech_began(0)
    assert debug(dialect.user_text("stop"))["timing"] == {}


def test_the_users_words_are_shown_as_they_are_understood():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    dialect.user_text("hi")
    dialect.reply_started(1, USUAL, again=False)
    dialect.reply_audio(speech(1, (0, "Well "), (1, "then ")))
    for text in ("wait", "wait", "wait a"):
        dialect.partial_text(Transcript(text, 0, 100))
    (args,) = shown(dialect.looked())
    assert [(line["role"], line["content"]) for line in args["chat_history"]] == [
        ("user", "hi"),
        ("assistant", "Well then"),
        ("user", "wait"),
    ]
    dialect.reply_ended(outcome(1, "Well then listen.", heard="Well", status="cancelled"))
    (args,) = shown(dialect.user_text("wait a minute"))
    assert [line["content"] for line in args["chat_history"]] == ["hi", "Well—", "wait a minute"]


def test_words_that_came_to_nothing_are_shown_no_more():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    for text in ("hm", "hm"):
        dialect.partial_text(Transcript(text, 0, 100))
    assert shown(dialect.looked())[0]["chat_history"] == [{"role": "user", "content": "hm"}]
    assert shown(dialect.user_text(""))[0]["chat_history"] == []


def test_words_over_a_reply_that_goes_on_are_no_turn():
    dialect = new()
    dialect.receive(update(SMALLTALK))
    dialect.reply_started(1, USUAL, again=False)
    for text in ("mm", "mm"):
        dialect.partial_text(Transcript(text, 0, 100))
    (args,) = shown(dialect.reply_ended(outcome(1, "Well.")))
    assert args["chat_history"] == [{"role": "assistant", "content": "Well."}]


def test_what_is_known_of_workers_and_pauses_is_shown_as_it_is_at_that_moment():
    dialect, now = new(), Signs()
    dialect.attend(lambda: now)
    dialect.receive(update(SMALLTALK))
    first = debug(dialect.looked())
    assert first["connection"] == {"stt": "none", "tts": "none"}
    assert (first["stt_pause_prediction"], first["chatbot"]) == (-1, {})
    assert "time_since_last_message" not in first

    dialect.speech_began(0)
    now = Signs(stt="connected", since_words_s=0.25)
    hearing = debug(dialect.looked())
    assert (hearing["stt_pause_prediction"], hearing["time_since_last_message"]) == (0.0, 0.25)

    now = Signs(stt="connected", p_end=0.93, since_voice_s=0.42, since_words_s=0.5)
    dialect.speech_stopped(0)
    now = Signs(stt="connected", tts="connecting", p_end=0.93, since_voice_s=0.6)
    after = debug(dialect.user_text("hi"))
    assert after["timing"] == {"pause_detection": 0.42}
    assert (after["time_since_last_message"], after["stt_pause_prediction"]) == (0.5, 0.93)
    assert after["connection"] == {"stt": "connected", "tts": "connecting"}


# --- where that is read


class Ago:
    """A clock that stands at `now`."""

    now = 10 * SAMPLE_RATE

    def ago_s(self, pos: int) -> float:
        return (self.now - pos) / SAMPLE_RATE


VOICE_TO, TEXT_TO = 9 * SAMPLE_RATE, 8 * SAMPLE_RATE

#: What turn-taking remembers, then: since the voice, since the words, and the probability that the pause is the end.
TURNS = {
    "nobody has spoken": (Turn(), None, None, 0.0),
    "the user speaks": (
        Turn(Phase.HEARING, voice=True, voice_to=VOICE_TO, text="so", text_to=TEXT_TO), None, 2.0, 0.0,
    ),
    "they pause": (
        Turn(Phase.HEARING, voice_to=VOICE_TO, text="so", text_to=TEXT_TO, p_end=0.4), 1.0, 2.0, 0.4,
    ),
    "nothing is understood yet": (Turn(Phase.HEARING, voice_to=VOICE_TO, p_end=0.4), 1.0, None, 0.4),
    "the turn is over": (
        Turn(Phase.THINKING, voice_to=VOICE_TO, text="so", text_to=TEXT_TO, p_end=0.9), 1.0, None, 0.9,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("turn", "since_voice", "since_words", "p_end"), TURNS.values(), ids=TURNS.keys())
def test_pauses_are_read_from_turn_taking(
    turn: Turn, since_voice: float | None, since_words: float | None, p_end: float
) -> None:
    signs = read_signs(turn, Stages("s", lambda *_: None), None, Ago())
    assert (signs.since_voice_s, signs.since_words_s, signs.p_end) == (since_voice, since_words, p_end)


def test_a_worker_is_connected_once_it_is_known_to_hold_the_work_and_until_it_is_lost() -> None:
    stages = Stages("s", lambda *_: None)
    assert stages.connection("tts") == "none"
    stages.expect("tts", 1, fresh=True)
    assert stages.connection("tts") == "connecting"
    stages.owned("tts", "worker-1")
    assert stages.connection("tts") == "connected", "its own word is enough where nobody had it before"
    (watch,) = stages.watches()
    watch.submitted(5.0)
    assert stages.connection("tts") == "connecting", "it was lost, and asked for again"
    watch.seen(6.0)
    assert stages.connection("tts") == "connected"
    stages.completed("tts")
    assert stages.connection("tts") == "none"


def test_sound_that_waits_to_be_sent_counts_as_made() -> None:
    reply = Reply(1, Playback(320), 0.0, USUAL)
    assert reply.made == 0
    reply.add_speech(Speech(0, 1920, [b"p"] * 4, [], 0, 1920), 0.0)
    reply.add_speech(Speech(1920, 1920, [b"p"] * 4, [], 0, 3840), 0.0)
    assert reply.made == 3840
    reply.audio.clear()
    reply.playback.send(3840, 0.0)
    assert reply.made == 3840
