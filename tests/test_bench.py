"""The benches' arithmetic and their document; what they measure needs a whole server and is not tested here."""

import math
from typing import get_args

import numpy as np
import pytest

from bench import codecs, report
from bench.figures import at_most, percentile, show, spread
from bench.plumbing import PACKET_MS, STEPS, floor_ms, floors_ms, stages_ms
from bench.processes import Usage, cpu_ms_per_session_second, in_order
from bench.report import Bar, Section, Table, placed
from bench.speech import RECORDINGS, Utterance, mixed
from bench.wer import word_error_rate, words
from cli import sound
from cli.loadtest import histogram
from cli.loadtest.gathered import Turn
from cli.loadtest.histogram import Histogram, Quantile
from cli.sound import cut
from config.messages import AudioFormat
from gpu_workers.stt.null import Settings as NullStt
from tests import speech
from tests.conftest import missing

# --- percentiles


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, 20.0), (0.9, 36.0), (0.95, 38.0), (1.0, 40.0), (0.0, 1.0)],
)
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    assert percentile([float(value) for value in range(40, 0, -1)], share) == expected


def test_of_one_value_every_percentile_is_that_value():
    assert {percentile([7.0], share) for share in (0.0, 0.5, 0.95, 1.0)} == {7.0}


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_spread_leaves_out_what_never_came():
    found = spread([3.0, None, 1.0])
    assert (found.count, found.median, found.largest) == (2, 1.0, 3.0)


def test_a_spread_of_nothing_shows_dashes_and_reaches_no_bar():
    nothing = spread([None])
    assert nothing.cells == ["–"] * 4
    assert not at_most(nothing.p95, 1e9)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "–"), (0.0, "0"), (3.14, "3.1"), (42.4, "42"), (-2.5, "-2.5")]
)
def test_small_figures_keep_a_digit(value, expected):
    assert show(value) == expected


# --- histograms

PAGE = """\
# TYPE lag_seconds histogram
lag_seconds_bucket{{stage="stt",le="0.005"}} {0}
lag_seconds_bucket{{stage="stt",le="0.01"}} {1}
lag_seconds_bucket{{stage="stt",le="+Inf"}} {2}
lag_seconds_sum{{stage="stt"}} {3}
lag_seconds_count{{stage="stt"}} {2}
lag_seconds_bucket{{stage="tts",le="+Inf"}} 99
lag_seconds_count{{stage="tts"}} 99
"""


def lag(*figures: float) -> Histogram:
    return histogram.read(PAGE.format(*figures), "lag_seconds", stage="stt")


def test_a_histogram_holds_what_came_between_two_looks():
    since = lag(60, 100, 100, 0.5) - lag(10, 10, 10, 0.1)
    assert since.count == 90
    assert since.mean == pytest.approx(0.4 / 90)


def test_a_quantile_names_its_bucket_and_guesses_inside_it():
    quantile = lag(50, 100, 100, 0.5).quantile(0.75)
    assert quantile == Quantile(0.005, 0.01, pytest.approx(0.0075))


def test_a_quantile_beyond_the_last_bound_has_no_upper_end():
    quantile = lag(1, 2, 100, 9.0).quantile(0.95)
    assert quantile is not None
    assert (quantile.low, quantile.high) == (0.01, math.inf)


def test_a_histogram_that_is_not_there_has_no_quantiles():
    assert histogram.read("", "lag_seconds").quantile(0.5) is None


# --- plumbing


def test_the_floor_is_the_pause_in_whole_frames_and_what_the_engines_take():
    plain, slow = STEPS
    assert floor_ms(plain) == pytest.approx(320 + 30 + 50)
    assert floor_ms(slow) == pytest.approx(400 + 2 * 8.05)


