"""The stages of one session: what is expected of each, who works on it, and how they are told."""

import time
from collections.abc import Callable, Iterable

from config.errors import AntiphonError, VoiceExpired
from config.messages import Cancel, Failed, Played
from tasks import submit
from web import session_metrics
from web.signs import Connection
from web.stage_watch import StageWatch

#: What a client is told when a stage is gone.
STAGE_NAMES = {"stt": "speech recognition", "llm": "the language model", "tts": "the voice"}


def failure(body: object) -> AntiphonError | None:
    """What a client is told of a failure that has a reason of its own."""
    if isinstance(body, Failed) and body.code == VoiceExpired.code:
        return VoiceExpired("the cloned voice has expired; record it again, or choose another voice")
    return None


Tell = Callable[[str, Cancel | Played], None]


class Stages:
    """Submits work, remembers it until it is completed, and knows the workers that hold it."""

    def __init__(self, sid: str, tell: Tell) -> None:
        self._sid = sid
        self._tell = tell
        self._watches: dict[str, StageWatch] = {}
        self._owners: dict[str, str] = {}
        self.traced: Callable[[str, int], str] = lambda _stage, _reply: ""
        """The traceparent of what is asked of a stage."""
        self._asked_s: dict[str, float] = {}

    def expect(self, stage: str, reply: int, *, fresh: bool) -> None:
        """Work is under way. fresh: nobody can have worked on it before."""
        now_s = time.monotonic()
        self._owners.pop(stage, None)
        self._watches[stage] = StageWatch(stage, reply, now_s, now_s, fresh=fresh)

    def order(self, stage: str, reply: int) -> None:
        """Expects work and submits it."""
        self.expect(stage, reply, fresh=stage != "stt")
        trace = self._watches[stage].trace = self.traced(stage, reply)
        self._asked_s[stage] = time.monotonic()
        submit.order(stage, self._sid, reply, trace)

    def order_again(self, watch: StageWatch) -> None:
        """Takes it from a worker that gives nothing, and submits it once more."""
        self.tell(watch.stage, Cancel(self._sid, watch.reply))
        watch.submitted(time.monotonic())
        submit.again(watch.stage, self._sid, watch.reply, self.traced(watch.stage, watch.reply))

    def completed(self, stage: str) -> None:
        """Nothing more is expected of it."""
        watch = self._watches.pop(stage, None)
        if watch is not None and watch.told and not watch.claimed:
            session_metrics.missed_for_good(stage)

    def end(self) -> None:
        """Nothing is expected any more: the connection is over."""
        for stage in list(self._watches):
            self.completed(stage)

    def owned(self, stage: str, worker: str) -> None:
        """This worker has it."""
        if (asked_s := self._asked_s.pop(stage, None)) is not None:
            session_metrics.found(stage, time.monotonic() - asked_s)
        self._owners[stage] = worker

    def tell(self, stage: str, what: Cancel | Played) -> None:
        """Tells the worker that has it; what is told may be lost."""
        if stage in self._owners:
            self._tell(self._owners[stage], what)

    def first_owner(self, stage: str, reply: int) -> bool:
        """Nobody can have worked on it before its present owner."""
        watch = self._watches.get(stage)
        return watch is not None and watch.fresh and watch.reply == reply

    def unclaimed(self, stage: str) -> bool:
        """It is expected and nobody has taken it."""
        watch = self._watches.get(stage)
        return watch is not None and not watch.claimed

    def connection(self, stage: str) -> Connection:
        """Whether somebody works on it."""
        watch = self._watches.get(stage)
        if watch is None:
            return "none"
        at_once = watch.fresh and stage in self._owners  # the watchdog sees it a little later
        return "connected" if watch.claimed or at_once else "connecting"

    def watches(self) -> Iterable[StageWatch]:
        """All that is expected now."""
        return list(self._watches.values())
