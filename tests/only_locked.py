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
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in REFUSED:
            return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)


sys.meta_path[:] = map(OnlyLocked, sys.meta_path)
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


def refused(*locks: str, rooms: tuple[str, ...] = (), also: tuple[str, ...] = ()) -> list[str]:
    """Modules that are installed here and not there.

    rooms: ours that the image must do without, too. also: packages that stand here for others of the locks.
    """
    there = {*locked(*locks), *also, "antiphon"}
    return sorted({*rooms, *(name for name, dists in _modules().items() if not there & set(dists))})


def lay(folder: Path, *locks: str, rooms: tuple[str, ...] = (), also: tuple[str, ...] = ()) -> Path:
    """A folder for PYTHONPATH that holds a process to these locks."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK.format(refused=refused(*locks, rooms=rooms, also=also)))
    return folder
