"""What is told of a turn while it goes on: its trace, and whom the session's log lines are about. Decides nothing.

A trace begins where the user's voice ended, or where a reply was asked for, and ends with the reply; its root is
`turn`. The web makes the spans of everything that it can time by its own clock, the waits in queues and what the STT
does for the turn among them: a listening task lasts as long as the session and hangs under no turn, but its facts carry
session samples, and the web knows when those came in.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from config import logs
from config import redis_keys as keys
from config.messages import (
    Claimed,
    Failed,
    Pause,
    Result,
    Speech,
    SpeechDone,
    TextDone,
    Transcript,
    VoiceEnded,
)
from config.settings import SAMPLE_RATE
from config.tracing import NO_SPAN, Span, Tracer, Value, trace_id
from tasks.shared_time import shared_time
from web import actions, happenings
from web.clock import SessionClock
from web.turn_state import Turn

#: What a stage does for a reply, as its span is named.
WORK = {"llm": "llm.reply", "tts": "tts.speak"}


class TurnTrace:
    """Follows a session's turns. This one only minds the log; with a tracer there is `Traced`."""

    def __init__(self, sid: str) -> None:
        self._sid = sid
        self._reply = 0
        logs.note(session=sid)

    def happened(
        self, after: Turn, happening: happenings.Happening, acts: Sequence[actions.Action]
    ) -> dict[str, str]:
        """Turn-taking moved, and nothing was acted on yet. Returns what belongs into the session's state."""
        if after.reply != self._reply:
            self._reply = after.reply
            logs.note(session=self._sid, reply=after.reply, trace="")
        return {}

    def took(self, result: Result) -> None:
        """A worker said something."""

    def ordered(self, stage: str, reply: int) -> str:
        """A stage is asked for its part of a reply; the traceparent that goes with the task."""
        return ""

    def pick_up(self, carried: bytes | None) -> None:
        """An earlier connection had begun this trace."""

    def close(self, outcome: str) -> None:
        """The turn under way is over."""


class _Work:
    """One stage's part of a reply: from its submission to its last result, with the wait until somebody has it."""

    def __init__(self, turn: Span, stage: str, reply: int) -> None:
        self.reply = reply
        self.span = turn.child(WORK[stage], stage=stage, reply=reply)
        self._queued: Span | None = self.span.child(f"{stage}.queue", stage=stage)

    def claimed(self, worker: str, epoch: int) -> None:
        """Somebody has it, for the first time or again."""
        if self._queued is None:
            self.span.event("claimed_again", worker=worker, epoch=epoch)
            return
        self._queued.note(worker=worker, epoch=epoch)
        self._queued.end()
        self._queued = None

    def end(self, failed: str = "") -> None:
        """It is complete, called off, or given up."""
        if self._queued is not None:
            self._queued.end(failed=failed and "nobody took it")
        self.span.end(failed=failed)


