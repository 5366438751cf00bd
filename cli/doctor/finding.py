"""What a check found, and checks run side by side against one deadline. Pure but for the threads."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from config.errors import AntiphonError

Found = TypeVar("Found")


class Verdict(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    """It works; an operator should know."""
    FAIL = "fail"
    """Antiphon, or a part of it, does not work here until it is mended."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    check: str
    verdict: Verdict
    what: str
    remedy: str = ""
    """How to mend it; empty where nothing is to be mended."""

    def document(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, what)


def warn(check: str, what: str, remedy: str) -> Finding:
    """It works, but."""
    return Finding(check, Verdict.WARN, what, remedy)


def fail(check: str, what: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, what, remedy)


#: What a check gives; it may raise AntiphonError for what must be mended.
Check = Callable[[], Iterable[Finding]]


def side_by_side(jobs: Mapping[str, Callable[[], Found]], deadline_s: float) -> dict[str, Found]:
    """What each gave that was through in time. The others go on in threads that keep no process from its end."""
    found: dict[str, Found] = {}

    def work(name: str, job: Callable[[], Found]) -> None:
        found[name] = job()

    threads = [threading.Thread(target=work, args=one, daemon=True, name=one[0]) for one in jobs.items()]
    for thread in threads:
        thread.start()
    ends_s = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, ends_s - time.monotonic()))
    return dict(found)


def run(checks: Mapping[str, Check], deadline_s: float) -> list[Finding]:
    """All findings, in the order of the checks. A check that is not through by the deadline has failed."""
    found = side_by_side({name: partial(_guarded, name, check) for name, check in checks.items()}, deadline_s)
    late = f"could not be checked within {deadline_s:g} s"
    mend = "what it asks hangs, or is out of reach, or this machine is very busy"
    return [finding for name in checks for finding in found.get(name, [fail(name, late, mend)])]


def _guarded(name: str, check: Check) -> Sequence[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check())
    except AntiphonError as error:
        what, _, remedy = str(error).partition("; ")
        found.append(fail(name, what, remedy))
    except Exception as error:  # a check of ours that breaks hides no other
        found.append(fail(name, f"the check itself failed: {type(error).__name__}: {error}", "tell us of it"))
    return found
