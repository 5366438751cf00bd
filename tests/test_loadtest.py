"""`antiphon loadtest` in virtual time: its statistics, its verdict, its search, its talkers, its report. No server."""

import base64
import json
import math
import random
import re
import socket
import threading
from itertools import pairwise
from random import Random
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from cli.loadtest import charts, command, figures, html, report, server_metrics, sounds
from cli.loadtest.capacity import TOLERANCE, Search, Verdict
from cli.loadtest.charts import Chart, Series, nice_ticks
from cli.loadtest.figures import Spread, percentile, spread, spread_down, spread_of
from cli.loadtest.gathered import MOST_FAILURES, Busy, Gathered, Turn, joined
from cli.loadtest.generator import MOST_BUSY, MOST_LATE_P95_MS, Order, health
from cli.loadtest.plan import Plan, Speech, Utterance
from cli.loadtest.progress import line
from cli.loadtest.talker import GIVE_UP_S, GREETING_S, OVERDUE_S, Talker
from cli.loadtest.targets import Targets, judge
from cli.loadtest.wires import GaWire, Heard, Kind, UnmuteWire, address, prepared
from cli.ogg_pages import OggPages, page_crc
from config.errors import ConfigError
from web.ogg import OggOpusReader

# --- figures


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 20.0), (0.95, 38.0), (0.99, 40.0), (1.0, 40.0), (0.0, 1.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    assert percentile([float(value) for value in range(40, 0, -1)], share) == expected


def test_a_spread_has_mean_median_and_tail_and_leaves_out_what_never_came():
    values = [*map(float, range(1, 101)), None]
    assert spread(values) == Spread(100, 50.5, 50.0, 90.0, 95.0, 99.0, 100.0)


def test_of_what_should_be_high_the_tail_is_low():
    assert spread_down(map(float, range(1, 101))) == Spread(100, 50.5, 51.0, 11.0, 6.0, 2.0, 1.0)


def test_nothing_has_no_figures():
    assert spread([]) == spread_down([None]) == spread_of({}) == Spread()


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_counted_durations_have_the_same_spread_to_a_tenth_of_a_millisecond(seconds):
    tally: figures.Tally = {}
    for one in seconds:
        figures.count(tally, one)
    exact, counted = spread(1000 * one for one in seconds), spread_of(tally)
    for name, value in exact.data.items():
        assert counted.data[name] == pytest.approx(value, abs=0.051)


def test_what_comes_too_early_is_not_late():
    tally: figures.Tally = {}
    figures.count(tally, -0.5)
    assert spread_of(tally).worst == 0


# --- what several processes gather


def test_what_processes_gather_adds_up_over_the_wire():
    one, other = (
        Gathered(turns=[Turn(1.0, "ok", voice_to_voice_ms=430.0)]),
        Gathered(pings=[(2.0, 0.4)], queued=1),
    )
    one.fail(3.0, "closed with 1013", "full")
    other.fail(4.0, "closed with 1013")
    other.warn("stage_waiting")
    figures.count(other.sent_late, 0.0012)
    sent = [msgspec.json.decode(msgspec.json.encode(part), type=Gathered) for part in (one, other, other)]
    whole = joined(sent)
    assert whole.causes() == {"closed with 1013": 3}
    assert whole.detail("closed with 1013") == "full"
    assert (whole.sent_late, whole.queued, whole.warnings) == ({12: 2}, 2, {"stage_waiting": 2})
    assert (len(whole.turns), len(whole.pings), whole.failed) == (1, 2, 3)


def test_failures_without_end_are_counted_and_not_kept():
    found = Gathered()
    for _ in range(MOST_FAILURES + 5):
        found.fail(0.0, "cannot connect")
    assert len(found.failures) == MOST_FAILURES
    assert found.failed == joined([found]).failed == MOST_FAILURES + 5


# --- the verdict


def good_turn(at_s: float = 1.0, **other: float) -> Turn:
    times = {
        "end_of_turn_ms": 330.0,
        "stt_ms": 1.0,
        "llm_ms": 40.0,
        "tts_ms": 55.0,
        "voice_to_voice_ms": 426.0,
    }
    return Turn(at_s, "ok", **{**times, "audio_s": 6.4, "factor": 1.03, "jitter_ms": 2.0, **other})  # type: ignore[arg-type]


def good_run(**changes: object) -> Gathered:
    found = Gathered(turns=[good_turn(at_s) for at_s in range(20)], pings=[(1.0, 2.0)], conversations=4)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_a_good_run_holds_all_targets():
    assert judge(good_run(), Targets()).missed == []


@pytest.mark.parametrize(
    ("turn", "missed"),
    [
        ({"stt_ms": 50.0}, ["STT"]),
        ({"llm_ms": 200.0}, ["LLM"]),
        ({"tts_ms": 450.0}, ["TTS start"]),
        ({"factor": 1.0}, ["realtime factor"]),
        ({"late_ms": 0.1}, ["late replies"]),
        ({"voice_to_voice_ms": 9000.0}, []),
    ],
)
def test_a_target_is_missed_from_its_value_on(turn, missed):
    assert judge(good_run(turns=[good_turn(**turn)] * 20), Targets()).missed == missed


def test_one_bad_turn_in_twenty_is_held_by_p95_and_two_are_not():
    slow = good_turn(llm_ms=900.0)
    assert judge(good_run(turns=[good_turn()] * 19 + [slow]), Targets()).held
    assert judge(good_run(turns=[good_turn()] * 18 + [slow] * 2), Targets()).missed == ["LLM"]


def test_a_run_without_turns_holds_nothing():
    assert set(judge(Gathered(), Targets()).missed) == {"STT", "LLM", "TTS start", "realtime factor", "ping"}


def test_failures_and_voice_to_voice_are_judged_as_asked():
    failed = good_run()
    failed.fail(1.0, "turn unanswered")
    assert judge(failed, Targets()).missed == ["failures"]
    assert judge(failed, Targets(failures=1)).held
    assert judge(good_run(), Targets(voice_to_voice_ms=400)).missed == ["voice to voice"]


def test_a_generator_that_kept_time_has_no_troubles():
    found = good_run(busy=[Busy(0, float(second), 0.1, 64) for second in range(10)])
    figures.count(found.sent_late, 0.001)
    kept = health(found)
    assert kept.troubles == []
    assert kept.cpu_ms_per_session_second == pytest.approx(100 / 64)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"sent_late": {round(MOST_LATE_P95_MS * 10) + 1: 1}}, "packets left"),
        ({"loop_lag": {5000: 1}}, "event loops lagged"),
        ({"busy": [Busy(0, 1.0, 0.1, 9), Busy(1, 1.0, MOST_BUSY + 0.1, 9)]}, "of a core"),
    ],
)
def test_a_generator_that_is_the_bottleneck_says_why(trouble, said):
    assert said in " ".join(health(good_run(**trouble)).troubles)


