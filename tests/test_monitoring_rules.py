"""Prometheus' configuration, rules and alerts, by promtool: each alert fires where it is to, and nowhere else."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import promql
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
#: All of it strings: 0x100 is promtool's, not a number of YAML's.
CASES: dict[str, dict[str, Any]] = yaml.load((ROOT / "tests/data/alerts.yaml").read_text(), yaml.BaseLoader)


@cache
def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in promql.rules("alert")}


def ran(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Promtool, run to its end."""
    found = promql.program("promtool") or missing("promtool (tools/dev-packages)")
    return subprocess.run(
        [found, *map(str, arguments)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # what failed stands under its file's name
        text=True,
    )


def promtool(*arguments: str | Path) -> None:
    done = ran(*arguments)
    assert done.returncode == 0, done.stdout


def played(alert: str, after: str, what: str, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
    """One test of promtool's. What fails is shown with its expression, and so with `what`."""
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) # {what}',
                "eval_time": after,
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def written(file: Path, *tests: dict[str, Any], only: str | None = None) -> Path:
    """The tests, to be played to all rules; to no alert but `only`, if that is given, for all of them take a minute."""
    files = [*RULES]
    if only is not None:
        files = [PROMETHEUS / "rules/recording.yml", file.with_suffix(".alert.yml")]
        files[-1].write_text(yaml.safe_dump({"groups": [{"name": only, "rules": [alerts()[only]]}]}))
    said = {"rule_files": [*map(str, files)], "evaluation_interval": "30s", "tests": tests}
    file.write_text(yaml.safe_dump(said))
    return file


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of each case, by the name of its file; it plays all of them in one run."""
    folder = tmp_path_factory.mktemp("alerts")
    files = []
    for alert, said in CASES.items():
        for when in ("fires", "quiet"):
            tests = [
                played(alert, said.get("after", "20m"), what, series, fires=when == "fires")
                for what, series in said[when].items()
            ]
            files.append(written(folder / f"{alert}-{when}.yml", *tests, only=alert))
    done = ran("test", "rules", *files)
    _, *parts = done.stdout.split("Unit Testing:")
    return {
        Path(file.strip()).stem: verdict.strip()
        for file, _, verdict in (one.partition("\n") for one in parts)
    }


@pytest.mark.parametrize("name", ["prometheus.yml", "compose.yml"])
def test_prometheus_accepts_the_configuration(name):
    promtool("check", "config", "--syntax-only", PROMETHEUS / name)


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_prometheus_accepts_the_rules(file):
    promtool("check", "rules", file)


def test_each_alert_has_series_on_which_it_fires_and_others_on_which_it_does_not():
    assert set(CASES) == set(alerts())
    for alert, said in CASES.items():
        assert said["fires"] and said["quiet"], alert


@pytest.mark.parametrize("when", ["fires", "quiet"])
@pytest.mark.parametrize("alert", sorted(CASES))
def test_an_alert_fires_when_it_is_to_and_only_then(verdicts, alert, when):
    assert verdicts[f"{alert}-{when}"] == "SUCCESS"


def test_an_alert_says_what_it_is_about_in_figures_that_can_be_read(tmp_path):
    rule = alerts()["AntiphonRedisMemory"]
    said = {
        "summary": "Redis (media) is nearly full",
        "description": "90% of its memory is taken. New sessions are refused before it fails.",
        "runbook": rule["annotations"]["runbook"],
    }
    (series,) = CASES["AntiphonRedisMemory"]["fires"].values()
    tests = written(
        tmp_path / "tests.yml",
        {
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {
                    "eval_time": "20m",
                    "alertname": "AntiphonRedisMemory",
                    "exp_alerts": [
                        {"exp_labels": {"severity": "critical", "server": "media"}, "exp_annotations": said}
                    ],
                }
            ],
        },
    )
    promtool("test", "rules", tests)


def test_what_unmutes_dashboard_counts_as_steps_is_our_seconds(tmp_path):
    """A step of moshi-server is 80 ms: 10 replies of 4 s are 10 of 50 steps."""
    seconds = {"0.5": 0, "1.0": 0, "5.0": 10, "10.0": 10, "20.0": 10, "40.0": 10, "60.0": 10, "+Inf": 10}
    steps = {"6.25": 0, "12.5": 0, "62.5": 10, "125.0": 10, "250.0": 10, "500.0": 10, "750.0": 10, "+Inf": 10}
    name = "py_model_connection_num_steps_bucket"
    tests = written(
        tmp_path / "tests.yml",
        {
            "interval": "15s",
            "input_series": [
                {"series": f'worker_tts_audio_duration_bucket{{le="{le}"}}', "values": f"{count}x4"}
                for le, count in seconds.items()
            ],
            "promql_expr_test": [
                {
                    "expr": name,
                    "eval_time": "1m",
                    "exp_samples": [
                        {"labels": f'{name}{{le="{le}"}}', "value": count} for le, count in steps.items()
                    ],
                }
            ],
        },
    )
    promtool("test", "rules", tests)


@pytest.mark.parametrize("alert", sorted(CASES))
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert):
    rule = alerts()[alert]
    told = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(told) == {"summary", "description", "runbook"}
    assert not told["summary"].endswith(".") and told["description"].endswith(".")
