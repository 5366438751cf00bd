"""The stopwatch of a loop."""

import time

import pytest

from config import metrics
from tasks.laps import PARTS, Laps


def test_the_parts_add_up_to_all_the_time():
    began = time.perf_counter()
    laps = Laps("test")
    for part in PARTS:
        sum(range(20_000))
        laps.lap(part)
    assert sum(laps.wall_s.values()) == pytest.approx(time.perf_counter() - began, rel=0.2)
    assert all(laps.wall_s[part] > 0 for part in PARTS)


def test_waiting_costs_time_but_no_cpu():
    laps = Laps("test")
    time.sleep(0.02)
    laps.lap("wait")
    assert laps.wall_s["wait"] >= 0.02 > 10 * laps.cpu_s["wait"]


def test_of_an_event_loop_what_it_computed_is_a_step_and_the_rest_is_waiting():
    began = time.perf_counter()
    laps = Laps("test")
    sum(range(200_000))
    time.sleep(0.02)
    laps.lap_events()
    assert laps.wall_s["wait"] >= 0.02 and laps.cpu_s["wait"] == 0.0
    assert laps.wall_s["step"] == laps.cpu_s["step"] > 0.0
    assert laps.wall_s["wait"] + laps.wall_s["step"] <= time.perf_counter() - began


def test_what_other_threads_worked_counts_as_cpu_alone():
    laps = Laps("test")
    laps.add_cpu("codec", 3.0)
    assert (laps.cpu_s["codec"], laps.wall_s["codec"]) == (3.0, 0.0)


def test_the_metrics_show_what_came_since_they_were_last_shown():
    laps = Laps("shown")
    for _ in range(2):
        laps.add_cpu("codec", 1.5)
        laps._next_show = 0.0
        laps.show()
    laps.add_cpu("codec", 1.5)
    laps.show()  # too soon
    assert metrics.loop_cpu_seconds.labels("shown", "codec")._value.get() == 3.0
