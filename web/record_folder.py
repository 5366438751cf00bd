"""The folder of recordings: which files are whose, which are too old, and their end. Touches no other folder."""

import os
import re
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: What happened, and what the user said, by the ends of their names.
EVENTS, SOUND = (".jsonl",), (".wav", ".ogg")

#: Whose file it is, and which. The recordings of voice donations, and whatever else lies there, have other names.
NAME = re.compile(r"(?P<session>[\w-]+)(\.jsonl|\.\d+\.(wav|ogg))", re.ASCII)

#: Files that one go of pruning deletes: some seconds of a slow disk. What is left has the next.
MOST_AT_ONCE = 5000


@dataclass(frozen=True)
class Recorded:
    """A file of a session."""

    session: str
    path: Path
    changed_s: float
    """Unix time."""
    bytes: int

    @property
    def is_sound(self) -> bool:
        """Not what happened, but how it sounded."""
        return self.path.suffix in SOUND


def events_file(folder: Path, session: str) -> Path:
    """What happened in a session."""
    return folder / f"{session}{EVENTS[0]}"


def sound_file(folder: Path, session: str, at: int, kind: str) -> Path:
    """What the user said from session sample `at` on."""
    return folder / f"{session}.{at}.{kind}"


def recorded(folder: Path, sessions: Container[str] | None = None) -> Iterator[Recorded]:
    """All there is, or that of some sessions; nothing where there is no folder. Files that are no recordings are not
    seen, and of what is not asked for no more than its name is read: the folder may be large, and far."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = NAME.fullmatch(entry.name)
            if name is None or (sessions is not None and name["session"] not in sessions):
                continue
            with suppress(FileNotFoundError):  # another process deletes it, too
                if entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    yield Recorded(name["session"], Path(entry.path), about.st_mtime, about.st_size)


def of(folder: Path, session: str, *, sound_alone: bool = False) -> list[Recorded]:
    """What there is of one session."""
    return [file for file in recorded(folder, (session,)) if file.is_sound or not sound_alone]


def prune(folder: Path, before_s: float) -> int:
    """Deletes what was not changed since that unix time; how many files. Raises OSError."""
    old = (file for file in recorded(folder) if file.changed_s < before_s)
    return sum(erase(file.path) for file, _ in zip(old, range(MOST_AT_ONCE), strict=False))


def erase(path: Path) -> bool:
    """Whether it was there. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