def test_the_stages_of_a_turn_and_of_the_floor_add_up():
    turn = Turn(
        0.0, "ok", end_of_turn_ms=330.0, stt_ms=2.0, llm_ms=41.0, tts_ms=57.0, voice_to_voice_ms=430.0
    )
    stages = stages_ms(turn)
    assert stages is not None
    assert sum(stages.values()) == turn.voice_to_voice_ms
    assert all(sum(floors_ms(step).values()) == floor_ms(step) for step in STEPS)


def test_a_turn_without_an_end_has_no_stages():
    assert stages_ms(Turn(0.0, "ok", llm_ms=41.0, tts_ms=57.0)) is None


def test_a_packet_of_the_users_is_one_frame_of_the_null_engine():
    assert NullStt.model_validate({}).frame_samples == PACKET_MS * sound.RATE // 1000


def test_cpu_is_shared_out_among_sessions_and_seconds():
    before = {"web": Usage(1.0, 0, 0)}
    after = {"stt": Usage(9.0, 0, 0), "web": Usage(1.5, 0, 0)}
    assert cpu_ms_per_session_second(before, after, session_seconds=100) == {"web": pytest.approx(5.0)}


def test_programs_stand_along_the_way_of_the_data():
    assert in_order(["tts.2", "users", "state", "tts", "web"]) == ["web", "tts", "tts.2", "state", "users"]


# --- speech and words


def said(number: int, *, human: bool) -> Utterance:
    return Utterance(f"{'p' if human else 's'}{number}", cut(np.zeros(480, np.int16)), human)


def test_human_turns_are_spread_among_the_others_and_everything_comes_once():
    people = [said(number, human=True) for number in range(3)]
    others = [said(number, human=False) for number in range(6)]
    endless = mixed(people, others)
    once = [next(endless).text for _ in range(9)]
    assert once == ["s0", "s1", "p0", "s2", "s3", "p1", "s4", "s5", "p2"]
    assert next(endless).text == "s0"


def test_cuts_of_a_recording_follow_one_another():
    for recording in RECORDINGS:
        moments = [moment for begin, end, _ in recording.cuts for moment in (begin, end)]
        assert moments == sorted(moments)


def test_case_and_punctuation_are_no_errors():
    assert words("It’s – TWO, \nisn't it?") == "it's two isn't it"
    assert word_error_rate("Fail again. Fail better.", "fail again fail better") == 0


def test_wrong_missing_and_added_words_are_errors():
    assert word_error_rate("try again no matter", "fry again matter now") == pytest.approx(3 / 4)


# --- the document

SECTION = Section(
    "voice", "Voice", [Bar("median", "≤ 900 ms", "950 ms", False)], [Table(("ms", "max"), [("a", "1")])]
)


def test_a_section_shows_which_bar_was_missed():
    assert "| median | ≤ 900 ms | 950 ms | **no** |" in SECTION.markdown


def test_a_section_replaces_only_itself():
    document = "# By hand\n\n<!-- bench:voice -->\nold\n<!-- /bench:voice -->\n\nstays\n"
    found = placed(placed(document, "voice", r"new \1"), "ready", "there")
    assert "old" not in found
    assert r"new \1" in found
    assert found.startswith("# By hand")
    assert "stays" in found
    assert found.index("stays") < found.index("there")


def test_writing_twice_changes_nothing_more(tmp_path):
    path = tmp_path / "benchmarks.md"
    texts = []
    for _ in range(2):
        report.save(path, "Machine: one.", "*Measured today.*", [SECTION])
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert "*Measured today.*" in texts[0]


# --- audio formats


def test_every_format_is_measured_at_the_workers_and_in_the_web():
    if not speech.there():
        missing("moonshine-voice, whose recordings the bench uses")
    section = codecs.measure(0.5, lambda _: None)
    (table,) = section.tables
    assert [row[0] for row in table.rows] == list(get_args(AudioFormat))
    assert all(float(figure) > 0 for row in table.rows for figure in row[1:])
    assert [row[-1] for row in table.rows[:3]] == ["384", "64", "64"], "kbit/s are known"
    assert len(section.bars) == 2 * len(table.rows)
