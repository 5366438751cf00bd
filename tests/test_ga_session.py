"""The session object of the GA dialect: what is asked for, what is meant, and what is echoed."""

from typing import Any

import pytest

from config.errors import ClientError
from tests.ga_line import SPOKEN, Line, S
from web.config import Truncation
from web.dialects.ga import GaDialect
from web.turn_state import SILENCE


def test_null_turn_detection_is_a_manual_turn():
    line = Line()
    session = line.update(audio={"input": {"turn_detection": None}})
    assert session["audio"]["input"]["turn_detection"] is None
    assert line.dialect.wishes.detection == "manual"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_updates_are_merged_deeply():
    line = Line()
    line.update(instructions="Be kind.", audio={"output": {"speed": 1.2}}, tools=[])
    line.update(tracing=None)
    session = line.update(audio={"input": {"noise_reduction": {"type": "near_field"}}})
    assert session["instructions"] == "Be kind."
    assert session["audio"]["output"]["speed"] == 1.2
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    assert line.dialect.wishes.speed == 1.2
    assert line.update(instructions="")["instructions"] == line.dialect.wishes.instructions == ""


def test_turn_detection_is_echoed_with_its_effective_values():
    line = Line()
    session = line.update(
        audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700}}}
    )
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 700,
        "idle_timeout_ms": None, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert (line.dialect.wishes.detection, line.dialect.wishes.pause_ms) == ("silence", 700)
    line.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}})
    assert (line.dialect.wishes.detection, line.dialect.wishes.pause_ms) == ("semantic", None)
    session = line.update(audio={"input": {"turn_detection": {"interrupt_response": False}}})
    assert session["audio"]["input"]["turn_detection"]["eagerness"] == "high"
    assert not line.dialect.wishes.interrupt_response


def detecting(line: Line, **detection: Any) -> dict[str, Any]:
    """The turn detection in effect."""
    return line.update(audio={"input": {"turn_detection": detection}})["audio"]["input"]["turn_detection"]


def test_every_setting_of_server_vad_is_wished_for():
    line = Line()
    asked = {
        "type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 120, "silence_duration_ms": 900,
        "idle_timeout_ms": 6000, "create_response": False, "interrupt_response": False,
    }  # fmt: skip
    assert detecting(line, **asked) == asked
    wishes = line.dialect.wishes
    assert (wishes.threshold, wishes.prefix_ms, wishes.pause_ms) == (0.7, 120, 900)
    assert (wishes.idle_timeout_s, wishes.create_response, wishes.interrupt_response) == (6.0, False, False)
    assert detecting(line, idle_timeout_ms=None)["idle_timeout_ms"] is None
    assert line.dialect.wishes.idle_timeout_s is None


@pytest.mark.parametrize(
    ("eagerness", "patience"), [("low", 2.0), ("medium", 1.0), ("auto", 1.0), ("high", 0.5)]
)
def test_eagerness_is_the_opposite_of_patience(eagerness, patience):
    line = Line()
    assert detecting(line, type="semantic_vad", eagerness=eagerness) == {
        "type": "semantic_vad", "eagerness": eagerness, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert line.dialect.wishes.patience == patience
    assert line.dialect.wishes.threshold is line.dialect.wishes.prefix_ms is None


def test_null_in_a_new_turn_detection_is_the_default():
    session = detecting(Line(), type="server_vad", threshold=None, silence_duration_ms=None)
    assert (session["threshold"], session["silence_duration_ms"]) == (0.5, 500)


def test_an_utterance_begins_some_time_before_its_voice_but_not_before_the_last_one_ended():
    line = Line()
    started = lambda at: line.hear(line.dialect.speech_began(at))[0]["audio_start_ms"]  # noqa: E731
    assert started(S) == 1000  # semantic_vad has no padding
    detecting(line, type="server_vad", prefix_padding_ms=300)
    assert started(S // 10) == 0
    assert started(2 * S) == 1700
    line.hear(line.dialect.speech_stopped(3 * S))
    assert started(3 * S + S // 5) == 3000
    assert started(4 * S) == 3700
    assert started(2 * S) == 2000


def test_an_idle_timeout_is_an_item_of_the_users_without_words():
    line = Line()
    detecting(line, type="server_vad", idle_timeout_ms=6000)
    line.hear(line.dialect.idle_timeout(10 * S))
    line.hear(line.dialect.user_text(SILENCE))
    triggered, *rest = line.events[1:]
    assert triggered["type"] == "input_audio_buffer.timeout_triggered"
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (4000, 10_000)
    assert [event["type"] for event in rest] == [*SPOKEN[2:5], SPOKEN[6]]
    assert rest[0]["item_id"] == triggered["item_id"] == rest[-1]["item_id"]
    assert rest[-1]["transcript"] == ""


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("disabled", Truncation("disabled")),
        ("auto", Truncation()),
        (
            {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 500}},
            Truncation("auto", 0.8, 500),
        ),
        ({"type": "retention_ratio", "retention_ratio": 0}, Truncation("auto", 0.0, None)),
    ],
)
def test_truncation_is_wished_for_and_echoed(asked, meant):
    line = Line()
    assert line.update()["truncation"] == "auto"
    assert line.update(truncation=asked)["truncation"] == asked
    assert line.dialect.wishes.truncation == meant
    assert line.update(truncation=None)["truncation"] == asked
    line.update(truncation="auto")
    assert line.dialect.wishes.truncation == Truncation()