def test_sessions_are_spread_over_processes():
    order = Order("ws://h/", "ga", Speech("hum", 1920, [], []), 130, 0.0)
    assert order.shares == [44, 43, 43]
    assert Order("ws://h/", "ga", Speech("hum", 1920, [], []), 3, 0.0, processes=8).shares == [1, 1, 1]


# --- the search for capacity


def searched(verdict, start: int, most: int = 4096) -> tuple[Search, list[int]]:
    search, tried = Search(start, most), []
    while (sessions := search.wanted) is not None:
        tried.append(sessions)
        assert len(tried) < 100, "it never ends"
        search.tell(sessions, verdict(sessions))
    return search, tried


def held_up_to(capacity: int):
    return lambda sessions: Verdict.HELD if sessions <= capacity else Verdict.MISSED


@given(st.integers(0, 3000), st.integers(1, 500))
def test_the_search_finds_the_capacity_to_its_tolerance(capacity, start):
    search, tried = searched(held_up_to(capacity), start)
    assert search.best <= capacity
    assert capacity - search.best <= max(1, TOLERANCE * search.best)
    assert len(tried) <= 60


def test_a_capacity_beyond_what_may_be_tried_is_at_least_that():
    search, tried = searched(held_up_to(10**6), 16, most=100)
    assert tried == [16, 32, 64, 100]
    assert search.answer() == "at least 100 sessions, the most that were tried"


