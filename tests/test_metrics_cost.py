"""The arithmetic of what metrics cost; what it is fed with needs a whole server."""

import pytest

from bench.metric_calls import Costs
from bench.metrics_cost import Calls, Run, calls, ended, total
from bench.server import BenchFailed

PAGE = """\
# TYPE antiphon_wait_seconds histogram
antiphon_wait_seconds_bucket{le="1.0"} 3.0
antiphon_wait_seconds_bucket{le="+Inf"} 5.0
antiphon_wait_seconds_count 5.0
antiphon_wait_seconds_sum 7.0
# TYPE worker_health_ok summary
worker_health_ok_count 2.0
worker_health_ok_sum 2.0
# TYPE antiphon_turns_total counter
antiphon_turns_total{outcome="completed"} 4.0
antiphon_turns_total{outcome="failed"} 1.0
# TYPE python_gc_collections_total counter
python_gc_collections_total{generation="0"} 900.0
"""


def test_calls_are_read_of_our_own_metrics_alone():
    assert calls(PAGE) == Calls(observe=7, inc=5)
    assert calls(PAGE) - Calls(2, 1) == Calls(5, 4)
    assert total(PAGE, "antiphon_turns_total") == 5


def test_a_process_pays_its_own_price_for_a_call():
    run = Run(1, 10.0, 15.0, {"web": Calls(1000, 0), "stt": Calls(0, 1000)}, cpu_s=1.0)
    web = Costs(observe=2.0, inc=9.0, set=9.0, page=5000.0, look=1000.0, ping=1.0)
    worker = Costs(observe=9.0, inc=0.5, set=9.0, page=3000.0)
    parts = run.cost_s(web, worker)
    laps_s = 14 * 15 * 0.5e-6
    assert parts["observing"] == pytest.approx(1000 * 2e-6 + 1000 * 0.5e-6 + laps_s)
    assert parts["pages"] == pytest.approx(8000e-6)
    assert parts["looks"] == pytest.approx(7.5 * 1000e-6)
    assert parts["pings"] == pytest.approx(1e-6)


def open_sessions(count: int) -> str:
    return f"# TYPE worker_active_sessions gauge\nworker_active_sessions {count}.0\n"


def test_a_run_is_over_when_the_server_has_counted_all_of_its_sessions():
    left, waits = [3, 1, 0], []
    ended(lambda: open_sessions(left.pop(0)), waits.append)
    assert not left and len(waits) == 2


def test_sessions_that_never_end_fail_the_run():
    waits: list[float] = []
    with pytest.raises(BenchFailed, match="still open"):
        ended(lambda: open_sessions(1), waits.append)
    assert sum(waits) == pytest.approx(15.0)