def test_instructions_that_leave_no_room_are_refused():
    line = Line()
    line.dialect = GaDialect("0123456789abcdef", 160, lambda voice: voice, Line.casting, context_tokens=512)
    before = line.update(instructions="Be kind.")
    with pytest.raises(ClientError, match="room for 128") as raised:
        line.send("session.update", session={"type": "realtime", "instructions": "x" * 600})
    assert (raised.value.param, raised.value.wire_code) == ("session.instructions", "context_length_exceeded")
    assert line.update() == before


def test_consent_to_recording_is_ours_and_echoed():
    line = Line()
    assert not line.dialect.wishes.allow_recording
    assert line.update(antiphon={"allow_recording": True})["antiphon"] == {
        "allow_recording": True,
        "record_audio": False,
        "character": None,
    }
    assert line.update(instructions="Be kind.")["antiphon"] == {
        "allow_recording": True,
        "record_audio": False,
        "character": None,
    }
    assert line.dialect.wishes.allow_recording
    assert line.update(antiphon={"record_audio": True})["antiphon"]["record_audio"]
    assert line.dialect.wishes.record_audio
    line.update(antiphon={"allow_recording": False, "resume_token": "x"})
    assert not line.dialect.wishes.allow_recording
    assert "resume_token" not in line.hear(line.dialect.configured())[0]["session"]["antiphon"]


def test_null_where_nothing_can_be_none_changes_nothing():
    line = Line()
    before = line.update(instructions="Be kind.")
    assert line.update(instructions=None, audio=None, tools=None, max_output_tokens=None) == before


@pytest.mark.parametrize(
    ("asked", "echoed", "meant"), [(100_000, 4096, 4096), (10, 10, 10), ("inf", "inf", 256)]
)
def test_max_output_tokens_is_bounded(asked, echoed, meant):
    line = Line()
    assert line.update(max_output_tokens=asked)["max_output_tokens"] == echoed
    assert line.dialect.wishes.max_tokens == meant


def test_the_voice_is_locked_once_it_was_heard():
    line = Line()
    line.update(audio={"output": {"voice": "cedar"}})
    assert line.dialect.wishes.voice == "engine-cedar"
    line.answer(1, "Yes.")
    line.update(audio={"output": {"voice": "cedar"}})
    with pytest.raises(ClientError, match="voice cannot change") as raised:
        line.update(audio={"output": {"voice": {"id": "marin"}}})
    assert raised.value.wire_code == "cannot_update_voice"
    assert line.dialect.wishes.voice == "engine-cedar"


def test_what_only_we_may_set_stays():
    session = Line().update(id="sess_mine", expires_at=1, object="x", unheard_of=1)
    assert "unheard_of" not in session
    assert (session["id"], session["object"]) == ("sess_0123456789abcdef", "realtime.session")
    assert session["expires_at"] > 1
