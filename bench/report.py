"""What the benches found, as text: tables, bars, and their place in docs/benchmarks.md. Pure but for `save`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cells = Sequence[str]

#: The document when there is none yet. What stands outside the marks is written by hand and stays.
EMPTY = """\
# Benchmarks

What stands between the marks is written by `make bench`; `make bench ARGS="voice --write"` measures one part again.
"""


@dataclass(frozen=True)
class Bar:
    """Something promised: what, how much at the most, and what was measured."""

    what: str
    wanted: str
    measured: str
    reached: bool

    @property
    def line(self) -> str:
        """For the terminal."""
        return (
            f"{'reached' if self.reached else 'MISSED '}  {self.what}: {self.measured} (bar: {self.wanted})"
        )


@dataclass(frozen=True)
class Table:
    """The first column holds names, all others figures."""

    head: Cells
    rows: Sequence[Cells]
    title: str = ""

    @property
    def markdown(self) -> str:
        """With the figures to the right."""
        rule = ["---", *("---:" for _ in self.head[1:])]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.head, rule, *self.rows)]
        return "\n".join(([f"**{self.title}**", ""] if self.title else []) + lines)


@dataclass(frozen=True)
class Section:
    """One part's findings. `data` goes into the JSON as it is."""

    name: str
    title: str
    bars: Sequence[Bar] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """Bars, tables, and how it was measured."""
        parts = [f"## {self.title}"]
        if self.bars:
            parts.append(_bars(self.bars).markdown)
        parts += [table.markdown for table in self.tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts)


def _bars(bars: Sequence[Bar]) -> Table:
    rows = [(bar.what, bar.wanted, bar.measured, "yes" if bar.reached else "**no**") for bar in bars]
    return Table(("must reach", "bar", "measured", "reached"), rows)


def failed(name: str, title: str, reason: str) -> Section:
    """A part that could not be measured."""
    return Section(name, title, [Bar(title, "measured", reason, False)], data={"failed": reason})


def placed(document: str, name: str, text: str) -> str:
    """The document with `text` between the marks of that name; new marks come last."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    block = f"{begin}\n\n{text}\n\n{end}"
    if begin not in document:
        return f"{document.rstrip()}\n\n{block}\n"
    return re.sub(
        re.escape(begin) + r".*?" + re.escape(end), lambda _: block, document, count=1, flags=re.DOTALL
    )


def save(path: Path, header: str, stamp: str, sections: Sequence[Section]) -> None:
    """Puts the sections into the document, each with the stamp of its run."""
    document = path.read_text() if path.exists() else EMPTY
    document = placed(document, "machine", header)
    for section in sections:
        document = placed(document, section.name, f"{section.markdown}\n\n{stamp}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(document)
