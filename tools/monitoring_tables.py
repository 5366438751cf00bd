"""The tables of docs/monitoring.md, made from the metrics as declared and the alerts: `make monitoring` writes them.

python -m tools.monitoring_tables            writes
python -m tools.monitoring_tables --check    says whether they are as declared
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import yaml
from prometheus_client.metrics import MetricWrapperBase

from config import metrics, unmute_metrics
from tools.tables import ROOT, Paper, table

PAPER = Paper(ROOT / "docs/monitoring.md", "tools/monitoring_tables.py", "monitoring")
ALERTS = ROOT / "deploy/prometheus/rules/alerts.yml"


def declared(module: ModuleType) -> Iterator[tuple[str, ...]]:
    """A row for each metric: its name on the page, kind, labels, meaning."""
    for one in vars(module).values():
        if isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in one._labelnames)
            yield f"`{name}`", family.type, labels, family.documentation


def gpus() -> Iterator[tuple[str, ...]]:
    """Those that are asked of the GPU."""
    for family in metrics.GpuMetrics(lambda: None).describe():
        labels = "`kind`" if "memory" in family.name else ""
        yield f"`{family.name}`", family.type, labels, family.documentation


def alerts() -> Iterator[tuple[str, ...]]:
    """A row for each alert."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            told = rule["annotations"]
            path, _, anchor = told["runbook"].partition("#")
            said = told["summary"].replace("{{ $labels.", "").replace(" }}", "")
            where = f"[{anchor.replace('-', ' ')}]({Path(path).name}#{anchor})"
            yield f"`{rule['alert']}`", rule["labels"]["severity"], said, rule.get("for", "at once"), where


def made() -> dict[str, list[str]]:
    """All tables, by name."""
    head = ("metric", "kind", "labels", "what it is")
    return {
        "alerts": [*table(("alert", "severity", "what", "after", "read on"), alerts())],
        "ours": [*table(head, (*declared(metrics), *gpus()))],
        "unmute": [*table(head, declared(unmute_metrics))],
    }


if __name__ == "__main__":
    sys.exit(PAPER.main(made()))