def test_one_miss_may_be_the_weather():
    weather = iter([Verdict.HELD, Verdict.MISSED])
    search, tried = searched(lambda sessions: next(weather, Verdict.HELD), 8, most=32)
    assert tried == [8, 16, 16, 32]
    assert search.best == 32


def test_the_search_ends_where_the_generator_does():
    search, tried = searched(lambda sessions: Verdict.HELD if sessions < 64 else Verdict.INVALID, 16)
    assert tried == [16, 32, 64]
    assert search.answer() == "at least 32 sessions; the generator could not keep time at 64"


def test_a_search_that_is_interrupted_claims_no_end():
    search = Search(8, 4096, interrupted=True)
    assert search.answer() == "unknown; interrupted before any number held"
    search.tell(8, Verdict.HELD)
    assert search.answer() == "at least 8 sessions; interrupted before more was known"
    assert command._status_of(search) == command.UNKNOWN


def test_a_server_that_holds_nobody_is_told_so():
    search, _ = searched(held_up_to(0), 8)
    assert (search.best, search.too_many) == (0, 1)
    assert search.answer() == "not even 1 session"


# --- talkers, in virtual time

PACKET_S = 0.08


def talk(packets: int = 5) -> Speech:
    said = Utterance([[f"voice{number}".encode()] for number in range(packets)], 0, packets)
    return Speech("words", 1920, [said], [b"silence"])


class Scene:
    """A talker, a clock, and what the server says at which moment."""

    def __init__(self, dialect: str = "ga", turns: int | None = 1, **plan: float) -> None:
        self.found = Gathered()
        self.plan = Plan(
            url="ws://h/", dialect=dialect, speech=talk(), sessions=1, first=0, of=1, process=0, zero_s=100.0,
            ramp_s=0.0, begin_s=plan.get("begin_s", 100.0), end_s=plan.get("end_s", math.inf), turns=turns,
        )  # fmt: skip
        self.wire = GaWire() if dialect == "ga" else UnmuteWire(1920)
        self.talker = Talker(self.plan, self.wire, Random(1), self.found)
        self.talker.ready_s = 100.0
        self.now_s = 100.0
        self.sent: list[bytes] = []

    def packets(self, count: int) -> None:
        for _ in range(count):
            self.now_s = round(self.now_s + PACKET_S, 6)
            self.sent.append(self.talker.speak(self.now_s))

    def until_spoken(self) -> float:
        """The user says it all; returns when the voice ended."""
        while not self.sent or self.sent[-1] != b"voice4":
            self.packets(1)
            assert self.now_s < 110
        return self.now_s

    def hear(self, after_s: float, kind: Kind, samples: int = 0, code: str = "") -> None:
        self.talker.hear(Heard(kind, samples, code), self.now_s + after_s)

    def answer(self, seconds: float = 1.6) -> None:
        """A turn as a server answers it, its audio paced and on time."""
        for after_s, kind in (
            (0.33, Kind.TURN_ENDED),
            (0.34, Kind.TRANSCRIPT),
            (0.35, Kind.REPLY),
            (0.38, Kind.TEXT),
        ):
            self.hear(after_s, kind)
        for number in range(round(seconds / PACKET_S)):
            self.hear(0.44 + number * PACKET_S, Kind.AUDIO, 1920)
        self.hear(0.44 + seconds, Kind.DONE)

    def rest(self) -> None:
        while not self.talker.over:
            self.packets(1)
            assert self.now_s < 200, "it never ends"


def test_a_turn_is_measured_stage_by_stage():
    scene = Scene()
    scene.until_spoken()
    scene.answer()
    scene.rest()
    (turn,) = scene.found.turns
    assert (turn.outcome, turn.end_of_turn_ms, turn.stt_ms, turn.llm_ms, turn.tts_ms) == (
        "ok",
        330,
        10,
        40,
        60,
    )
    assert turn.voice_to_voice_ms == 440
    assert turn.voice_to_voice_ms == turn.end_of_turn_ms + turn.stt_ms + turn.llm_ms + turn.tts_ms
    assert (turn.audio_s, turn.late_ms, turn.jitter_ms) == (1.6, 0, pytest.approx(0))
    assert turn.factor == pytest.approx(1.6 / 1.52, abs=0.001)


