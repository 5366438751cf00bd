"""The metrics as they are declared, and what moves those that a conversation without failures leaves alone."""

import struct
import time
from pathlib import Path

import pytest
import redis
from prometheus_client import Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from config import metrics, unmute_metrics
from config import redis_keys as keys
from config.errors import AntiphonError
from tasks import celery, queues, streams
from tasks.loop_metrics import Hearing, Speaking, StepMetrics, Writing
from tests.samples import Change
from tests.test_replier import Spoken
from web import metric_files, metric_folder, session_metrics
from web.pacing import Playback
from web.pinger import Pings
from web.stages import Stages
from web.turn_times import TurnTimes

S = 24_000

DECLARED = {
    name: metric
    for module in (metrics, unmute_metrics)
    for name, metric in vars(module).items()
    if isinstance(metric, MetricWrapperBase)
}

every_metric = pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())


# --- declarations


@every_metric
def test_a_metric_says_what_it_is(metric: MetricWrapperBase) -> None:
    assert len(metric._documentation) > 10


@every_metric
def test_a_session_is_never_a_label(metric: MetricWrapperBase) -> None:
    closed = {"stage", "part", "outcome", "code", "server", "queue", "kind", "reason", "version"}
    assert set(metric._labelnames) <= closed


@every_metric
def test_a_gauge_knows_what_becomes_of_it_when_its_process_dies(metric: MetricWrapperBase) -> None:
    if isinstance(metric, Gauge):
        assert metric._multiprocess_mode.startswith("live"), "or a dead process would be shown for ever"


@pytest.mark.parametrize(
    ("metric", "target_s"),
    [
        (metrics.frame_wait, 0.05),
        (unmute_metrics.stt_ttft, 0.05),
        (metrics.first_token, 0.2),
        (metrics.first_word, 0.2),
        (unmute_metrics.vllm_ttft, 0.2),
        (metrics.first_audio, 0.45),
        (unmute_metrics.tts_ttft, 0.45),
        (metrics.ping, 0.1),
        (unmute_metrics.stt_ping_time, 0.1),
        (unmute_metrics.tts_ping_time, 0.1),
    ],
    ids=lambda given: getattr(given, "_name", str(given)),
)
def test_a_target_is_the_edge_of_a_bucket(metric: Histogram, target_s: float) -> None:
    assert target_s in metric._upper_bounds, "else its share would be a guess"


def test_unmutes_names_are_all_there() -> None:
    """From unmute/metrics.py of github.com/kyutai-labs/unmute."""
    ours = {metric._name for name, metric in DECLARED.items() if vars(unmute_metrics).get(name) is metric}
    assert ours == {
        "worker_sessions", "worker_service_misses", "worker_hard_service_misses", "worker_force_disconnects",
        "worker_fatal_service_misses", "worker_hard_errors", "worker_active_sessions", "worker_session_duration",
        "worker_health_ok", "worker_stt_sessions", "worker_stt_active_sessions", "worker_stt_misses",
        "worker_stt_hard_misses", "worker_stt_sent_frames", "worker_stt_recv_frames", "worker_stt_recv_words",
        "worker_stt_ping_time", "worker_stt_find_time", "worker_stt_session_duration", "worker_stt_audio_duration",
        "worker_stt_num_words", "worker_stt_ttft", "worker_tts_sessions", "worker_tts_active_sessions",
        "worker_tts_misses", "worker_hard_tts_misses", "worker_tts_interrupt", "worker_tts_sent_frames",
        "worker_tts_recv_frames", "worker_tts_recv_words", "worker_tts_ping_time", "worker_tts_find_time",
        "worker_tts_ttft", "worker_tts_audio_duration", "worker_tts_gen_duration", "worker_vllm_sessions",
        "worker_vllm_active_sessions", "worker_vllm_interrupt", "worker_vllm_hard_errors", "worker_vllm_sent_words",
        "worker_vllm_recv_words", "worker_vllm_ttft", "worker_vllm_request_length", "worker_vllm_reply_length",
        "worker_vllm_gen_duration", "worker_voice_donation_submissions",
    }  # fmt: skip


# --- how connections end


def test_a_goodbye_is_nobodys_fault() -> None:
    forced = Change("worker_force_disconnects_total")
    session_metrics.ended_by_us(1000)
    assert forced() == 0


@pytest.mark.parametrize(
    ("code", "name"), [(1013, "worker_fatal_service_misses_total"), (1011, "worker_hard_errors_total")]
)
def test_a_connection_that_the_server_ends_is_counted_by_why(code: int, name: str) -> None:
    forced, why = Change("worker_force_disconnects_total"), Change(name)
    session_metrics.ended_by_us(code)
    assert (forced(), why()) == (1, 1)


def test_a_connection_that_breaks_is_an_error_of_ours_and_is_over() -> None:
    errors, lasted = Change("worker_hard_errors_total"), Change("worker_session_duration_count")
    active = Change("worker_active_sessions")
    with pytest.raises(ZeroDivisionError), session_metrics.connection():
        assert active() == 1
        raise ZeroDivisionError
    assert (errors(), lasted(), active()) == (1, 1, 0)


