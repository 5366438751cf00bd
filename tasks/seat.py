"""A seat: one claimed stage of a session, as its worker has it."""

import threading
from collections import deque
from dataclasses import dataclass, field

from config.messages import Result
from config.tracing import trace_id
from gpu_workers.engine import Slot
from tasks.leases import Lease
from tasks.shared_time import shared_time

#: Results of one seat kept after they were sent: all words of a reply, half a minute of its audio.
SAID_ITEMS = 400


@dataclass(eq=False)
class Seat:
    """One claimed stage of a session, served in `slot`."""

    lease: Lease
    slot: Slot
    over: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    """The stage has done its part; if not, somebody else must."""
    resume_at: int = 0
    """stt: session sample from which to listen; what lies before was dealt with."""
    said: deque[Result] = field(default_factory=lambda: deque(maxlen=SAID_ITEMS))
    """The newest results, should the media server lose them."""
    lost: bool = False
    """The lease is gone: whatever comes of it is dropped."""
    trace: str = ""
    """The traceparent under which it works."""
    marks: dict[str, float] = field(default_factory=lambda: {"claimed": shared_time.now_s()})
    """Unix times of what it did for the first time."""
    called_off: bool = False
    """It is lost because nobody wants it any more."""

    def call_off(self) -> None:
        """The web cancelled it."""
        self.lost = self.called_off = True

    @property
    def sid(self) -> str:
        """The session served."""
        return self.lease.sid

    @property
    def about(self) -> dict[str, str | int]:
        """Whom a line in the log is about: its `extra`."""
        return {"session": self.lease.sid, "reply": self.lease.reply, "trace": trace_id(self.trace)}

    def mark(self, what: str) -> None:
        """It does this now, and it counts if it is the first time."""
        self.marks.setdefault(what, shared_time.now_s())