def test_only_who_got_an_answer_was_held():
    scene = Scene()
    scene.until_spoken()
    assert not scene.talker.answered
    scene.answer()
    scene.rest()
    assert scene.talker.answered
    ignored = Scene()
    ignored.until_spoken()
    ignored.rest()
    assert not ignored.talker.answered


@pytest.mark.parametrize(
    ("url", "dialect", "asked"),
    [
        ("ws://h:1/v1/realtime", "ga", "ws://h:1/v1/realtime?extensions=antiphon"),
        ("ws://h/r?model=m&x=a%20b", "ga", "ws://h/r?model=m&x=a%20b&extensions=antiphon"),
        ("ws://h/r?extensions=antiphon", "ga", "ws://h/r?extensions=antiphon"),
        ("ws://h/r?extensions=", "ga", "ws://h/r?extensions="),
        ("ws://h/r?dialect=unmute", "unmute", "ws://h/r?dialect=unmute"),
    ],
)
def test_talkers_ask_to_be_told_of_the_line(url, dialect, asked):
    assert address(url, dialect) == asked


def test_a_report_says_who_had_no_answer_in_a_line_of_its_own():
    silent = told(good_run(unheard=3, waited_to_the_end=2, queued=3))
    said = "conversations without an answer when the run ended: 3, of these waited for a place to the end: 2"
    assert said in report.text(silent)
    assert "without an answer" not in report.text(told(good_run()))
    assert report.data(silent)["waited_to_the_end"] == 2


def test_silence_comes_before_the_voice_and_after_it():
    scene = Scene()
    scene.until_spoken()
    scene.packets(3)
    voice = [packet for packet in scene.sent if packet != b"silence"]
    assert voice == [b"voice0", b"voice1", b"voice2", b"voice3", b"voice4"]
    assert scene.sent[0] == scene.sent[-1] == b"silence"


def test_a_talker_waits_until_the_answer_was_played_and_not_only_sent():
    scene = Scene()
    spoken_s = scene.until_spoken()
    for kind in (Kind.TURN_ENDED, Kind.TRANSCRIPT, Kind.REPLY, Kind.TEXT):
        scene.hear(0.3, kind)
    scene.hear(0.4, Kind.AUDIO, 4 * 24_000)
    scene.hear(0.5, Kind.DONE)
    scene.rest()
    assert scene.now_s >= spoken_s + 4.4


def test_a_transcript_after_the_reply_began_is_not_waited_for_by_the_llm():
    scene = Scene()
    scene.until_spoken()
    for after_s, kind in (
        (0.3, Kind.TURN_ENDED),
        (0.32, Kind.REPLY),
        (0.35, Kind.TEXT),
        (0.4, Kind.TRANSCRIPT),
    ):
        scene.hear(after_s, kind)
    scene.hear(0.45, Kind.AUDIO, 1920)
    scene.hear(0.5, Kind.DONE)
    scene.rest()
    (turn,) = scene.found.turns
    assert (turn.stt_ms, turn.llm_ms, turn.tts_ms) == (100, 50, 100)


def test_late_audio_and_jitter_are_those_of_a_player():
    scene = Scene()
    scene.until_spoken()
    for kind in (Kind.TURN_ENDED, Kind.TRANSCRIPT, Kind.REPLY, Kind.TEXT):
        scene.hear(0.3, kind)
    scene.hear(0.4, Kind.AUDIO, 1920)
    scene.hear(1.0, Kind.AUDIO, 1920)  # the player held 80 ms and its head start of 80 ms
    scene.hear(1.1, Kind.DONE)
    scene.rest()
    (turn,) = scene.found.turns
    assert turn.late_ms == pytest.approx(440)
    assert turn.jitter_ms == pytest.approx(520 / 16, abs=0.01)


def test_a_turn_without_an_answer_is_a_failure_in_the_end():
    scene = Scene()
    spoken_s = scene.until_spoken()
    scene.rest()
    assert scene.now_s > spoken_s + GIVE_UP_S
    assert ([turn.outcome for turn in scene.found.turns], scene.found.causes()) == (
        ["unanswered"],
        {"turn unanswered": 1},
    )