@pytest.mark.parametrize(
    ("stage", "name"), [("stt", "worker_stt"), ("tts", "worker_hard_tts"), ("llm", None)]
)
def test_a_stage_that_never_came_is_missed_for_good_once_nobody_wants_it(
    stage: str, name: str | None
) -> None:
    stages = Stages("s", lambda *_: None)
    named = Change(f"{name}_hard_misses_total" if stage == "stt" else f"{name}_misses_total")
    missed = Change("worker_hard_service_misses_total")
    stages.expect(stage, 0, fresh=True)
    next(iter(stages.watches())).told = True
    stages.end()
    stages.end()
    assert missed() == 1 and named() == (name is not None)


def test_a_stage_that_came_in_time_is_not_missed() -> None:
    stages = Stages("s", lambda *_: None)
    missed = Change("worker_hard_service_misses_total")
    stages.expect("stt", 0, fresh=True)
    next(iter(stages.watches())).seen(1.0)
    stages.end()
    assert missed() == 0


# --- moments of a turn


def test_an_answer_is_measured_from_the_end_of_the_voice() -> None:
    times, ended = TurnTimes(3.0), Change("antiphon_end_of_turn_seconds_sum")
    answered = Change("antiphon_voice_to_voice_seconds_sum")
    times.voice_over(10.0, ago_s=0.25)
    times.sound_begins(10.5)
    assert ended() == pytest.approx(0.25) and answered() == pytest.approx(0.75)


def test_a_reply_that_answers_no_voice_is_no_answer_to_one() -> None:
    times, answered = TurnTimes(3.0), Change("antiphon_voice_to_voice_seconds_count")
    times.voice_over(10.0, ago_s=0.25)
    times.reply_asked(12.0)
    times.sound_begins(12.5)
    assert answered() == 0


