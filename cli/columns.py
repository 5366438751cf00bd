"""Tables for a terminal: columns as wide as they must be, and times and sizes as people read them. Pure."""

from collections.abc import Sequence

#: Between two columns.
GAP = "  "

#: In place of what there is none of.
NONE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines; a last column is as long as it likes."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def seconds(value: float | None) -> str:
    """`0.3 s`, `42 s`, `3 min`, `2.5 h`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def megabytes(count: int) -> str:
    """`3 MB`, `1.5 MB`."""
    mb = count / (1 << 20)
    return f"{mb:.1f} MB" if mb < 10 else f"{mb:.0f} MB"


def cut(text: str, most: int) -> str:
    """So many characters at most, the end of which says that there is more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
