"""The tables of docs/models.md, made from the catalogue: python -m cli.model_tables writes them again."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from config.catalogue import Model, models

PAPER = Path(__file__).parent.parent / "docs/models.md"

#: What is between these lines is made here.
BEGIN, END = "<!-- made by python -m cli.model_tables -->", "<!-- end of what is made -->"

#: In place of what nobody told us.
UNKNOWN = "not pinned by us"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """Lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def users(model: Model) -> str:
    """Engines that take it, and by which option."""
    said = []
    for use in model.used_by:
        how = (
            "" if use.option is None else f" (option `{use.option}`{', the default' if use.default else ''})"
        )
        said.append(f"`{use.engine}`{how}")
    return ", ".join(said)


def tables(all_of_them: Iterable[Model]) -> str:
    """What they are, whose, and every file."""
    ones = sorted(all_of_them, key=lambda model: model.id)
    what = table(
        ("model", "what it is", "from", "used by"),
        ((f"`{model.id}`", model.what, str(model.source), users(model)) for model in ones),
    )
    whose = table(
        ("model", "code", "weights", "note"),
        (
            (
                f"[`{model.id}`]({model.licences.link})",
                model.licences.code,
                model.licences.weights,
                model.note or " ",
            )
            for model in ones
        ),
    )
    files = table(
        ("model", "file", "bytes", "sha256"),
        (
            (
                f"`{model.id}`",
                f"`{file.name}`",
                str(file.size or "unknown"),
                f"`{file.sha256}`" if file.sha256 else UNKNOWN,
            )
            for model in ones
            for file in model.files
        ),
    )
    lines = chain(["### What they are", ""], what, ["### Licences", ""], whose, ["### Files", ""], files)
    return "\n".join(lines)


def written(paper: str) -> str:
    """The paper, with the tables as the catalogue has them now."""
    before, _, rest = paper.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(models().values())}\n{END}{after}"


if __name__ == "__main__":
    PAPER.write_text(written(PAPER.read_text()))
