"""The work on replies: who is asked for it, how it is called off, and what of it goes out."""

import time
from typing import Literal

from config import metrics, unmute_metrics
from config.messages import Cancel, Played
from tasks import queues, streams
from web import actions
from web.history import MAKERS
from web.inbox import Inbox
from web.replier import Replier
from web.reply import Reply
from web.reply_options import ReplyOptions
from web.stages import Stages

#: Audio that is late by more counts against the voice: a hole so short is hardly heard.
LATE_S = 0.1


def stages_of(options: ReplyOptions) -> tuple[str, ...]:
    """Which stages a reply needs."""
    return ("llm",) if options.wishes.text_only else MAKERS


class ReplyWork:
    """Does what turn-taking decided about replies; the state was saved before."""

    def __init__(
        self, sid: str, media: streams.Client, stages: Stages, replier: Replier, report_played_s: float
    ) -> None:
        self._sid = sid
        self._media = media
        self._stages = stages
        self._replier = replier
        self._report_played_s = report_played_s
        self._reported_s = 0.0

    def start(self, number: int, asked_s: float, options: ReplyOptions, dropped: int) -> None:
        """It is made, and the client knows. dropped: messages that its prompt had no room for."""
        self._submit(number, options)
        self._replier.start(number, asked_s, options, dropped=dropped)

    def prepare(self, number: int, options: ReplyOptions, dropped: int) -> None:
        """It is made ahead, and the client does not know."""
        self._submit(number, options)
        self._replier.prepare(number, time.monotonic(), options, dropped=dropped)

    def pick_up(
        self, number: int, options: ReplyOptions, inbox: Inbox, *, sent_before: int, muted: bool
    ) -> None:
        """A later connection goes on with it where it was. sent_before: samples that the earlier one sent."""
        self._replier.start(number, time.monotonic(), options, sent_before=sent_before, again=True)
        if muted:
            self.mute()
        for stage in stages_of(options):
            self._stages.expect(stage, number, fresh=False)
            inbox.read_again(stage, number)

    def confirm(self, asked_s: float) -> None:
        """What was made ahead is let out."""
        metrics.preempted.labels("used").inc()
        self._replier.confirm(asked_s)

    def drop(self, number: int) -> None:
        """What was made ahead was for nothing."""
        metrics.preempted.labels("wasted").inc()
        self._replier.drop()
        self._call_off(number)
        streams.forget_text(self._media, self._sid, [number])

    def cancel(self, cancelled: actions.CancelReply, inbox: Inbox, voiced_s: float) -> None:
        """It is stopped everywhere. voiced_s: since the onset of the newest voice."""
        if cancelled.reason == "turn_detected":
            metrics.interruptions.labels("true").inc()
            self._note_interruption(voiced_s)
        self._call_off(cancelled.reply)
        reason = cancelled.reason
        status: Literal["failed", "cancelled"] = "failed" if reason == "failed" else "cancelled"
        self._forget(self._replier.end(status, reason, time.monotonic()), inbox)

    def complete(self, inbox: Inbox) -> None:
        """It was heard to its end."""
        for stage in MAKERS:
            self._stages.completed(stage)
        self._forget(self._replier.end("completed", "", time.monotonic()), inbox)

    def mute(self, voiced_s: float | None = None) -> None:
        """Its sound is held back, because of a voice that began so long ago; None: it was before."""
        now_s = time.monotonic()
        self._replier.mute(now_s)
        reply = self._replier.reply
        if voiced_s is not None and reply is not None and reply.playback.started:
            metrics.barge_in_mute.observe(voiced_s + reply.playback.left_s(now_s))

    def unmute(self) -> None:
        """Its sound goes on."""
        metrics.interruptions.labels("false").inc()
        self._replier.unmute(time.monotonic())

    def _note_interruption(self, voiced_s: float) -> None:
        """Of a reply that sounds; whose client drops what it has in hand now, if it was not muted before."""
        reply = self._replier.reply
        if reply is not None and reply.playback.started:
            unmute_metrics.tts_interrupt.inc()
            if not reply.playback.muted:
                metrics.barge_in_mute.observe(voiced_s)

    def report_played(self, now_s: float) -> bool:
        """Tells the voice how far it was heard, now and then; whether it did."""
        reply = self._replier.reply
        if reply is None or not reply.playback.started or now_s - self._reported_s < self._report_played_s:
            return False
        self._reported_s = now_s
        self._stages.tell("tts", Played(self._sid, reply.number, reply.playback.heard(now_s)))
        return True

    def _submit(self, number: int, options: ReplyOptions) -> None:
        for stage in stages_of(options):
            self._stages.order(stage, number)

    def _call_off(self, number: int) -> None:
        for stage in MAKERS:
            self._stages.tell(stage, Cancel(self._sid, number))
            self._stages.completed(stage)

    def _forget(self, reply: Reply | None, inbox: Inbox) -> None:
        if reply is None:
            return
        streams.forget_text(self._media, self._sid, [reply.number])
        if reply.playback.late_s > LATE_S:
            queues.note_late_reply(self._media, self._sid, reply.number)
        for stage in ("stt", "tts"):
            if stage in inbox.taken:
                streams.trim_results(self._media, stage, self._sid, *inbox.taken[stage])
