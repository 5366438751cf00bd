"""Grafana's JSON: panels, rows and dashboards. Knows no metric.

The classic schema of dashboards, which Grafana has read since version 5 and which file provisioning takes. Panels flow
from left to right over a width of 24, row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Version of the classic schema; Grafana migrates older ones when it loads them.
SCHEMA_VERSION = 39

#: What Grafana itself calls a data source named Prometheus (a digest of the name), and so what dashboards exported
#: elsewhere, Unmute's among them, ask for.
SOURCE = {"type": "prometheus", "uid": "PBFA97CFB590B2093"}

WIDTH = 24

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One expression of PromQL and how its series are named."""

    expr: str
    legend: str = "__auto"
    target: bool = False
    """It is a line not to be crossed, drawn dashed and red."""


@dataclass(frozen=True)
class Panel:
    """One picture. What it shows is said by `title`, what to make of it by `why`."""

    title: str
    queries: Sequence[Query]
    why: str = ""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    limits: tuple[float, float] | None = None
    """Where it becomes yellow, and red; if the first is the larger, small values are bad."""
    most: float | None = None
    stacked: bool = False
    signed: bool = False
    """Values below zero say something."""

    def json(self, number: int, x: int, y: int) -> Json:
        """As Grafana has it."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.why,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": self._options(),
            "targets": [self._target(*one) for one in enumerate(self.queries)],
        }

    def _target(self, at: int, query: Query) -> Json:
        now = self.kind != "timeseries"
        return {
            "refId": chr(ord("A") + at),
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": now,
            "range": not now,
        }

    def _defaults(self) -> Json:
        least: Json = {} if self.signed else {"min": 0}
        said: Json = {
            "unit": self.unit,
            **least,
            "thresholds": {"mode": "absolute", "steps": self._steps()},
        }
        if self.limits is not None:
            said["color"] = {"mode": "thresholds" if self.kind != "timeseries" else "palette-classic"}
        if self.most is not None:
            said["max"] = self.most
        if self.kind == "timeseries":
            said["custom"] = {
                "lineWidth": 1,
                "fillOpacity": 20 if self.stacked else 5,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none"},
                "thresholdsStyle": {"mode": "line" if self.limits else "off"},
            }
        return said

    def _steps(self) -> list[Json]:
        if self.limits is None:
            return [{"color": "green", "value": None}]
        yellow, red = self.limits
        if yellow <= red:
            return [_step("green", None), _step("yellow", yellow), _step("red", red)]
        return [_step("red", None), _step("yellow", red), _step("green", yellow)]

    def _overrides(self) -> list[Json]:
        return [
            {
                "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + at)},
                "properties": [
                    {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
                    {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
                    {"id": "custom.fillOpacity", "value": 0},
                ],
            }
            for at, query in enumerate(self.queries)
            if query.target
        ]

    def _options(self) -> Json:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        reduced: Json = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        if self.kind == "bargauge":
            return {**reduced, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
        return {**reduced, "colorMode": "value", "graphMode": "none", "textMode": "auto"}


def _step(color: str, value: float | None) -> Json:
    return {"color": color, "value": value}


@dataclass(frozen=True)
class Text:
    """Words, in Markdown."""

    title: str
    words: str
    width: int = 8
    height: int = 8

    def json(self, number: int, x: int, y: int) -> Json:
        """As Grafana has it."""
        return {
            "id": number,
            "type": "text",
            "title": self.title,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "options": {"mode": "markdown", "content": self.words},
        }


@dataclass(frozen=True)
class Alerts:
    """What Prometheus' rules say at this moment."""

    title: str
    width: int = 8
    height: int = 8

    def json(self, number: int, x: int, y: int) -> Json:
        """As Grafana has it."""
        return {
            "id": number,
            "type": "alertlist",
            "title": self.title,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "options": {
                "datasource": "Prometheus",
                "viewMode": "list",
                "groupMode": "default",
                "maxItems": 20,
                "sortOrder": 3,
                "stateFilter": {
                    "firing": True,
                    "pending": True,
                    "noData": False,
                    "normal": False,
                    "error": True,
                },
            },
        }


@dataclass(frozen=True)
class Row:
    """Panels that belong together, under a heading."""

    title: str
    panels: Sequence[Panel | Text | Alerts]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    boxes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Values that whoever looks can set: label and default, by name."""
    links: Sequence[tuple[str, str]] = ()
    """Title and address."""

    def json(self) -> Json:
        """As Grafana has it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["antiphon"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "graphTooltip": 1,
            "annotations": {"list": []},
            "links": [_all_dashboards(), *(_link(*one) for one in self.links)],
            "templating": {"list": [_box(name, *said) for name, said in self.boxes.items()]},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        told: list[Json] = []
        y = 0
        for row in self.rows:
            told.append(
                {
                    "id": len(told) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                    "panels": [],
                }
            )
            x, y, tallest = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, tallest = 0, y + tallest, 0
                told.append(panel.json(len(told) + 1, x, y))
                x, tallest = x + panel.width, max(tallest, panel.height)
            y += tallest
        return told


def _all_dashboards() -> Json:
    return {
        "type": "dashboards",
        "title": "Antiphon",
        "tags": ["antiphon"],
        "asDropdown": True,
        "keepTime": True,
    }


def _link(title: str, url: str) -> Json:
    return {"type": "link", "title": title, "url": url, "targetBlank": True, "icon": "external link"}


def _box(name: str, label: str, default: str) -> Json:
    said = {"text": default, "value": default}
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": default,
        "current": said,
        "options": [{**said, "selected": True}],
        "hide": 0,
    }