def test_a_reply_that_fails_is_a_failure_at_once():
    scene = Scene()
    spoken_s = scene.until_spoken()
    for kind in (Kind.TURN_ENDED, Kind.REPLY, Kind.FAILED):
        scene.hear(0.3, kind)
    scene.rest()
    assert scene.now_s < spoken_s + 1
    assert scene.found.causes() == {"turn failed": 1}


def test_a_reply_that_is_cancelled_and_made_anew_answers_the_turn():
    scene = Scene()
    scene.until_spoken()
    for kind in (Kind.TURN_ENDED, Kind.REPLY, Kind.TEXT, Kind.CANCELLED):
        scene.hear(0.2, kind)
    scene.answer()
    scene.rest()
    assert [turn.voice_to_voice_ms for turn in scene.found.turns] == [440]


def test_a_turn_that_the_server_took_too_early_has_no_times():
    scene = Scene()
    while b"voice2" not in scene.sent:
        scene.packets(1)
    for kind in (Kind.TURN_ENDED, Kind.REPLY, Kind.TEXT):
        scene.hear(0.0, kind)
    scene.hear(0.0, Kind.AUDIO, 1920)
    scene.until_spoken()
    scene.hear(0.1, Kind.AUDIO, 1920)
    scene.hear(0.2, Kind.DONE)
    scene.rest()
    assert scene.found.turns == [Turn(scene.found.turns[0].at_s, "early")]
    assert not scene.found.failed


def test_turns_before_the_measured_time_do_not_count():
    scene = Scene(begin_s=150.0)
    scene.until_spoken()
    scene.answer()
    scene.rest()
    assert scene.found.turns == []


def test_a_turn_that_is_being_answered_when_the_run_ends_counts():
    scene = Scene(turns=None)
    scene.until_spoken()
    for kind in (Kind.TURN_ENDED, Kind.TRANSCRIPT, Kind.REPLY, Kind.TEXT):
        scene.hear(0.3, kind)
    scene.hear(0.4, Kind.AUDIO, 1920)
    scene.talker.break_off(scene.now_s + 1)
    assert [turn.voice_to_voice_ms for turn in scene.found.turns] == [400]


def test_a_turn_that_has_waited_long_when_the_run_ends_is_a_failure_and_a_new_one_is_not():
    for waited_s, outcomes in ((OVERDUE_S - 0.1, []), (OVERDUE_S + 0.1, ["unanswered"])):
        scene = Scene(turns=None)
        spoken_s = scene.until_spoken()
        scene.talker.break_off(spoken_s + waited_s)
        assert [turn.outcome for turn in scene.found.turns] == outcomes


def test_who_is_greeted_waits_for_the_end_of_the_greeting():
    scene = Scene("unmute")
    scene.packets(2)
    for kind in (Kind.REPLY, Kind.TEXT):
        scene.hear(0.1, kind)
    scene.hear(0.2, Kind.AUDIO, 24_000)
    scene.hear(0.3, Kind.DONE)
    greeted_s = scene.now_s + 0.2
    before = len(scene.sent)
    while scene.talker._phase.name == "GREETED":
        scene.packets(1)
    assert scene.now_s > greeted_s + 1
    assert len(scene.sent) > before
    assert scene.found.greetings_ms == [pytest.approx(360)]


def test_an_assistant_that_never_greets_is_a_failure_and_the_user_speaks_all_the_same():
    scene = Scene("unmute")
    scene.packets(round(GREETING_S / PACKET_S) + 60)
    assert scene.found.causes() == {"no greeting": 1}
    assert scene.talker._at > 0


def test_a_greeting_that_fails_is_a_failure():
    scene = Scene("unmute")
    scene.packets(2)
    scene.hear(0.1, Kind.REPLY)
    scene.hear(0.2, Kind.FAILED)
    scene.packets(60)
    assert scene.found.causes() == {"greeting failed": 1}


def test_a_greeting_that_begins_and_never_ends_is_a_failure_and_the_user_speaks_all_the_same():
    scene = Scene("unmute")
    scene.packets(2)
    for kind in (Kind.REPLY, Kind.TEXT):
        scene.hear(0.1, kind)
    scene.hear(15.0, Kind.AUDIO, 24_000)
    scene.packets(round((GIVE_UP_S + 15) / PACKET_S))
    assert scene.found.causes() == {}
    scene.packets(60)
    assert scene.found.causes() == {"no greeting": 1}
    assert scene.found.detail("no greeting") == "it began, and never ended"
    assert scene.talker._at > 0


