"""What our processes and those beside them expose, and what a query asks for."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.metrics import MetricWrapperBase

from config import metrics, unmute_metrics

ROOT = Path(__file__).parent.parent

#: What Prometheus adds to each series, by the configurations in deploy/prometheus.
TARGET_LABELS = {"job", "instance", "replica", "node"}

#: Names of those who are not us, with their labels. See docs/monitoring.md.
FOREIGN = {
    # Prometheus itself
    "up": set(),
    # prometheus_client, of each worker; web/process_metrics.py, of a web server
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
    # cAdvisor; `service` is what prometheus.yml makes of its container_label_com_docker_swarm_service_name
    "container_cpu_usage_seconds_total": {"service"},
    "container_memory_working_set_bytes": {"service"},
    "container_spec_memory_limit_bytes": {"service"},
    "container_network_receive_bytes_total": {"service"},
    "container_network_transmit_bytes_total": {"service"},
    "machine_cpu_cores": set(),
}

#: What Grafana puts in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "1h"}


def program(name: str) -> str | None:
    """`prometheus` or `promtool`, where tools/dev-packages puts them, or whoever else has."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Selector:
    """One series or more that a query reads."""

    name: str
    labels: frozenset[str]


def _suffixes(kind: str) -> tuple[str, ...]:
    return {
        "counter": ("_total",),
        "gauge": ("",),
        "summary": ("_count", "_sum"),
        "histogram": ("_bucket", "_count", "_sum"),
    }[kind]


def exposed() -> dict[str, set[str]]:
    """Each name on a page of ours and its labels."""
    found: dict[str, set[str]] = {}
    for module in (metrics, unmute_metrics):
        for one in vars(module).values():
            if isinstance(one, MetricWrapperBase):
                (family,) = one.describe()
                for suffix in _suffixes(family.type):
                    labels = set(one._labelnames) | ({"le"} if suffix == "_bucket" else set())
                    found[family.name + suffix] = labels
    for family in metrics.GpuMetrics(lambda: None).describe():
        found[family.name] = {"kind"} if "memory" in family.name else set()
    return found


def rules(kind: str) -> Iterator[dict[str, Any]]:
    """All rules of a kind, `record` or `alert`."""
    for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


@cache
def known() -> dict[str, set[str]]:
    """Each name that Prometheus holds and its labels. A recorded one keeps those of what it reads."""
    names = {**exposed(), **FOREIGN}
    for rule in rules("record"):
        read = set().union(*(names.get(one.name, set()) for one in selectors(rule["expr"])))
        names.setdefault(rule["record"], set()).update(read, rule.get("labels", {}))
    return names


def selectors(query: str) -> list[Selector]:
    """What a query reads. Raises ValueError when it is no PromQL."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    found: list[Selector] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in node.matchers.matchers)
            found.append(Selector(node.name, labels))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """All labels that a query groups or joins by."""
    named = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", query)
    return {label.strip() for group in named for label in group.split(",")} - {""}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those in rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panels(panel) if panel.get("panels") else ()


def queries(file: Path) -> list[tuple[str, str]]:
    """Title and expression of each query of a dashboard's file."""
    return [
        (panel["title"], target["expr"])
        for panel in panels(json.loads(file.read_text()))
        for target in panel.get("targets", ())
    ]
