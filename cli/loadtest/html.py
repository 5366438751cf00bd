"""The report as one HTML file: verdict, tables, charts. Needs no network, and is read by day and by night. Pure."""

from collections.abc import Iterable, Sequence
from html import escape

from cli.loadtest.charts import Chart, Series, svg
from cli.loadtest.figures import percentile
from cli.loadtest.gathered import Turn
from cli.loadtest.report import HEAD, Report, between, cells, conclusion, notes, show
from cli.loadtest.targets import Row

#: Values of so long a time make one point of a line.
BIN_S = 5.0

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --paper: #fff; --card: #f6f7f9; --rule: #d9dde4;
  --c1: #1f6feb; --c2: #d4730b; --c3: #1a8a5a; --c4: #8a4fd3; --c5: #c2334d; --bad: #b42318; --good: #14793f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --paper: #14171c; --card: #1c2027;
  --rule: #343b46; --c1: #6ea8ff; --c2: #f0a04b; --c3: #4cc38a; --c4: #b794f6; --c5: #f47a8f; --bad: #ff8a80;
  --good: #5fd39a; } }
body { margin: 2rem auto; max-width: 1200px; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.dim, .none, figcaption { color: var(--dim); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
.scroll { overflow-x: auto; }
.held { color: var(--good); } .missed, .invalid { color: var(--bad); font-weight: 600; }
.charts { margin-top: 1rem; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; padding: .8rem; background: var(--card); border-radius: 8px; }
figure h3 { margin: 0 0 .3rem; font-size: .95rem; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--dim); }
.grid { stroke: var(--rule); stroke-width: 1; } .line { fill: none; stroke-width: 1.8; }
.target { stroke: var(--bad); stroke-dasharray: 5 4; } text.target { stroke: none; fill: var(--bad); }
.bars { stroke-width: 4; } .dots { fill-opacity: .5; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .8em; }
.key.dots { border-radius: 50%; opacity: .5; }
""" + "".join(
    f".line.c{n}, .bars.c{n} {{ stroke: var(--c{n}); }} .dots.c{n} {{ fill: var(--c{n}); }} "
    f".key.c{n} {{ background: var(--c{n}); }}\n"
    for n in range(1, 6)
)


def page(told: Report, steps: Sequence[Report], answer: str | None) -> str:
    """`told` in full; `steps` are all runs of a search, `answer` what it found."""
    body = [_verdict(told, answer)]
    if answer is not None:
        body += ["<h2>The search</h2>", _steps(steps), _charts(_search_charts(steps, told))]
    body += [
        "<h2>Latency and audio</h2>", _table(HEAD, (_cells(row, told.unknown) for row in told.judged.rows)),
        _charts(_run_charts(told)), "<h2>Success and failure</h2>", _failures(told),
    ]  # fmt: skip
    if told.server:
        body += ["<h2>The server's own figures</h2>", _server(told)]
    body += ["<h2>The generator</h2>", _generator(told)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Load test, {told.sessions} sessions</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


# --- words and tables


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _verdict(told: Report, answer: str | None) -> str:
    if not told.valid:
        kind, said = (
            "invalid",
            f"Says nothing: the generator was the bottleneck ({'; '.join(told.health.troubles)})",
        )
    elif told.judged.held:
        kind, said = "held", "All targets held"
    else:
        kind, said = "missed" if told.missed else "invalid", _sentence(conclusion(told))
    capacity = (
        "" if answer is None else f"<p><strong>Capacity: {escape(answer)}.</strong> Below, its last run.</p>"
    )
    return (
        f"<h1>Load test: {told.sessions} sessions</h1>"
        f'<p class="dim">{escape(told.url)}, {told.dialect} dialect, {told.took_s:.0f} s; talkers say '
        f'{escape(told.speech)}</p>{capacity}<p class="{kind}">{escape(said)}.</p>'
        + "".join(f"<p>Note: {escape(note)}.</p>" for note in notes(told))
    )


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><tr>{names}</tr>{"".join(rows)}</table></div>'


def _row(values: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>"


def _cells(row: Row, unknown: Sequence[str]) -> str:
    *values, mark = cells(row, unknown)
    return _row(values).replace("</tr>", f'<td class="{mark.lower()}">{mark}</td></tr>')


def _failures(told: Report) -> str:
    found = told.found
    rows = [
        _row(("turns answered", str(len(found.answered())), f"of {len(found.turns)}")),
        _row(("conversations held to their end", str(found.conversations), "")),
        _row(("without an answer when the run ended", str(found.unheard), "")),
        _row(("of these waited for a place to the end", str(found.waited_to_the_end), "")),
        _row(("sessions told to wait", str(found.queued), "")),
        *(
            _row((name, str(number), "" if most is None else f"at most {most}"))
            for name, number, most in told.judged.counts
        ),
        *(_row((cause, str(number), found.detail(cause))) for cause, number in found.causes().items()),
        *(_row((f"warning {code}", str(number), "")) for code, number in found.warnings.items()),
    ]
    return _table(("what", "how many", ""), rows)


def _server(told: Report) -> str:
    rows = [
        _row(
            (f"{row.label} {row.unit}", str(row.count), show(row.mean, row.unit), between(row.median, row.unit),
             between(row.p95, row.unit), row.name)
        )
        for row in told.server
    ]  # fmt: skip
    note = '<p class="dim">Histograms: a percentile is known as the bucket that holds it.</p>'
    return note + _table(("", "values", "mean", "median in", "p95 in", "metric"), rows)


def _generator(told: Report) -> str:
    kept = told.health
    rows = [
        ("packets sent late, p95 ms", show(kept.sent_late.p95)),
        ("packets sent late, worst ms", show(kept.sent_late.worst)),
        ("event loops late, p99 ms", show(kept.loop_lag.p99)),
        ("busiest process, share of a core", f"{kept.busiest:.0%}"),
        ("CPU ms per session-second", show(kept.cpu_ms_per_session_second)),
        ("processes", str(told.processes)),
        ("all cores of its machine, whoever used them", f"{told.machine_busy:.0%} busy"),
    ]
    return _table(("", ""), map(_row, rows)) + _charts([_busy(told)])


def _steps(steps: Sequence[Report]) -> str:
    names = ("STT", "LLM", "TTS start", "ping", "realtime factor")
    rows = []
    for step in steps:
        spreads = {row.name: row for row in step.judged.rows}
        figures = [
            show(spreads[name].spread.p95, spreads[name].unit) if name in spreads else "" for name in names
        ]
        outcome = "generator saturated" if not step.valid else "held" if step.judged.held else "missed"
        outcome = "interrupted" if step.interrupted else outcome
        rows.append(_row((str(step.sessions), outcome, *figures, ", ".join(step.missed))))
    return _table(("sessions", "", *(f"{name} p95" for name in names), "missed"), rows)


# --- charts


def _charts(charts: Iterable[Chart]) -> str:
    return f'<div class="charts">{"".join(map(_figure, charts))}</div>'


def _figure(chart: Chart) -> str:
    keys = "".join(
        f'<span class="key {one.shape} {one.colour}"></span>{escape(one.name)}' for one in chart.series
    )
    return f"<figure><h3>{escape(chart.title)}</h3>{svg(chart)}<figcaption>{keys}</figcaption></figure>"


def _run_charts(told: Report) -> list[Chart]:
    turns, targets, found = told.found.answered(), told.targets, told.found
    stages = (("STT", "stt_ms", targets.stt_ms, "c1"), ("LLM", "llm_ms", targets.llm_ms, "c2"),
              ("TTS start", "tts_ms", targets.tts_ms, "c3"))  # fmt: skip
    charts = [_over_time("Voice to voice", turns, "voice_to_voice_ms", targets.voice_to_voice_ms, "c4")]
    charts += [_over_time(name, turns, field, target, colour) for name, field, target, colour in stages]
    lines = [Series(name, _curve(turns, field), colour) for name, field, _, colour in stages]
    lines.append(Series("voice to voice", _curve(turns, "voice_to_voice_ms"), "c4"))
    marks = [(f"{name} target", target) for name, _, target, _ in stages]
    charts.append(
        Chart("Distribution", "ms (logarithmic)", "% of turns", lines, upright=marks, y_most=100, log_x=True)
    )
    factors = [(turn.at_s, turn.factor) for turn in turns if turn.factor is not None]
    charts.append(
        Chart("Realtime factor of delivery", "s", "×", [Series("a reply", factors, "c3", "dots")],
              [("target", targets.realtime_factor)])
    )  # fmt: skip
    pings = [Series("a ping", found.pings, "c1", "dots"), Series("p95", _p95(found.pings), "c1")]
    charts.append(Chart("Ping", "s", "ms", pings, [("target", targets.ping_ms)]))
    failed = [(failure.at_s, 1.0) for failure in found.failures]
    late = [(turn.at_s, turn.late_ms) for turn in turns]
    charts.append(Chart("Late audio", "s", "ms in a reply", [Series("a reply", late, "c5", "dots")]))
    shown = [
        Series("sessions up", _up(told), "c1", "steps"),
        Series("failures in a second", _per_second(failed), "c5", "bars"),
    ]
    charts.append(Chart("Sessions and failures", "s", "", shown))
    return charts


def _over_time(name: str, turns: Sequence[Turn], field: str, target: float | None, colour: str) -> Chart:
    dots = [(turn.at_s, value) for turn in turns if (value := getattr(turn, field)) is not None]
    series = [Series("a turn", dots, colour, "dots"), Series(f"p95 of {BIN_S:g} s", _p95(dots), colour)]
    return Chart(name, "s", "ms", series, [] if target is None else [("target", target)])


def _p95(dots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    bins: dict[int, list[float]] = {}
    for at_s, value in dots:
        bins.setdefault(int(at_s // BIN_S), []).append(value)
    return [((number + 0.5) * BIN_S, percentile(values, 0.95)) for number, values in sorted(bins.items())]


def _curve(turns: Sequence[Turn], field: str) -> list[tuple[float, float]]:
    values = sorted(value for turn in turns if (value := getattr(turn, field)) is not None)
    return [(max(value, 0.1), 100 * (rank + 1) / len(values)) for rank, value in enumerate(values)]


def _per_second(events: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    counted: dict[int, float] = {}
    for at_s, number in events:
        counted[int(at_s)] = counted.get(int(at_s), 0.0) + number
    return sorted((float(second), number) for second, number in counted.items())


def _up(told: Report) -> list[tuple[float, float]]:
    """Each process tells its own; between its words nothing changes."""
    known: dict[int, int] = {}
    points = []
    for second in sorted(told.found.busy, key=lambda one: one.at_s):
        known[second.process] = second.up
        points.append((max(0.0, second.at_s), float(sum(known.values()))))
    return points


def _busy(told: Report) -> Chart:
    processes = sorted({second.process for second in told.found.busy})
    lines = [
        Series(
            f"process {process}",
            [(one.at_s, 100 * one.share) for one in told.found.busy if one.process == process],
            f"c{process % 5 + 1}",
        )
        for process in processes[:5]
    ]
    return Chart("CPU of the generator's processes", "s", "% of a core", lines, [("too busy", 75.0)])


def _search_charts(steps: Sequence[Report], told: Report) -> list[Chart]:
    names = (("STT", told.targets.stt_ms), ("LLM", told.targets.llm_ms), ("TTS start", told.targets.tts_ms),
             ("ping", told.targets.ping_ms))  # fmt: skip
    charts = []
    for number, (name, target) in enumerate(names):
        points = sorted(
            (float(step.sessions), row.spread.p95)
            for step in steps
            for row in step.judged.rows
            if row.name == name and row.spread.p95 is not None
        )
        series = [Series("p95", points, f"c{number + 1}"), Series("a run", points, f"c{number + 1}", "dots")]
        charts.append(Chart(f"{name} by sessions", "sessions", "ms", series, [("target", target)]))
    return charts
