"""The tables of docs/models.md, made from the catalogue of weights: `make catalogue` writes them.

python -m tools.model_tables            writes
python -m tools.model_tables --check    says whether they are as declared
"""

import sys
from collections.abc import Iterator

from config.catalogue import Model, models
from tools.tables import ROOT, Paper, table

PAPER = Paper(ROOT / "docs/models.md", "tools/model_tables.py", "catalogue")

#: In place of what nobody told us.
UNKNOWN = "not pinned by us"


def users(model: Model) -> str:
    """Engines that take it, and by which option."""
    said = []
    for use in model.used_by:
        how = (
            "" if use.option is None else f" (option `{use.option}`{', the default' if use.default else ''})"
        )
        said.append(f"`{use.engine}`{how}")
    return ", ".join(said)


def what(model: Model) -> tuple[str, ...]:
    """The row of what it is."""
    return f"`{model.id}`", model.what, str(model.source), users(model)


def whose(model: Model) -> tuple[str, ...]:
    """The row of its licences."""
    licences = model.licences
    return f"[`{model.id}`]({licences.link})", licences.code, licences.weights, model.note or " "


def files(model: Model) -> Iterator[tuple[str, ...]]:
    """A row for each of its files."""
    for file in model.files:
        digest = f"`{file.sha256}`" if file.sha256 else UNKNOWN
        yield f"`{model.id}`", f"`{file.name}`", str(file.size or "unknown"), digest


def made() -> dict[str, list[str]]:
    """All tables, by name."""
    ones = sorted(models().values(), key=lambda model: model.id)
    rows = [row for one in ones for row in files(one)]
    return {
        "what they are": [*table(("model", "what it is", "from", "used by"), map(what, ones))],
        "licences": [*table(("model", "code", "weights", "note"), map(whose, ones))],
        "files": [*table(("model", "file", "bytes", "sha256"), rows)],
    }


if __name__ == "__main__":
    sys.exit(PAPER.main(made()))