def test_a_greeting_that_stalls_is_late_audio_like_any_other():
    scene = Scene("unmute")
    scene.packets(2)
    scene.hear(0.1, Kind.REPLY)
    for after_s in (0.2, 0.9):
        scene.hear(after_s, Kind.AUDIO, 1920)
    scene.hear(1.0, Kind.DONE)
    scene.packets(60)
    assert scene.found.late_greetings == 1
    late = judge(good_run(late_greetings=1), Targets())
    assert late.missed == ["late replies"]


# --- the two wires


def event(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, "event_id": "event_1", **fields}).encode()


@pytest.mark.parametrize(
    ("wire", "message", "heard"),
    [
        (GaWire(), event("response.output_audio.delta", delta="A" * 5120), Heard(Kind.AUDIO, 1920)),
        (GaWire(), event("input_audio_buffer.speech_started"), Heard(Kind.OTHER)),
        (GaWire(), event("error", error={"type": "server_error", "code": "stage_failed", "message": "no"}),
         Heard(Kind.ERROR, 0, "stage_failed", "no")),
        (GaWire(), event("error", error={"type": "server_error", "code": "stage_waiting", "message": "wait"}),
         Heard(Kind.QUEUED, 0, "stage_waiting", "wait")),
        (UnmuteWire(1920), event("error", error={"type": "warning", "code": "slow", "message": "so"}),
         Heard(Kind.WARNING, 0, "slow", "so")),
        (UnmuteWire(1920), event("response.audio.done"), Heard(Kind.DONE)),
    ],
    ids=["audio is counted", "an event of no matter", "an error", "a place in the queue", "a warning", "an end"],
)  # fmt: skip
def test_of_a_message_its_type_is_read(wire, message, heard):
    assert wire.read(message) == heard


@pytest.mark.parametrize(
    ("status", "kind"), [("completed", Kind.DONE), ("cancelled", Kind.CANCELLED), ("failed", Kind.FAILED)]
)
def test_how_a_response_ended_is_read(status, kind):
    assert GaWire().read(event("response.done", response={"status": status})).kind is kind


@pytest.mark.parametrize("wire", [GaWire(), UnmuteWire(1920)])
def test_what_is_no_event_is_an_error_of_the_server(wire):
    assert wire.read(b"<html>").code == "bad_server_message"


def test_the_length_of_ogg_pages_is_read_from_their_positions_even_if_a_header_is_cut():
    pages, wire = OggPages(), UnmuteWire(1920)
    stream = b"".join([*pages.head(), *(pages.page([b"x" * 30] * 4, 1920) for _ in range(10))])
    cuts = sorted({0, len(stream), *random.Random(3).sample(range(len(stream)), 6)})
    pieces = [stream[a:b] for a, b in pairwise(cuts)]
    deltas = [event("response.audio.delta", delta=base64.b64encode(piece).decode()) for piece in pieces]
    assert sum(wire.read(delta).samples for delta in deltas) == 19_200


def test_a_talkers_pages_are_read_by_the_server():
    wire, reader = UnmuteWire(1920), OggOpusReader()
    said = [json.loads(wire.append([b"\xf8" + bytes([number])] * 4))["audio"] for number in range(3)]
    packets = [packet for audio in said for packet in reader.read(base64.b64decode(audio))]
    assert packets == [b"\xf8" + bytes([number]) for number in range(3) for _ in range(4)]
    assert not reader.trouble


def test_the_checksum_of_a_page_is_that_of_the_ogg_standard():
    # RFC 3533's CRC of the bytes 0 to 255, reckoned bit by bit
    remainder = 0
    for byte in range(256):
        remainder ^= byte << 24
        for _ in range(8):
            remainder = ((remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)) & 0xFFFFFFFF
    assert page_crc(bytes(range(256))) == remainder


def test_messages_of_the_openai_dialect_are_made_once():
    speech = prepared("ga", talk())
    assert json.loads(GaWire().append(speech.utterances[0].packets[0])) == {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(b"voice0").decode(),
    }


# --- what is said