class Traced(TurnTrace):
    """Makes the spans."""

    def __init__(self, sid: str, tracer: Tracer, clock: SessionClock) -> None:
        super().__init__(sid)
        self._tracer = tracer
        self._clock = clock
        self._root: Span | None = None
        self._ear: dict[str, Value] = {}
        """Who listens to the session."""
        self._voice_ended_s: float | None = None
        self._heard_s = 0.0
        """When the newest transcript came."""
        self._judged: dict[str, Value] = {}
        """What is known of the pause that the newest voice ended in."""
        self._work: dict[str, _Work] = {}
        self._first_audio_s: float | None = None
        self._playing: Span = NO_SPAN
        self._acts: dict[type, Callable[[Any], str | None]] = {
            actions.CloseUtterance: self._turn_ended,
            actions.TakeText: self._transcript,
            actions.StartReply: lambda a: self._open().note(reply=a.reply, ahead=False),
            actions.PrepareReply: lambda a: self._open().note(reply=a.reply, ahead=True),
            actions.ConfirmReply: lambda _: self._event("let_out"),
            actions.DropReply: self._dropped,
            actions.Mute: lambda _: self._event("barge_in.muted"),
            actions.Unmute: self._was_nothing,
            actions.UserSilent: self._was_nothing,
            actions.SkipVoice: self._was_nothing,
            actions.ForgetInput: self._was_nothing,
            actions.CancelReply: self._cancelled,
            actions.EndReply: lambda _: "heard",
        }
        """What is told of each action; what one returns is the outcome of the turn, if it ends with this."""

    # --- what the conversation tells

    def happened(
        self, after: Turn, happening: happenings.Happening, acts: Sequence[actions.Action]
    ) -> dict[str, str]:
        """As `TurnTrace.happened`."""
        super().happened(after, happening, acts)
        self._note_fact(happening)
        before, outcome = self._root, "nothing said"
        for action in acts:
            outcome = self._acts.get(type(action), _nothing)(action) or outcome
        if self._root is not None and not (after.replying or after.prepared or after.awaiting):
            late = isinstance(happening, happenings.TranscriptLate)
            self.close("failed" if late else outcome)
        if self._root is None or self._root is before:
            return {}
        logs.note(trace=trace_id(self._root.carried))
        return {keys.TRACE: self._root.carried}

    def took(self, result: Result) -> None:
        """As `TurnTrace.took`."""
        body = result.body
        if isinstance(body, Claimed) and result.stage == "stt":
            self._ear = {"worker": body.worker, "epoch": result.epoch}
            return
        work = self._work.get(result.stage)
        if work is None or work.reply != result.reply:
            return
        if isinstance(body, Speech):
            if self._first_audio_s is None:
                self._first_audio_s = shared_time.now_s()
        elif isinstance(body, Claimed):
            work.claimed(body.worker, result.epoch)
        elif isinstance(body, TextDone | SpeechDone):
            work.end()
        elif isinstance(body, Failed):
            work.span.event("failed", code=body.code)

    def ordered(self, stage: str, reply: int) -> str:
        """As `TurnTrace.ordered`. A stage that is asked once more goes on under the same span."""
        if self._root is None or stage not in WORK:
            return ""
        work = self._work.get(stage)
        if work is None or work.reply != reply:
            if work is not None:
                work.end()
            self._first_audio_s = None
            work = self._work[stage] = _Work(self._root, stage, reply)
        else:
            work.span.event("asked_again")
        return work.span.carried

    def pick_up(self, carried: bytes | None) -> None:
        """As `TurnTrace.pick_up`. The root is the earlier connection's; what is left of the turn hangs below it."""
        if carried:
            parent = carried.decode()
            self._root = self._tracer.span("turn.resumed", parent=parent, session=self._sid, stage="web")
            logs.note(trace=trace_id(parent))

    def close(self, outcome: str) -> None:
        """As `TurnTrace.close`."""
        root, self._root = self._root, None
        if root is None:
            return
        failed = outcome if outcome == "failed" else ""
        for work in self._work.values():
            work.end(failed)
        self._work.clear()
        self._playing.end()
        self._playing, self._first_audio_s = NO_SPAN, None
        root.note(outcome=outcome)
        root.end(failed=failed)

    # --- facts

    def _note_fact(self, happening: happenings.Happening) -> None:
        match happening:
            case VoiceEnded(at):
                self._voice_ended_s = shared_time.now_s() - self._since_s(at)
                self._judged = {}
            case Pause(at, ms, p_end):
                lag_s = self._since_s(at + ms * SAMPLE_RATE // 1000)
                self._judged = {"pause_ms": ms, "p_end": round(p_end, 3), "stt_lag_ms": round(lag_s * 1e3)}
            case Transcript():
                self._heard_s = shared_time.now_s()
            case happenings.CommitAsked() | happenings.ReplyAsked() if self._root is None:
                self._voice_ended_s, self._judged = None, {}
            case happenings.SoundBegan() if self._root is not None:
                now_s = shared_time.now_s()
                self._root.child("pacing", self._first_audio_s, stage="web").end(now_s)
                self._playing = self._root.child("playback", now_s, stage="web")

    def _since_s(self, at: int) -> float:
        """Seconds since session sample `at` came in."""
        return self._clock.seconds_since(at, time.monotonic())

    def _event(self, name: str, **about: Value) -> None:
        if self._root is not None:
            self._root.event(name, **about)

    def _open(self) -> Span:
        """The root of the turn that ends now; it may stand already."""
        if self._root is None:
            self._root = self._tracer.span("turn", self._voice_ended_s, session=self._sid, stage="web")
        return self._root

    def _turn_ended(self, _: object) -> None:
        """It was decided that the user's turn is over: what that waited for."""
        if self._playing is not NO_SPAN:  # a client ends an utterance while it listens to a reply
            return
        now_s = shared_time.now_s()
        self._voice_ended_s = self._voice_ended_s or now_s
        self._open().child("end_of_turn", self._voice_ended_s, stage="web", **self._judged).end(now_s)

    def _transcript(self, _: object) -> None:
        """The words of the turn are there; they may have come while it was still open."""
        if self._root is not None and self._voice_ended_s is not None:
            end_s = max(self._heard_s, self._voice_ended_s)
            self._root.child("transcript", self._voice_ended_s, stage="stt", **self._ear).end(end_s)
        self._voice_ended_s = None

    def _was_nothing(self, action: object) -> None:
        """The voice that ended last was none, or nobody was to answer it."""
        self._voice_ended_s = None
        if isinstance(action, actions.Unmute):
            self._event("barge_in.nothing")

    def _dropped(self, action: actions.DropReply) -> str:
        self._event("dropped", reply=action.reply)
        return "dropped"

    def _cancelled(self, action: actions.CancelReply) -> None:
        """At once: another turn may end with what comes next."""
        self._event("cancelled", reason=action.reason)
        self.close("interrupted" if action.reason == "turn_detected" else action.reason)


def _nothing(_: object) -> None:
    """Of other actions nothing is told."""


def follow(sid: str, tracer: Tracer, clock: SessionClock) -> TurnTrace:
    """Who follows a session's turns."""
    return Traced(sid, tracer, clock) if tracer.on else TurnTrace(sid)
