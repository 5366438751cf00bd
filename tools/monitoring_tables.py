"""The tables of docs/monitoring.md, made from the metrics as declared and the alerts: `make monitoring` writes them.

python tools/monitoring_tables.py            writes
python tools/monitoring_tables.py --check    says whether they are as declared
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import yaml
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from config import metrics, unmute_metrics  # noqa: E402

PAPER = ROOT / "docs/monitoring.md"
ALERTS = ROOT / "deploy/prometheus/rules/alerts.yml"

#: Between such lines stands what is made here.
BEGIN, END = "<!-- made by tools/monitoring_tables.py: {} -->", "<!-- end of what is made -->"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(cell.replace('|', '¦') for cell in row)} |" for row in rows)


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


def written(paper: str) -> str:
    """The paper with its tables as they are to be."""
    for name, lines in made().items():
        begin = BEGIN.format(name)
        before, _, rest = paper.partition(begin)
        _, _, after = rest.partition(END)
        paper = "\n".join([before + begin, "", *lines, "", END]) + after
    return paper


def main(arguments: list[str]) -> int:
    """Writes or checks; the exit status."""
    now = PAPER.read_text()
    if arguments == ["--check"]:
        same = written(now) == now
        print("as declared" if same else "not as declared: make monitoring")
        return 0 if same else 1
    PAPER.write_text(written(now))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