def test_a_hum_is_taken_for_voice_from_its_first_packet_to_its_last():
    speech = sounds.speech("hum", sounds.hums(), "ga", 80)
    for said in speech.utterances:
        assert (said.voiced_from, said.voiced_to) == (0, len(said.packets))
        levels = [np.frombuffer(packet[0], "<i2").astype(float).std() for packet in said.packets]
        assert min(levels[:-1]) > 1000
    assert {len(packet) for said in speech.utterances for (packet,) in said.packets} == {3840}


def test_opus_packets_are_of_20_ms_each():
    speech = sounds.speech("hum", sounds.hums()[:1], "unmute", 40)
    assert {len(packet) for packet in speech.utterances[0].packets} == {2}
    assert len(speech.silence) == 2


def test_a_folder_is_read_with_any_rate_and_its_silence_is_cut_off(tmp_path):
    tone = 0.3 * np.sin(np.arange(8000) / 5)
    soundfile.write(tmp_path / "b.wav", np.concatenate([np.zeros(8000), tone, np.zeros(16_000)]), 16_000)
    (tmp_path / "notes.txt").write_text("no sound")
    source, clips = sounds.choose(str(tmp_path))
    speech = sounds.speech(source, clips, "ga", 80)
    assert source == f"files of {tmp_path.name}"
    assert len(speech.utterances[0].packets) * 0.08 == pytest.approx(0.5, abs=0.1)


