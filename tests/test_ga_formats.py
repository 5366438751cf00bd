"""Audio formats of the GA dialect: what may be asked for, what is echoed, and how audio travels in events."""

import base64
import json
from typing import Any

import pytest

from config.errors import ClientError
from tasks.codec import PACKET_SAMPLES, encoder
from tests.ga_line import Line, S
from tests.test_resuming import TONE
from web.dialects.base import AppendAudio, AudioOut, CreateReply
from web.dialects.ga_formats import MAX_APPEND_S
from web.reply_options import ReplyOptions

PCM = {"type": "audio/pcm", "rate": 24_000}

OPUS = encoder("opus").encode(TONE)


def both(kind: str) -> dict[str, Any]:
    return {"input": {"format": {"type": kind}}, "output": {"format": {"type": kind}}}


def append(line: Line, audio: bytes, **fields: Any) -> list[Any]:
    return line.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode(), **fields)


def opus_line() -> Line:
    """A client with our extensions; the SDK knows nothing of this format, so what is sent is not shown to it."""
    line = Line("antiphon")
    line.send("session.update", session={"audio": both("audio/opus")})
    return line


def refusal(line: Line, kind: str = "session.update", **fields: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        line.send(kind, **fields)
    return raised.value


@pytest.mark.parametrize(
    ("kind", "ours"), [("audio/pcmu", "pcmu"), ("audio/pcma", "pcma"), ("audio/pcm", "pcm16")]
)
def test_each_direction_has_its_own_format_and_it_is_echoed(kind: str, ours: str) -> None:
    line = Line()
    shown = PCM if ours == "pcm16" else {"type": kind}
    session = line.update(audio={"input": {"format": {"type": kind}}})
    assert (session["audio"]["input"]["format"], session["audio"]["output"]["format"]) == (shown, PCM)
    assert (line.dialect.wishes.input_format, line.dialect.wishes.output_format) == (ours, "pcm16")
    session = line.update(audio={"input": {"format": PCM}, "output": {"format": {"type": kind}}})
    assert (session["audio"]["input"]["format"], session["audio"]["output"]["format"]) == (PCM, shown)
    assert (line.dialect.wishes.input_format, line.dialect.wishes.output_format) == ("pcm16", ours)


def test_g711_may_be_given_its_rate_and_no_other() -> None:
    line = Line()
    session = line.update(audio={"input": {"format": {"type": "audio/pcmu", "rate": 8_000}}})
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    error = refusal(line, session={"audio": {"output": {"format": {"type": "audio/pcma", "rate": 16_000}}}})
    assert (error.param, error.wire_code) == ("session.audio.output.format.rate", "invalid_audio")
    assert "8000" in str(error)


def test_pcm_of_another_rate_is_refused_and_nothing_of_the_update_is_taken() -> None:
    line = Line()
    before = line.update(instructions="Be kind.")
    format_ = {"type": "audio/pcm", "rate": 16_000}
    error = refusal(line, session={"instructions": "Be rude.", "audio": {"input": {"format": format_}}})
    assert error.param == "session.audio.input.format.rate"
    assert line.update() == before


def test_a_later_connection_goes_on_in_the_same_formats() -> None:
    line, later = Line(), Line()
    line.update(audio=both("audio/pcma"))
    later.dialect.restore(json.loads(json.dumps(line.dialect.snapshot())))
    assert later.dialect.wishes.input_format == later.dialect.wishes.output_format == "pcma"


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_g711_comes_in_pieces_of_any_length(kind: str) -> None:
    line = Line()
    line.update(audio=both(kind))
    for size in (0, 1, 159, 160, 161):
        assert append(line, bytes(size)) == [
            AppendAudio([bytes(size)], 3 * size, kind.removeprefix("audio/"))
        ]


def test_a_format_that_changes_is_that_of_the_audio_after_it() -> None:
    line = Line()
    assert append(line, bytes(4)) == [AppendAudio([bytes(4)], 2, "pcm16")]
    line.update(audio=both("audio/pcmu"))
    assert append(line, bytes(4)) == [AppendAudio([bytes(4)], 12, "pcmu")]


@pytest.mark.parametrize(("kind", "second"), [("audio/pcm", 2 * S), ("audio/pcmu", S // 3)])
def test_an_append_of_too_much_is_refused(kind: str, second: int) -> None:
    line = Line()
    line.update(audio=both(kind))
    assert append(line, bytes(second * MAX_APPEND_S))
    error = refusal(line, "input_audio_buffer.append", audio=base64.b64encode(bytes(second * 11)).decode())
    assert error.param == "audio"


def test_a_reply_in_g711_is_bytes_of_g711() -> None:
    line = Line()
    line.update(audio={"output": {"format": {"type": "audio/pcmu"}}})
    line.begin(1)
    line.hear(line.dialect.reply_audio(AudioOut(1, [bytes(160)] * 4, 1920, [])))
    delta = line.last("response.output_audio.delta")
    assert base64.b64decode(delta["delta"]) == bytes(640)
    assert "antiphon" not in delta


def test_one_response_may_sound_in_a_format_of_its_own() -> None:
    line = Line()
    (asked,) = line.send(
        "response.create", response={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    )
    assert isinstance(asked, CreateReply)
    assert isinstance(asked.options, ReplyOptions)
    assert asked.options.wishes.output_format == "pcmu"
    line.begin(1, asked.options)
    shown = line.last("response.created")["response"]["audio"]["output"]["format"]
    assert shown == {"type": "audio/pcmu"}
    assert line.dialect.wishes.output_format == "pcm16"


def test_a_response_in_a_format_that_is_none_names_the_field() -> None:
    error = refusal(
        Line(), "response.create", response={"audio": {"output": {"format": {"type": "audio/mp3"}}}}
    )
    assert error.param == "response.audio.output.format.type"


# --- Opus, an extension


@pytest.mark.parametrize("way", ["input", "output"])
def test_opus_is_for_who_asked_for_our_extensions(way: str) -> None:
    error = refusal(Line(), session={"audio": {way: {"format": {"type": "audio/opus"}}}})
    assert error.param == f"session.audio.{way}.format.type"
    assert "extensions=antiphon" in str(error)
    error = refusal(
        Line(), "response.create", response={"audio": {"output": {"format": {"type": "audio/opus"}}}}
    )
    assert error.param == "response.audio.output.format.type"


def test_opus_is_not_offered_to_who_cannot_have_it() -> None:
    error = refusal(Line(), session={"audio": {"input": {"format": {"type": "audio/flac"}}}})
    assert "opus" not in str(error)


def test_an_append_of_opus_is_one_packet() -> None:
    assert append(opus_line(), OPUS[0]) == [AppendAudio([OPUS[0]], PACKET_SAMPLES, "opus")]


def test_an_append_may_bring_several_packets_and_says_how_long_each_is() -> None:
    sizes = [len(packet) for packet in OPUS[:5]]
    (request,) = append(opus_line(), b"".join(OPUS[:5]), antiphon={"packets": sizes})
    assert request == AppendAudio(OPUS[:5], 5 * PACKET_SAMPLES, "opus")


@pytest.mark.parametrize(
    ("audio", "sizes", "param"),
    [
        pytest.param(OPUS[0], [len(OPUS[0]) + 1], "antiphon.packets", id="lengths beyond the audio"),
        pytest.param(OPUS[0] + OPUS[1], [len(OPUS[0])], "antiphon.packets", id="audio beyond the lengths"),
        pytest.param(OPUS[0], [], "antiphon.packets", id="no lengths"),
        pytest.param(OPUS[0], [0, len(OPUS[0])], "antiphon.packets[0]", id="a packet of nothing"),
        pytest.param(b"", None, "audio", id="nothing"),
        pytest.param(b"\xff\xff" + bytes(9), None, "audio", id="no Opus"),
        pytest.param(b"\x83\x30" * 90, [2] * 90, "audio", id="too much"),
    ],
)  # fmt: skip
def test_opus_that_does_not_fit_is_refused(audio: bytes, sizes: list[int] | None, param: str) -> None:
    fields = {} if sizes is None else {"antiphon": {"packets": sizes}}
    line = opus_line()
    error = refusal(line, "input_audio_buffer.append", audio=base64.b64encode(audio).decode(), **fields)
    assert error.param == param
    assert append(line, OPUS[0]), "the session lives on"


def test_a_delta_of_opus_says_where_its_packets_end() -> None:
    line = opus_line()
    line.dialect.reply_started(1, ReplyOptions(line.dialect.wishes), again=False)
    *_, raw = line.dialect.reply_audio(AudioOut(1, OPUS[:4], 4 * PACKET_SAMPLES, []))
    delta = json.loads(raw)
    data, packets = base64.b64decode(delta["delta"]), []
    for size in delta["antiphon"]["packets"]:
        packets.append(data[:size])
        data = data[size:]
    assert packets == OPUS[:4]
    assert not data
