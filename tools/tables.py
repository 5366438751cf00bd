"""What the makers of tables share: a table's lines, their place in a guide, writing and checking."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Between such lines stands what is made: by which file, and which of its tables.
BEGIN, END = "<!-- made by {}: {} -->", "<!-- end of what is made -->"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Its lines. A bar in a cell would end it."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(cell.replace('|', '¦') for cell in row)} |" for row in rows)


@dataclass(frozen=True)
class Paper:
    """A guide with tables in it."""

    file: Path
    maker: str
    """Its file, from the project's root."""
    target: str
    """Of the Makefile, which writes it again."""

    def written(self, made: Mapping[str, Iterable[str]]) -> str:
        """The paper with its tables as they are to be: the lines of each, by name."""
        text = self.file.read_text()
        for name, lines in made.items():
            begin = BEGIN.format(self.maker, name)
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(END)
            body = "\n".join(lines).strip("\n")
            text = f"{before}{begin}\n\n{body}\n\n{END}{after}"
        return text

    def main(self, made: Mapping[str, Iterable[str]]) -> int:
        """Writes it, or says with `--check` whether it is as it is to be; the exit status."""
        text = self.written(made)
        if sys.argv[1:] == ["--check"]:
            same = self.file.read_text() == text
            print("as declared" if same else f"not as declared: make {self.target}")
            return 0 if same else 1
        self.file.write_text(text)
        return 0