def test_audio_that_comes_in_time_is_not_late() -> None:
    playback = Playback(lead_ms=160)
    for at in range(5):
        playback.send(S // 10, 10.0 + at * 0.1)
    assert playback.late_s < 1e-3


def test_audio_that_comes_after_the_player_ran_dry_is_late_by_the_silence() -> None:
    playback = Playback(lead_ms=160)
    playback.send(S // 10, 10.0)
    playback.send(S // 10, 10.3)
    playback.send(S // 10, 10.5)
    assert playback.late_s == pytest.approx(0.3, abs=1e-3)


def test_silence_after_a_mute_is_not_late() -> None:
    playback = Playback(lead_ms=160)
    playback.send(S // 10, 10.0)
    playback.mute(10.05)
    playback.unmute()
    playback.send(S // 10, 11.0)
    assert playback.late_s == 0.0


def test_the_lateness_of_a_reply_is_told_once_at_its_end() -> None:
    spoken = Spoken()
    late, count = Change("antiphon_late_audio_seconds_sum"), Change("antiphon_late_audio_seconds_count")
    replies = Change("antiphon_replies_spoken_total")
    assert spoken.replier.reply is not None
    spoken.replier.reply.playback.send(480, 11.5)
    spoken.replier.reply.playback.send(480, 12.5)
    spoken.replier.end("completed", "", 13.0)
    assert late() == pytest.approx(0.5 + 0.98, abs=1e-3) and (count(), replies()) == (1, 1)


# --- pings


def test_a_ping_is_measured_until_its_pong() -> None:
    pings, told, times = Pings(), Change("antiphon_ping_seconds_sum"), Change("antiphon_ping_seconds_count")
    pings.answered(pings.next(10.0), 10.25)
    assert told() == pytest.approx(0.25) and times() == 1


def test_a_pong_that_was_not_asked_for_or_comes_twice_or_late_says_nothing() -> None:
    pings, times = Pings(), Change("antiphon_ping_seconds_count")
    pings.answered(b"", 1.0)
    old = pings.next(10.0)
    new = pings.next(20.0)
    pings.answered(old, 20.1)
    pings.answered(new, 20.2)
    pings.answered(new, 20.3)
    assert times() == 1


# --- the stages


def test_a_request_counts_words_of_prompt_and_reply() -> None:
    names = ("vllm_sent_words_total", "vllm_recv_words_total", "vllm_reply_length_sum", "vllm_ttft_count")
    sent, got, length, firsts = (Change(f"worker_{name}") for name in names)
    writing = Writing([_message("You are kind."), _message("Hello there")])
    writing.piece()
    writing.wrote(1)
    writing.wrote(2)
    writing.over()
    assert (sent(), got(), length(), firsts()) == (5, 3, 3, 1)


def _message(text: str) -> object:
    return type("Message", (), {"content": text})()


def test_a_reply_that_was_never_spoken_has_no_speed() -> None:
    speed, made = Change("antiphon_realtime_factor_count"), Change("worker_tts_audio_duration_count")
    speaking = Speaking()
    speaking.kept_up(0, time.monotonic())
    speaking.over(0)
    assert (speed(), made()) == (0, 1)


def test_a_reply_is_measured_up_to_where_it_may_go_no_further() -> None:
    speed = Change("antiphon_realtime_factor_count")
    speaking = Speaking()
    speaking.told()
    for _ in range(3):
        speaking.kept_up(S, time.monotonic() + 1.0)
    assert speed() == 1


def test_a_session_without_sound_was_not_listened_to() -> None:
    heard, lasted = Change("worker_stt_num_words_count"), Change("worker_stt_session_duration_count")
    Hearing().over(0)
    assert (heard(), lasted()) == (0, 0)


def test_a_step_counts_every_frame_in_it() -> None:
    sent, got = Change("worker_stt_sent_frames_total"), Change("worker_stt_recv_frames_total")
    StepMetrics("stt").stepped(0.01, 7)
    assert (sent(), got()) == (7, 7)


# --- queues

#: No other test uses it.
DATABASE = 9


@pytest.mark.server
def test_a_queue_is_as_old_as_its_oldest_task_of_any_priority(server) -> None:
    with server.client(DATABASE) as state:
        before_s = time.time()
        for priority in (0, 9, 3):
            _send(server.url(DATABASE), priority)
        found = queues.queues(state, ["stt", "llm"])
        length, asked_s = found["stt"]
        assert length == 3 and asked_s is not None and before_s <= asked_s <= time.time()
        oldest = state.lindex(keys.queue_lists("stt")[0], -1)
        assert oldest and found["llm"] == (0, None), "the first step of priority has the queue's own name"


def _send(url: str, priority: int) -> None:
    """As `tasks.celery.submit` does, to another server."""
    with celery.app.connection_for_write(url) as connection:
        celery.app.send_task(
            "stt.listen", ("x",), headers={keys.ASKED: time.time()}, priority=priority, connection=connection
        )


@pytest.mark.server
def test_a_task_that_does_not_say_when_it_was_asked_for_is_counted_all_the_same(server) -> None:
    with server.client(DATABASE) as state:
        state.lpush("tts", "no json", '{"headers": {}}')
        assert queues.queues(state, ["tts"]) == {"tts": (2, None)}


@pytest.mark.server
def test_a_servers_memory_has_a_limit_or_none(state: redis.Redis) -> None:
    used, most = streams.memory(state)
    assert used > 0 and most >= 0


# --- files of several processes


def test_a_folder_that_no_living_server_holds_is_swept_away(tmp_path: Path) -> None:
    dead = tmp_path / f"{metric_folder.PREFIX}x"
    dead.mkdir()
    (dead / metric_folder.ALIVE).touch()
    young = tmp_path / f"{metric_folder.PREFIX}y"
    young.mkdir()
    metric_folder.sweep(tmp_path)
    assert not dead.exists()
    assert young.exists(), "it is being made"


def test_what_the_dead_counted_goes_on_counting_and_their_gauges_go(tmp_path: Path) -> None:
    for pid, count in ((11, 2.0), (12, 3.0), (13, 4.0)):
        _write(tmp_path, f"counter_{pid}.db", "c_total", count)
        _write(tmp_path, f"gauge_livesum_{pid}.db", "g", 1.0)
    metric_files.bury(tmp_path, alive={13})
    assert sorted(file.name for file in tmp_path.glob("*.db")) == [
        "counter_0.db", "counter_13.db", "gauge_livesum_13.db",
    ]  # fmt: skip
    assert _total(tmp_path, "c_total") == 9.0
    metric_files.bury(tmp_path, alive={1})
    assert _total(tmp_path, "c_total") == 9.0, "a second death adds to the first"


def test_a_file_that_cannot_be_read_is_dropped_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "counter_11.db").write_bytes(b"no")
    _write(tmp_path, "counter_13.db", "c_total", 4.0)
    with pytest.raises(struct.error):
        metric_files.bury(tmp_path, alive={13})
    metric_files.bury(tmp_path, alive={13})
    assert _total(tmp_path, "c_total") == 4.0


def _write(folder: Path, file: str, name: str, count: float) -> None:
    one = metric_files.MmapedDict(str(folder / file))
    one.write_value(_key(name), count, 0.0)
    one.close()


def _key(name: str) -> str:
    return f'["{name.removesuffix("_total")}", "{name}", {{}}, "help"]'


def _total(folder: Path, name: str) -> float:
    found = metric_files.MultiProcessCollector(None, str(folder)).collect()
    return sum(sample.value for metric in found for sample in metric.samples if sample.name == name)


# --- errors as labels


def codes(kind: type[AntiphonError] = AntiphonError) -> set[str]:
    """Of the whole tree."""
    return {kind.code}.union(*(codes(one) for one in kind.__subclasses__()))


def test_why_a_session_was_refused_comes_from_a_closed_set() -> None:
    assert "server_full" in codes() and all(code.replace("_", "").isalpha() for code in codes())
