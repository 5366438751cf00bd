"""Keeps processes to the packages of an image: those of its locks, as if nothing else were installed here."""

import re
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: Runs at the start of each Python that finds it: what no lock names cannot be imported.
HOOK = """
import sys

REFUSED = frozenset({refused!r})


class OnlyLocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError("No module named " + repr(name) + " (no lock of this image has it)", name=name)


sys.meta_path.insert(0, OnlyLocked)
"""


@cache
def _modules() -> dict[str, list[str]]:
    """What is installed here, by the module's name."""
    return {name: [_plain(one) for one in dists] for name, dists in packages_distributions().items()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(*locks: str) -> set[str]:
    """The packages of these locks."""
    texts = [(ROOT / f"requirements/{lock}.txt").read_text() for lock in locks]
    return {_plain(name) for text in texts for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


def refused(*locks: str, rooms: tuple[str, ...] = ()) -> list[str]:
    """Modules that are installed here and not there; `rooms`: ours that the image must do without, too."""
    there = {*locked(*locks), "antiphon"}
    return sorted({*rooms, *(name for name, dists in _modules().items() if not there & set(dists))})


def lay(folder: Path, *locks: str, rooms: tuple[str, ...] = ()) -> Path:
    """A folder for PYTHONPATH that holds a process to these locks."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK.format(refused=refused(*locks, rooms=rooms)))
    return folder
