"""CPU time and memory of the processes of one `antiphon up`, by the names of its pid files. Ends none of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

#: The order of tables: along the way of the data.
ORDER = ("web", "stt", "llm", "tts", "state", "media", "supervisord", "up")


@dataclass(frozen=True)
class Usage:
    """Of one program and what it started."""

    cpu_s: float
    rss_mb: float
    pss_mb: float
    """Memory that several processes share counts in equal parts."""


def of_run(run: Path) -> dict[str, Usage]:
    """Every program of the run by name; what has ended is left out."""
    found = {}
    for path in run.glob("*.pid"):
        try:
            process = psutil.Process(int(path.read_text().split()[0]))
        except (psutil.Error, OSError, ValueError, IndexError):
            continue
        # `up` and the supervisor started all the others
        alone = path.stem in {"up", "supervisord"}
        found[path.stem] = usage([process] if alone else [process, *process.children(recursive=True)])
    return found


def usage(processes: Iterable[psutil.Process]) -> Usage:
    """Of all these together."""
    cpu_s = rss = pss = 0.0
    for process in processes:
        try:
            times, memory = process.cpu_times(), process.memory_full_info()
        except psutil.Error:
            continue
        cpu_s += times.user + times.system
        rss += memory.rss
        pss += getattr(memory, "pss", memory.rss)
    return Usage(cpu_s, rss / 1e6, pss / 1e6)


def in_order(names: Iterable[str]) -> list[str]:
    """Program names as tables show them; `tts.2` stands after `tts`."""

    def place(name: str) -> tuple[int, str]:
        kind = name.partition(".")[0]
        return (ORDER.index(kind) if kind in ORDER else len(ORDER), name)

    return sorted(names, key=place)


def cpu_ms_per_session_second(
    before: Mapping[str, Usage], after: Mapping[str, Usage], session_seconds: float
) -> dict[str, float]:
    """What each program took between two looks, shared out among the sessions."""
    return {
        name: 1000 * (after[name].cpu_s - before[name].cpu_s) / session_seconds
        for name in in_order(after)
        if name in before
    }
