"""The papers of the repository, taken apart: links, headings, code in lines and in blocks, and commands in those."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

#: Languages of blocks that hold commands. An indented block does if its first word is one of the programs.
SHELL = ("sh", "bash", "console")
PROGRAMS = (
    "antiphon",
    ".venv/bin/antiphon",
    "make",
    "curl",
    "docker",
    "promtool",
    "python",
    "celery",
    "sudo",
)

_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


def name(paper: Path) -> str:
    """From the repository's root."""
    return str(paper.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A block of code: where, in which language (empty: indented), and what."""

    paper: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{name(self.paper)}:{self.line}"

    def commands(self) -> list[str]:
        """One for each that a shell would run; of a console what stands behind a dollar."""
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@cache
def blocks(paper: Path) -> tuple[Block, ...]:
    """All of a paper, in order."""
    return tuple(_blocks(paper))


def _blocks(paper: Path) -> Iterator[Block]:
    lines = paper.read_text().splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = lines.index("```", at + 1)
            yield Block(paper, at + 1, lines[at].strip("` "), "\n".join(lines[at + 1 : end]))
            at = end
        elif lines[at].startswith("    ") and not lines[at - 1].strip():
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block(paper, at + 1, "", "\n".join(line[4:] for line in lines[at:end]).rstrip())
            at = end
        at += 1


def shell_blocks(paper: Path) -> list[Block]:
    """Those with commands."""
    return [block for block in blocks(paper) if block.language in SHELL or _begins_with_a_program(block)]


def _begins_with_a_program(block: Block) -> bool:
    words = block.text.split()
    first = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    return not block.language and (first in PROGRAMS or bool(_ASSIGNMENT.match(words[0])))


@cache
def prose(paper: Path) -> str:
    """A paper without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", paper.read_text(), flags=re.MULTILINE | re.DOTALL)


def spans(paper: Path) -> list[str]:
    """Code in lines; a line break in it is a space."""
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(paper))]


def anchors(paper: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+)$", prose(paper), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        base = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.append(base if base not in found else f"{base}-{found.count(base)}")
    return set(found)


def links(paper: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of those that stay here."""
    found = re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", prose(paper))
    parts = [target.partition("#") for target in found]
    return [((paper.parent / path).resolve() if path else paper, anchor) for path, _, anchor in parts]


def words(command: str) -> list[str]:
    """As a shell splits it, without its comment."""
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # an apostrophe in what is no command
        return command.split()