def test_speech_that_cannot_be_played_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no sound file in it \(looked for .*\.wav"):
        sounds.choose(str(tmp_path))
    with pytest.raises(ConfigError, match="No such file or directory"):
        sounds.choose(str(tmp_path / "nowhere"))
    (tmp_path / "a.wav").write_bytes(b"RIFF of lies")
    with pytest.raises(ConfigError, match=r"a\.wav: is not a sound file"):
        sounds.choose(str(tmp_path))
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    with pytest.raises(ConfigError, match="holds nothing audible"):
        sounds.choose(str(tmp_path))


# --- the server's own figures

PAGE = """\
# TYPE worker_stt_ttft histogram
worker_stt_ttft_bucket{{le="0.025"}} {0}
worker_stt_ttft_bucket{{le="0.05"}} {1}
worker_stt_ttft_bucket{{le="+Inf"}} {1}
worker_stt_ttft_sum {2}
worker_stt_ttft_count {1}
"""


def test_the_servers_histograms_are_those_of_the_run_over_all_processes():
    before = {"a": PAGE.format(10, 10, 0.1), "gone": PAGE.format(5, 5, 0.1)}
    after = {"a": PAGE.format(10, 20, 0.5), "b": PAGE.format(99, 99, 9.9)}
    (row,) = server_metrics.rows(before, after)
    assert (row.count, row.median, row.p95) == (10, (25, 50), (25, 50))
    assert row.mean == pytest.approx(40)


def test_a_server_that_was_started_again_meanwhile_counts_from_nothing():
    before, after = PAGE.format(90, 100, 2.0), PAGE.format(9, 10, 0.2)
    assert server_metrics.rows({"a": before}, {"a": after}) == server_metrics.rows(
        {"a": PAGE.format(0, 0, 0)}, {"a": after}
    )


def test_a_page_of_metrics_from_who_speaks_no_http_is_left_out():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(b"no such thing\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert server_metrics.pages([f"http://127.0.0.1:{server.getsockname()[1]}/metrics"]) == {}
        thread.join()


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        command._save(tmp_path / "gone" / "file", b"")


def test_metrics_that_nobody_serves_are_left_out():
    assert server_metrics.pages(["http://127.0.0.1:1/metrics", "no address"]) == {}
    assert server_metrics.default_urls("wss://voice.example:8443/v1/realtime") == [
        "https://voice.example:8443/metrics"
    ]


# --- what is told


def told(found: Gathered, sessions: int = 4, *, interrupted: bool = False) -> report.Report:
    return report.report(
        found, Targets(), server_metrics.rows({"a": PAGE.format(0, 0, 0)}, {"a": PAGE.format(9, 10, 0.2)}), 0.5,
        url="ws://h/v1/realtime", dialect="ga", speech="a <hum>", sessions=sessions, processes=1, took_s=12.0,
        interrupted=interrupted,
    )  # fmt: skip


def test_the_table_names_the_figures_as_the_guide_does():
    said = report.text(told(good_run()))
    for name in ("STT p95", "TTS start p95", "realtime factor p95"):
        assert re.search(rf"^held +{name} [\d.]+", said, re.MULTILINE), said
    assert said.splitlines()[-1] == "targets held"


def test_what_failed_is_told_by_cause_with_what_the_first_said():
    found = good_run()
    found.fail(1.0, "closed with 1013", "no free slot")
    found.fail(2.0, "closed with 1013", "other words")
    said = report.text(told(found))
    assert "failed: 2 × closed with 1013 (no free slot)" in said
    assert said.splitlines()[-1] == "targets missed: failures"


def test_what_an_interrupted_run_never_measured_is_neither_held_nor_missed():
    shown = told(Gathered(pings=[(1.0, 2.0)]), interrupted=True)
    said = report.text(shown)
    assert "MISSED" not in said
    assert said.splitlines()[-1] == "interrupted before it was known: STT, LLM, TTS start, realtime factor"
    assert "Interrupted before it was known" in html.page(shown, [shown], None)
    slow = told(Gathered(pings=[(1.0, 200.0)]), interrupted=True)
    assert report.text(slow).splitlines()[-1] == "targets missed: ping"
    assert [command._status(one) for one in (shown, slow)] == [command.UNKNOWN, command.MISSED]


def test_a_run_that_measured_itself_is_called_invalid():
    shown = told(good_run(loop_lag={5000: 1}))
    assert not shown.valid
    assert "INVALID the generator was the bottleneck" in report.text(shown)


def test_the_json_holds_every_turn_and_is_json():
    data = json.loads(msgspec.json.encode(report.data(told(good_run()))))
    assert (data["held"], data["valid"], len(data["turns"])) == (True, True, 20)
    assert data["figures"]["STT"]["p95"] == 1.0


def test_the_report_is_one_file_without_a_script_or_an_address_to_fetch():
    page = html.page(told(good_run()), [], None)
    assert "<script" not in page
    assert not re.search(r"""(src|href)=|url\(|@import""", page)
    assert "a &lt;hum&gt;" in page
    assert "prefers-color-scheme: dark" in page


def test_a_report_of_a_run_without_anything_is_still_a_page():
    page = html.page(told(Gathered()), [], None)
    assert "nothing was measured" in page


def test_a_search_is_told_step_by_step():
    steps = [told(good_run(), sessions) for sessions in (4, 8)]
    page = html.page(steps[0], steps, "4 sessions; 8 are too many")
    assert "Capacity: 4 sessions; 8 are too many" in page
    assert page.count("<tr><td>8</td>") == 1


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(1.0, 5.0), (2.0, 1e6)], [(-3.0, 2.0), (7.0, 0.1)]])
def test_charts_are_well_formed_and_stay_in_their_frame(points, log_x):
    shapes = [Series(shape, points, "c1", shape) for shape in ("line", "dots", "bars", "steps")]
    drawn = charts.svg(Chart("<t>", "s", "ms", shapes, [("target", 3.0)], [("here", 1.0)], log_x=log_x))
    for element in ElementTree.fromstring(drawn).iter():
        for name, value in element.attrib.items():
            if name in ("x", "x1", "x2", "cx"):
                assert -1 <= float(value) <= charts.WIDTH + 5
            if name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(value) <= charts.HEIGHT


def test_a_chart_of_very_many_points_keeps_the_highest():
    points = [(float(x), 1.0) for x in range(100_000)]
    points[77_777] = (77_777.0, 99.0)
    kept = charts.thinned(points)
    assert len(kept) <= charts.MOST_POINTS
    assert (77_777.0, 99.0) in kept


@given(st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_ticks_are_few_and_span_the_range(low, width):
    ticks = nice_ticks(low, low + width)
    assert ticks[0] <= low + 1e-6
    assert ticks[-1] >= low + width - 1e-6 * (low + width)
    assert 2 <= len(ticks) <= 8


def test_progress_says_how_it_goes():
    assert line(3, 4, good_run()) == "3/4 sessions, 20 turns, 0 failures, voice to voice p95 426 ms"
    assert line(0, 4, Gathered()).endswith("p95 –")
