"""Small charts as SVG text: lines, dots, bars and target lines, in colours of the page's style sheet. Pure.

Own code: a report needs little of it, and a plotting library brings either megabytes of script into the file or a
renderer with a stack of fonts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34

#: More points say no more on so many pixels; the page stays small.
MOST_POINTS = 1500

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """What is drawn, by a name for the legend. `colour`: a class of the style sheet, c1 to c5."""

    name: str
    points: Points
    colour: str
    shape: Literal["line", "dots", "bars", "steps"] = "line"


@dataclass(frozen=True)
class Chart:
    """One pair of axes. `targets`: horizontal lines that must not be crossed."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    targets: Sequence[tuple[str, float]] = ()
    upright: Sequence[tuple[str, float]] = ()
    """Vertical lines."""
    y_most: float | None = None
    log_x: bool = False


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that span the range."""
    if high <= low:
        return [low, low + 1]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.floor(low / step)
    count = math.ceil(high / step - 1e-9) - first
    return [round((first + number) * step, 10) for number in range(count + 1)]


def svg(chart: Chart) -> str:
    """The chart; one that has nothing to show says so."""
    points = [point for series in chart.series for point in series.points]
    if not points:
        return f'<p class="none">{escape(chart.title)}: nothing was measured.</p>'
    frame = _Frame.around(chart, points)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *frame.grid(chart),
        *(_drawn(series, frame) for series in chart.series),
        *(_target(name, value, frame) for name, value in chart.targets if value <= frame.high),
        *(_upright(name, value, frame, row) for row, (name, value) in enumerate(chart.upright)),
        "</svg>",
    ]
    return "".join(parts)


@dataclass(frozen=True)
class _Frame:
    """From values to pixels."""

    left: float
    right: float
    low: float
    high: float
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    log_x: bool

    @classmethod
    def around(cls, chart: Chart, points: Points) -> "_Frame":
        xs = [x for x, _ in points] + [x for _, x in chart.upright]
        top = max([y for _, y in points])
        near = [value for _, value in chart.targets if value <= 3 * top]
        y_ticks = nice_ticks(0.0, chart.y_most or (max([top, *near]) or 1.0) * 1.02)
        if chart.log_x:
            first, last = math.floor(math.log10(max(min(xs), 0.1))), math.ceil(math.log10(max([*xs, 1])))
            x_ticks = [10.0**power for power in range(first, max(last, first + 1) + 1)]
        else:
            x_ticks = nice_ticks(min(xs), max(xs), 7)
        return cls(x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1], x_ticks, y_ticks, chart.log_x)

    def x(self, value: float) -> float:
        if self.log_x:
            value, left, right = (math.log10(max(at, 1e-9)) for at in (value, self.left, self.right))
        else:
            left, right = self.left, self.right
        share = min(1.0, max(0.0, (value - left) / (right - left)))
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def grid(self, chart: Chart) -> list[str]:
        lines = []
        for tick in self.y_ticks:
            at = self.y(tick)
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
            lines.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{tick:g}</text>')
        for tick in self.x_ticks:
            anchor = "end" if tick == self.right else "middle"
            at = self.x(tick) + (4 if tick == self.right else 0)
            lines.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{tick:g}</text>')
        lines.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(chart.x)}</text>')
        lines.append(f'<text x="4" y="{HEIGHT - 4}">{escape(chart.y)}</text>')
        return lines


def thinned(points: Points) -> Points:
    """Every n-th point, and the highest of those that are left out in its stead."""
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    return [max(points[at : at + size], key=lambda point: point[1]) for at in range(0, len(points), size)]


def _drawn(series: Series, frame: _Frame) -> str:
    shown = [(frame.x(x), frame.y(y)) for x, y in thinned(series.points)]
    if series.shape == "dots":
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="2"/>' for x, y in shown)
        return f'<g class="dots {series.colour}">{dots}</g>'
    if series.shape == "bars":
        foot = frame.y(0)
        bars = "".join(f'<line x1="{x}" x2="{x}" y1="{foot}" y2="{y}"/>' for x, y in shown)
        return f'<g class="bars {series.colour}">{bars}</g>'
    if series.shape == "steps":
        shown = [
            corner
            for (x, y), (_, before) in zip(shown, [shown[0], *shown], strict=False)
            for corner in ((x, before), (x, y))
        ]
    path = " ".join(f"{x},{y}" for x, y in shown)
    return f'<polyline class="line {series.colour}" points="{path}"/>'


def _target(name: str, value: float, frame: _Frame) -> str:
    at = frame.y(value)
    return (
        f'<line class="target" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        f'<text class="target" x="{WIDTH - RIGHT - 4}" y="{at - 4}" text-anchor="end">{escape(name)}</text>'
    )


def _upright(name: str, value: float, frame: _Frame, row: int) -> str:
    """Its name stands a line lower than that of the one before."""
    at = frame.x(value)
    return (
        f'<line class="target" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="target" x="{at + 4}" y="{TOP + 60 + 14 * row}">{escape(name)}</text>'
    )
