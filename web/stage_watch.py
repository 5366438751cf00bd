"""What a session expects of one stage, and when that is overdue. Pure; wall time is handed in."""

from dataclasses import dataclass
from enum import Enum, auto

from config.tuning import OwnershipSettings


class Verdict(Enum):
    """What to do about a stage."""

    FINE = auto()
    RESUBMIT = auto()  #: its owner died, or nobody took it though somebody could
    WAITING = auto()  #: nobody has room; the client should know


@dataclass
class StageWatch:
    """One stage's work, from its submission on."""

    stage: str
    reply: int
    submitted_s: float
    missing_since_s: float
    claimed: bool = False
    taken_s: float = 0.0
    """When somebody was first seen to hold it, since it was submitted: what lay in a queue is not late before."""
    told: bool = False
    tries: int = 1
    """How many owners it has had or awaits; a task that was lost before anybody took it is no try."""
    fresh: bool = True
    """Nobody can have worked on it before."""
    trace: str = ""
    """The traceparent that its task carries."""

    def seen(self, now_s: float) -> None:
        """Somebody holds it."""
        if not self.claimed:
            self.taken_s = now_s
        self.claimed = True
        self.told = False
        self.missing_since_s = now_s

    def judge(self, now_s: float, rules: OwnershipSettings, *, room: bool) -> Verdict:
        """Nobody holds it now: is that still fine?"""
        if self.claimed:
            return Verdict.RESUBMIT
        if room and now_s - self.submitted_s > rules.claim_timeout_s:
            return Verdict.RESUBMIT
        if not self.told and now_s - self.missing_since_s > rules.tell_after_s:
            return Verdict.WAITING
        return Verdict.FINE

    def submitted(self, now_s: float) -> None:
        """It was sent again."""
        self.tries += self.claimed
        self.claimed = False
        self.submitted_s = now_s
        self.fresh = False
