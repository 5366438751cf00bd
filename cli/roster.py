"""Who of the programs runs, serves, or died: a pure account of what the supervisor and the probes say."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cli.supervisord import Standing


@dataclass(frozen=True)
class Serves:
    """A program does its work now."""

    name: str
    after_s: float
    """Since its process was first seen, or since it died if it did."""


@dataclass(frozen=True)
class Died:
    """A program ended though nobody asked it to."""

    name: str


Change = Serves | Died


@dataclass
class _Member:
    since_s: float
    pid: int = 0
    serves: bool = False
    down: bool = False


class Roster:
    """One member per program. Moments are in seconds of one clock that never goes back."""

    def __init__(self, names: Iterable[str], now_s: float) -> None:
        self._members = {name: _Member(now_s) for name in names}

    @property
    def complete(self) -> bool:
        """Everything serves."""
        return not self.awaited

    @property
    def awaited(self) -> dict[str, int]:
        """Process ids of those that do not serve yet, by name; 0 while there is no process."""
        return {name: member.pid for name, member in self._members.items() if not member.serves}

    def note_standings(self, standings: Mapping[str, Standing], now_s: float) -> list[Change]:
        """Takes what the supervisor says; a program with another process than before has died in between."""
        changes: list[Change] = []
        for name, standing in standings.items():
            member = self._members[name]
            replaced = bool(member.pid) and standing.pid != member.pid
            if replaced or (standing.down and not member.down):
                changes.append(Died(name))
                member.since_s, member.serves = now_s, False
            member.pid, member.down = standing.pid, standing.down
        return changes

    def note_serving(self, names: Collection[str], now_s: float) -> list[Change]:
        """Takes what the probes found."""
        changes: list[Change] = []
        for name in names:
            member = self._members[name]
            if member.pid and not member.serves:
                member.serves = True
                changes.append(Serves(name, now_s - member.since_s))
        return changes
