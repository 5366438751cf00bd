"""docs/monitoring.md and docs/debugging.md: what they name is there, and alerts find their chapters."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config.errors import ClientError
from config.settings import Settings
from tests import promql
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
MONITORING = (ROOT / "docs/monitoring.md").read_text()
DEBUGGING = (ROOT / "docs/debugging.md").read_text()

ALERTS = {rule["alert"]: rule for rule in promql.rules("alert")}

#: The two papers, by name.
both = pytest.mark.parametrize("paper", [MONITORING, DEBUGGING], ids=["monitoring", "debugging"])


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def chapters(paper: str) -> dict[str, str]:
    """Text by anchor."""
    parts = re.split(r"^##+ (.+)$", paper, flags=re.MULTILINE)
    return dict(zip(map(anchor, parts[1::2]), parts[2::2], strict=True))


def families() -> set[str]:
    """Names as they are spoken of: without the endings of a histogram."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in promql.known()} | set(promql.known())


def test_the_tables_are_as_declared():
    done = subprocess.run(
        [sys.executable, "-m", "tools.monitoring_tables", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@both
def test_metrics_that_are_named_are_declared(paper):
    named = set(
        re.findall(r"`(?:[\w (]*\()?((?:antiphon|worker|asr|py)[_:][a-z_:0-9]*[a-z0-9])(?=[`{ ),])", paper)
    )
    assert named - families() - {"antiphon"} == set()


@both
def test_settings_that_are_named_are_settings(paper):
    for name in set(re.findall(r"\bANTIPHON_\w+", paper)):
        section, _, key = name.removeprefix("ANTIPHON_").lower().partition("__")
        field = Settings.model_fields[section]
        assert not key or key in field.annotation.model_fields, name


@both
def test_links_to_chapters_lead_to_one(paper):
    for target, heading in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", paper):
        read = (ROOT / "docs" / target).read_text() if target else paper
        assert heading in chapters(read), heading


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_chapter_that_an_alert_names_speaks_of_it(alert):
    path, _, heading = ALERTS[alert]["annotations"]["runbook"].partition("#")
    assert path == "docs/debugging.md"
    assert f"`{alert}`" in chapters(DEBUGGING)[heading]


def test_no_chapter_speaks_of_an_alert_that_is_not_there():
    assert set(re.findall(r"`(Antiphon\w+)`", DEBUGGING)) == set(ALERTS)


def test_a_client_that_is_wrong_alarms_nobody():
    """Whoever knocks from the Internet with nonsense is refused, too."""
    (left_out,) = re.findall(r'reason!~"([^"]+)"', ALERTS["AntiphonSessionsRefused"]["expr"])
    before_a_session = {
        "invalid_event", "message_too_big", "session_unknown", "invalid_api_key", "not_allowed",
        "origin_not_allowed", "rate_limit_exceeded",
    }  # fmt: skip
    assert (
        before_a_session
        == {kind.code for kind in (ClientError, *ClientError.__subclasses__())} & before_a_session
    )
    assert set(left_out.split("|")) == before_a_session | {"session_taken_over"}


def test_the_configuration_for_one_machine_is_one(tmp_path):
    (said,) = re.findall(r"^```yaml\n(# prometheus.*?)^```", MONITORING, re.MULTILINE | re.DOTALL)
    if (promtool := promql.program("promtool")) is None:
        missing("promtool (tools/dev-packages)")
        return
    assert len(list(ROOT.glob(yaml.safe_load(said)["rule_files"][0]))) == 3
    (tmp_path / "prometheus.yml").write_text(said)
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
