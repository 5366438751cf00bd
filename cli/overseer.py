"""One run of all programs: waits until they serve, tells of deaths and returns, ends them together."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cli.data_dir import DataDir
from cli.probe import Probe
from cli.programs import Program
from cli.roster import Change, Died, Roster
from cli.supervisord import Supervisord
from config.errors import AntiphonError, ConfigError

#: How often the supervisor is asked. A request makes it look round, so this bounds how late it restarts a child.
LOOK_S = 0.25
#: While programs load they are asked more often, for the seconds they say they took.
LOADING_LOOK_S = 0.1

#: While nothing new became ready, a sign of life this often.
PATIENCE_S = 5.0

#: The largest models load from a slow disk in less; what is not ready by then hangs.
READY_DEADLINE_S = 600.0

#: How a worker begins its one line about what the operator must mend.
WORKER_SAYS = "antiphon worker: "


@dataclass(frozen=True)
class Asked:
    """What signals ask for."""

    to_stop: threading.Event
    to_reload: threading.Event


class StartFailed(AntiphonError):
    """A program did not become ready."""

    code = "start_failed"


class Overseer:
    """Starts everything when it is made; `close` must follow."""

    def __init__(
        self,
        data: DataDir,
        programs: Sequence[Program],
        environment: dict[str, str],
        probe: Probe,
        asked: Asked,
        check_voices: Callable[[], object],
        say: Callable[[str], None],
    ) -> None:
        self._data = data
        self._probe = probe
        self._asked_to_stop, self._asked_to_reload = asked.to_stop, asked.to_reload
        self._check_voices = check_voices
        self._say = say
        self._began_s = time.monotonic()
        self._roster = Roster([program.name for program in programs], self._began_s)
        self._log_starts = {program.name: _size(data, program.name) for program in programs}
        self._supervisord = Supervisord(data, programs, environment)

    def wait_until_ready(self) -> float | None:
        """Seconds it took; None when asked to stop. Raises StartFailed as soon as any program dies."""
        spoke_s = self._began_s
        while not self._asked_to_stop.wait(LOADING_LOOK_S):
            changes = self._look()
            for change in changes:
                if isinstance(change, Died):
                    raise StartFailed(self._why(change.name))
                self._say(f"  {change.name:<6} ready after {change.after_s:.1f} s")
            now_s = time.monotonic()
            if self._roster.complete and self._probe.healthy():
                return now_s - self._began_s
            if changes:
                spoke_s = now_s
            elif now_s - spoke_s > PATIENCE_S:
                spoke_s = now_s
                self._say(f"  … {self._awaited()} still loading, {now_s - self._began_s:.0f} s")
            if now_s - self._began_s > READY_DEADLINE_S:
                raise StartFailed(f"not ready after {READY_DEADLINE_S:.0f} s: {self._awaited()}")
        return None

    def watch(self) -> None:
        """Until asked to stop. Raises SupervisorFailed."""
        while not self._asked_to_stop.wait(LOOK_S):
            if self._asked_to_reload.is_set():
                self._asked_to_reload.clear()
                self._reload()
            for change in self._look():
                if isinstance(change, Died):
                    self._say(f"{self._why(change.name)}; it is started again")
                else:
                    self._say(f"{change.name} is back after {change.after_s:.1f} s")

    def _reload(self) -> None:
        try:
            self._check_voices()
        except ConfigError as error:
            self._say(f"the characters stay as they were: {error}")
        else:
            self._supervisord.hang_up("web")
            self._say("the characters are read again; sessions that run keep theirs")

    def stop(self) -> None:
        """Everything in order, in a bounded time."""
        self._supervisord.stop()

    def close(self) -> None:
        """Nothing of this run is left when it returns."""
        if not self._supervisord.kill():
            self._say("some processes do not end, even by SIGKILL")

    def _look(self) -> list[Change]:
        now_s = time.monotonic()
        changes = self._roster.note_standings(self._supervisord.standings(), now_s)
        if awaited := self._roster.awaited:
            changes += self._roster.note_serving(self._probe.serving(awaited), now_s)
        return changes

    def _awaited(self) -> str:
        return ", ".join(self._roster.awaited) or "health"

    def _why(self, name: str) -> str:
        """One line: how a program died and what it said. What a worker says to the operator says all."""
        lines = self._log_lines(name)
        for line in reversed(lines):
            _, said, what = line.partition(WORKER_SAYS)  # Celery puts a moment before it
            if said:
                return f"{name} ended: {what}"
        how = self._supervisord.how_died(name)
        if how.startswith("terminated"):
            return f"{name} died ({how})"
        if how == "exit status 0":
            return f"{name} ended of its own accord, as a worker does that was drained"
        last = f": {lines[-1][:300]}" if lines else ""
        return f"{name} died ({how}){last} [{self._data.log_file(name)}]"

    def _log_lines(self, name: str) -> list[str]:
        """What the program wrote since it was started, or since its last death was told."""
        path = self._data.log_file(name)
        start, end = self._log_starts[name], _size(self._data, name)
        self._log_starts[name] = end
        with path.open("rb") as log:
            log.seek(start if start <= end else 0)  # the file may have been rotated
            text = log.read().decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


def _size(data: DataDir, name: str) -> int:
    path = data.log_file(name)
    return path.stat().st_size if path.exists() else 0
