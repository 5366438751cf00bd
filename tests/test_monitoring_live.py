"""A Prometheus with our rules, a server on null engines, a conversation: what the dashboards ask for is there."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import server as bench_server
from tests import prometheus_run, promql
from tests.conftest import needs_redis
from tests.prometheus_run import Prometheus
from tests.talker import Talker
from tests.up_run import eventually

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy/prometheus"

#: What a conversation without failures, on a machine without a GPU, does not move or show.
ABSENT = {
    "antiphon_errors_total", "antiphon_sessions_refused_total", "antiphon_recoveries_total", "antiphon_gaps_total",
    "antiphon_seats_lost_total", "antiphon_slots_shed_total", "antiphon_interruptions_total",
    "antiphon_preempted_total", "antiphon_voices_cloned_total", "antiphon:errors_per_turn:ratio5m",
    "antiphon:false_interruptions:ratio15m", "antiphon:preemptive_wins:ratio15m", "antiphon:redis_memory:ratio",
    "antiphon:gpu_memory:ratio", "antiphon_gpu_memory_bytes", "antiphon_gpu_utilisation_ratio",
}  # fmt: skip


def shown(prometheus: Prometheus, query: str) -> list[dict[str, Any]]:
    """What Grafana would draw of a query now."""
    for name, value in {**promql.VARIABLES, "$__rate_interval": "20s"}.items():
        query = query.replace(name, value)
    return prometheus.series(query)


def configuration(folder: Path, targets: dict[str, int]) -> dict[str, Any]:
    """Our own for compose, with addresses instead of names, and rules that are judged more often."""
    said: dict[str, Any] = yaml.safe_load((PROMETHEUS / "compose.yml").read_text())
    said["rule_files"], said["alerting"] = [str(folder / "*.rules.yml")], {}
    said["scrape_configs"] = [job for job in said["scrape_configs"] if job["job_name"] in targets]
    for job in said["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
    for file in (PROMETHEUS / "rules").glob("*.yml"):
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            group["interval"] = "500ms"
        (folder / f"{file.stem}.rules.yml").write_text(yaml.safe_dump(rules))
    return said


async def converse(url: str) -> None:
    """One turn and a goodbye."""
    async with Talker(url) as talker:
        talker.speak(1.2)
        await talker.until("response.done")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    needs_redis()
    folder = tmp_path_factory.mktemp("prometheus")
    often = {"ANTIPHON_OBSERVE__PING_S": "0.3", "ANTIPHON_OBSERVE__LOOK_S": "0.3"}
    with bench_server.running("null", often) as house:
        said = configuration(folder, {"web": house.port, **house.metrics})
        with prometheus_run.running(folder, said) as running:
            eventually(lambda: len(running.series("up == 1")) == 4)
            asyncio.run(converse(house.url))
            # What is counted last, and seen twice
            eventually(lambda: running.series('antiphon:latency_seconds{of="voice_to_voice"} > 0'))
            eventually(lambda: running.series("rate(antiphon_turns_total[20s])"))
            yield running


pytestmark = [pytest.mark.server, pytest.mark.slow]


def absent(query: str) -> bool:
    """Nothing of what it reads is to be expected here."""
    return {one.name for one in promql.selectors(query)} <= ABSENT | set(promql.FOREIGN) - {"up"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")), ids=lambda file: file.stem
)
def test_each_panel_of_a_dashboard_shows_something_after_a_conversation(prometheus, file):
    asked = promql.queries(file)
    answers = {(title, query): shown(prometheus, query) for title, query in asked}
    empty = [told for told, series in answers.items() if not series and not absent(told[1])]
    assert empty == []


def test_unmutes_dashboard_is_whole(prometheus):
    asked = promql.queries(ROOT / "tests/data/unmute-dashboard.json")
    assert [title for title, query in asked if not shown(prometheus, query)] == []


def test_no_rule_fails_and_no_alert_is_about_to_fire(prometheus):
    """But those of latency, on a machine that runs tests."""
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    pending = {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}
    assert {name for name in pending if not name.endswith("Slow")} == set()


def test_what_a_turn_takes_is_what_the_null_engines_take(prometheus):
    """The marker engines answer at once: whoever shows seconds here has mistaken a unit."""
    (answer,) = prometheus.series('antiphon:latency_seconds{of="voice_to_voice", quantile="0.5"}')
    assert 0.1 < float(answer["value"][1]) < 2
    assert [float(one["value"][1]) for one in prometheus.series('sum(antiphon_slots{stage="stt"}) > 0')]
