"""Every query of every dashboard, rule and alert: it can be parsed, and what it reads is exposed by somebody."""

import configparser
import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests import promql

ROOT = Path(__file__).parent.parent
GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
UNMUTE = ROOT / "tests/data/unmute-dashboard.json"

OURS = [(file.stem, *query) for file in DASHBOARDS for query in promql.queries(file)]
RULES = [
    *((rule["alert"], rule["expr"]) for rule in promql.rules("alert")),
    *((f"{rule['record']} {rule.get('labels', '')}", rule["expr"]) for rule in promql.rules("record")),
]

every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def check(query: str) -> None:
    """Fails when a query reads what nobody exposes, or by labels it does not have."""
    names = promql.known()
    read = promql.selectors(query)
    for one in read:
        assert one.name in names, f"nobody exposes {one.name}"
        assert one.labels <= names[one.name] | promql.TARGET_LABELS, f"{one.name} has no such label"
    there = set().union(promql.TARGET_LABELS, *(names[one.name] for one in read))
    made = set(re.findall(r'label_replace\(.*?, "(\w+)"', query))
    assert promql.grouped(query) - {"__name__"} <= there | made, query


@pytest.mark.parametrize(("title", "query"), promql.queries(UNMUTE))
def test_a_query_of_unmutes_dashboard_finds_what_it_asks_for(title, query):
    check(query)


def test_unmutes_dashboard_asks_for_each_of_its_panels_something():
    asked = {one.name for _, query in promql.queries(UNMUTE) for one in promql.selectors(query)}
    assert len(promql.queries(UNMUTE)) == 17 and len(asked) == 14


def test_unmutes_dashboard_finds_its_data_source():
    told = yaml.safe_load((GRAFANA / "provisioning/datasources/antiphon.yml").read_text())["datasources"]
    ours = {source["uid"] for source in told}
    asked = {panel["datasource"]["uid"] for panel in promql.panels(json.loads(UNMUTE.read_text()))}
    assert {uid for uid in asked if promql.queries(UNMUTE)} & ours == ours


@pytest.mark.parametrize(
    ("dashboard", "title", "query"), OURS, ids=[f"{one[0]}: {one[1]} {at}" for at, one in enumerate(OURS)]
)
def test_a_query_of_our_dashboards_finds_what_it_asks_for(dashboard, title, query):
    check(query)


@pytest.mark.parametrize(("name", "query"), RULES, ids=[name for name, _ in RULES])
def test_a_rule_finds_what_it_asks_for(name, query):
    check(query)


@pytest.mark.parametrize(
    "query",
    [
        "sum(rate(antiphon_nothing_total[1m]))",
        'antiphon_slots{queue="tts"}',
        "sum by (code) (antiphon_slots)",
    ],
    ids=["a name", "a label", "a grouping"],
)
def test_what_nobody_exposes_is_found_out(query):
    with pytest.raises(AssertionError):
        check(query)


def test_the_names_we_reckon_with_are_those_on_our_page():
    """What has no labels is on the page before anything happened."""
    page = text_string_to_metric_families(generate_latest().decode())
    told = {sample.name for family in page for sample in family.samples}
    without = {name for name, labels in promql.exposed().items() if labels <= {"le"}} - {
        "antiphon_gpu_utilisation_ratio"
    }
    assert without <= told


def test_the_dashboards_are_as_they_are_described():
    done = subprocess.run(
        [sys.executable, str(GRAFANA / "dashboards.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_dashboard
def test_no_panel_lies_on_another_or_has_its_number(file):
    panels = list(promql.panels(json.loads(file.read_text())))
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart and one["x"] + one["w"] <= 24


def test_dashboards_have_addresses_of_their_own_and_only_our_source():
    read = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert len({one["uid"] for one in read}) == len({one["title"] for one in read}) == len(read)
    sources = {
        target["datasource"]["uid"]
        for one in read
        for panel in promql.panels(one)
        for target in panel.get("targets", ())
    }
    (ours,) = yaml.safe_load((GRAFANA / "provisioning/datasources/antiphon.yml").read_text())["datasources"]
    assert sources == {ours["uid"]} and ours["isDefault"]


def test_a_queue_has_a_row_of_its_own():
    queues = json.loads((GRAFANA / "dashboards/queues.json").read_text())
    rows = [panel["title"] for panel in queues["panels"] if panel["type"] == "row"]
    assert [row.rpartition(" ")[2] for row in rows] == ["stt", "llm", "tts", "voices"]


def test_grafana_asks_for_a_password_and_reads_what_is_written():
    said = configparser.ConfigParser()
    said.read_string((GRAFANA / "grafana.ini").read_text())
    assert not said.getboolean("auth.anonymous", "enabled")
    assert not said.getboolean("users", "allow_sign_up")
    assert "admin_password" not in said["security"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/antiphon.yml").read_text())["providers"]
    home = Path(said["dashboards"]["default_home_dashboard_path"])
    assert str(home.parent) == provider["options"]["path"]
    assert (GRAFANA / "dashboards" / home.name).exists()
