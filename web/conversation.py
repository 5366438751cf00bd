"""A conversation: the state of one session, what changes it, and what follows. Owned by one greenlet.

What decides is pure and lives elsewhere (`turn`, `inbox`, `replier`). State is saved, fenced by this process's epoch,
*before* it is acted on.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from config import messages, metrics
from config import redis_keys as keys
from config.errors import AntiphonError, ClientError, StageFailed
from tasks import streams, submit
from tasks.leases import Lease
from web import actions, happenings, moments, requests, saved, ticks, turn
from web.asked_replies import AskedReplies
from web.dialects import base
from web.dictation import Dictations
from web.history import History, Scene
from web.inbox import Inbox
from web.item_desk import ItemDesk
from web.listening import Listening
from web.mailbox import Gap, GivenUp, Mail
from web.memory import Memory
from web.read_ahead import ReadAhead
from web.recorder import recorder_of
from web.replier import Replier
from web.reply_desk import ReplyDesk
from web.reply_options import ReplyOptions
from web.reply_work import ReplyWork
from web.rules import Rules
from web.runtime import Runtime
from web.signs import read_signs
from web.stage_watch import StageWatch
from web.stages import STAGE_NAMES, Stages, failure
from web.turn_state import Phase, Turn
from web.turn_times import TurnTimes
from web.turn_trace import follow
from web.user_input import UserInput
from web.user_work import UserWork

log = logging.getLogger(__name__)

#: Longest sleep of a conversation: deadlines are looked at this often.
LOOK_S = 0.5


class Conversation:
    """Handles letters, looks at the clock, saves and acts."""

    _reply_heard_at = 0
    """Session sample at which the newest reply that was heard to its end was over."""

    def __init__(
        self,
        runtime: Runtime,
        lease: Lease,
        dialect: base.Dialect,
        send: Callable[[Iterable[str]], bool],
        before: saved.Saved | None,
        hang_up: Callable[[], None],
        dictations: Dictations,
    ) -> None:
        self.sid = lease.sid
        self.stages = Stages(self.sid, runtime.tell)
        self.memory = Memory(runtime, lease)
        self.inbox = Inbox(self.memory.results, dict(before.applied) if before else {})
        self._recorder = recorder_of(runtime, self.sid, went_on=before is not None)
        self.input = UserInput(
            self.sid, runtime.intake, runtime.settings.limits.audio_keep_s, before.received if before else 0
        )
        self.input.hear_too = self._recorder.hear
        self._trace = follow(self.sid, runtime.tracer, self.input.clock)
        self.stages.traced = self._trace.ordered
        self._runtime = runtime
        self._dialect = dialect
        self._send = send
        self._before = before
        self._dictations = dictations
        self._turn = before.turn if before else Turn()
        self._rules = self._wished_rules()
        self._history = History.of(before, runtime.settings, self.input.clock)
        self._ahead = ReadAhead(lambda: submit.prefill(self.sid))
        self._listening = Listening(self.input, self.stages, on=before.listening if before else False)
        self.replier = Replier(dialect, send, runtime.settings.pacing)
        dialect.attend(lambda: read_signs(self._turn, self.stages, self.replier.reply, self.input))
        self._work = ReplyWork(
            self.sid, runtime.media, self.stages, self.replier, runtime.settings.pacing.report_played_s
        )
        self._times = TurnTimes(runtime.settings.pacing.transcript_deadline_s)
        self._asked = AskedReplies(before.options if before and not before.turn.replying else None)
        self._desk = ItemDesk(
            self._history, dialect, send, self._items_changed, lambda: self.replier.item, dictations
        )
        self._replies = ReplyDesk(
            self._asked, self._history, self._times, lambda: self._turn, self._happen, self._drop_prepared,
            dictations, self._complain,
        )  # fmt: skip
        self._user_work = UserWork(
            dialect, send, self.input, self._times, lambda: self._ahead.ask(self._history.drafted)
        )
        self._requests: dict[type, Callable[[Any], object]] = {
            **dict.fromkeys((base.CommitInput, base.ClearInput, base.StopReply), self._turn_asked),
            **self._desk.requests,
            base.Configure: self._configure,
            base.CreateReply: self._replies.ask,
            base.HeardUpTo: self._heard_up_to,
            base.Look: lambda _: self._send(dialect.looked()),
        }
        self._acts: dict[type, Callable[[Any], object]] = {
            **self._user_work.acts,
            actions.StartReply: lambda a: self._work.start(
                a.reply, self._times.ended_s, self._asked.begin(self._usual), self._history.dropped
            ),
            actions.PrepareReply: lambda a: self._work.prepare(a.reply, self._usual, self._history.dropped),
            actions.ConfirmReply: lambda a: self._work.confirm(self._times.ended_s),
            actions.DropReply: lambda a: self._work.drop(a.reply),
            actions.CancelReply: lambda a: self._work.cancel(
                a, self.inbox, self.input.ago_s(self._turn.voice_from)
            ),
            actions.EndReply: self._reply_heard,
            actions.HangUp: lambda a: hang_up(),
            actions.Mute: lambda a: self._work.mute(self.input.ago_s(self._turn.voice_from)),
            actions.Unmute: lambda a: self._work.unmute(),
        }

    def begin(self) -> None:
        """The connection is new: a client that need not say who shall speak is listened to at once."""
        if not self._dialect.speaks_first:
            self._recorder.consent(self._dialect.wishes)
            self._prepare()
            self._listening.begin()

    def end(self) -> None:
        """The connection is over."""
        self._dictations.close()
        self._recorder.close(self._dialect.wishes)
        self._trace.close("connection ended")
        self.stages.end()

    def patience_s(self) -> float:
        """Seconds until time brings something."""
        now_s = time.monotonic()
        tick = ticks.next_tick(self._turn, self._rules)
        tick_s = None if tick is None else self.input.clock.seconds_until(tick, now_s)
        waits = (0.0 if self._dictations.ready else LOOK_S, tick_s, self.replier.patience_s(now_s))
        return max(0.0, min(wait for wait in waits if wait is not None))

    def handle(self, mail: Mail) -> None:
        """One letter."""
        if isinstance(mail, messages.Result):
            first = self.stages.first_owner(mail.stage, mail.reply)
            for result in self.inbox.accept(mail, first_owner=first):
                self._apply(result)
        elif isinstance(mail, Gap):
            self._catch_up()
        elif isinstance(mail, AntiphonError):
            self._complain(mail)
        elif isinstance(mail, GivenUp):
            self._given_up(mail.stage)
        else:
            self._serve(mail)

    # --- requests of the client

    def _serve(self, request: base.Request) -> None:
        try:
            self._requests[type(request)](request)
        except ClientError as error:
            self._complain(error, getattr(request, "event_id", None))

    def _configure(self, _: base.Configure) -> None:
        self._rules = self._wished_rules()
        self._recorder.consent(self._dialect.wishes)
        self._drop_prepared()
        self._prepare()
        self._send(self._dialect.configured())
        if not self._listening.on:
            self._listening.begin()
            self._times.reply_asked(time.monotonic())
            self._happen(happenings.ReplyAsked())

    def _prepare(self) -> None:
        """What the STT is to know; and the LLM reads the prompt before the first word is said."""
        wishes = self._dialect.wishes
        listen = self._listening.set_up(wishes)
        draft = self._history.draft(self._turn.reply + 1, wishes)
        self.save({keys.LISTEN: messages.encode(listen), **draft})
        if draft and not self._dialect.speaks_first:
            self._ahead.ask(self._history.drafted)

    def _wished_rules(self) -> Rules:
        return self._dialect.wishes.rules(
            self._runtime.settings.turn, prepare=self._runtime.settings.preempts
        )

    def _turn_asked(self, request: requests.TurnRequest) -> None:
        received, closed_to = self.input.clock.received, self._user_work.closed_to
        manual = self._rules.detection == "manual"
        self._happen(requests.happening(request, self._turn, received, closed_to, manual=manual))

    def _items_changed(self) -> None:
        self._drop_prepared()
        self.save({})

    def _heard_up_to(self, request: base.HeardUpTo) -> None:
        reply = self.replier.reply
        if reply is not None and self._turn.replying and reply.number == request.reply:
            reply.playback.report(request.samples)
            self._happen(happenings.CancelAsked(self.input.now))
        elif self._history.mend(request.reply, request.samples):
            self._items_changed()
        self._send(self._dialect.truncated(request))

    def _drop_prepared(self) -> None:
        """What was made ahead knows nothing of what has changed now."""
        if self._turn.prepared:
            self._happen(happenings.ReplyFailed(self._turn.prepared, self.input.now))

    # --- results of the workers

    def _catch_up(self) -> None:
        for stage in keys.STAGES:
            for result in self.inbox.catch_up(stage, 0 if stage == "stt" else self._turn.reply):
                self._apply(result)

    def _apply(self, result: messages.Result) -> None:
        body = result.body
        self._trace.took(result)
        if isinstance(body, messages.Claimed):
            self.stages.owned(result.stage, body.worker)
            if result.stage != "stt" and not self._wanted(result.reply):  # called off before it was claimed
                self.stages.tell(result.stage, messages.Cancel(self.sid, result.reply))
                streams.forget_text(self._runtime.media, self.sid, [result.reply])
        elif isinstance(body, messages.Transcript):
            self._understood(body)
        elif isinstance(body, messages.VoiceStarted | messages.VoiceEnded | messages.Pause):
            self._happen(body)
        elif not self._wanted(result.reply):
            log.debug("a result of %s came too late", result.stage)
        elif isinstance(body, messages.Failed) or self.replier.misses(body):
            log.warning("%s failed: %s", result.stage, getattr(body, "code", "words are missing"))
            self._given_up(result.stage, failure(body))
        else:
            completed = self.replier.take(body, time.monotonic())
            if completed is not None:
                self.stages.completed(completed)

    def _wanted(self, reply: int) -> bool:
        return reply == self._turn.reply and bool(self._turn.replying or self._turn.prepared)

    def _understood(self, heard: messages.Transcript) -> None:
        """What comes back of the assistant's own words is nobody's, and it comes late: when the reply may be over."""
        overlaps = self._rules.detection != "manual" and self._turn.voice_from < self._reply_heard_at
        if (self._turn.replying or overlaps) and self.replier.echoes(heard.text, time.monotonic()):
            heard = msgspec.structs.replace(heard, text="")
        self._send(self._dialect.partial_text(heard))
        self._happen(heard)

    def _given_up(self, stage: str, why: AntiphonError | None = None) -> None:
        self.stages.completed(stage)
        if self._turn.prepared:
            self._happen(happenings.ReplyFailed(self._turn.prepared, self.input.now))
            return
        self._complain(why or StageFailed(f"the reply failed at {STAGE_NAMES[stage]}; please try again"))
        self._happen(happenings.ReplyFailed(self._turn.reply, self.input.now))

    # --- time

    def look_at_time(self) -> None:
        """Ticks, deadlines, and audio that is due."""
        self._dictations.settle()
        now_s = time.monotonic()
        tick = ticks.next_tick(self._turn, self._rules)
        if tick is not None and self.input.now >= tick:
            self._happen(happenings.Tick(self.input.now))
        self._look_for_transcript(now_s)
        self._look_for_room()
        if not self._turn.replying and not self._turn.prepared:
            self._replies.look()
            return
        if self.replier.may_begin():
            self._times.sound_begins(now_s)
            self._happen(happenings.SoundBegan(self._turn.reply))
        self.replier.pump(now_s)
        if self.replier.heard_all(now_s):
            farewell = self.replier.farewell(self._runtime.settings.turn.goodbye_ending)
            self._happen(happenings.ReplyHeard(self._turn.reply, self.input.now, farewell))
            return
        late = self.replier.overdue(now_s, self.stages.watches())
        if late is not None:
            self._retry(late)
        if self._work.report_played(now_s):
            self.save({})

    def _look_for_room(self) -> None:
        """Replies are made ahead only while others would not miss the slots."""
        if self._rules.prepare and self._runtime.watchdog.spare != self._turn.room:
            self._happen(happenings.RoomChanged(self._runtime.watchdog.spare))

    def _look_for_transcript(self, now_s: float) -> None:
        """A turn that ended gets its transcript in time, or an error."""
        unheard = self.stages.unclaimed("stt")
        if self._times.transcript_late(now_s, self._turn.awaited, unheard=unheard):
            error = StageFailed("your words could not be understood in time; please say them again")
            self._complain(error, self._asked.give_up())
            self._user_work.not_understood(self._turn.awaited)
            self._happen(happenings.TranscriptLate(self.input.now, self.input.clock.received))

    def _retry(self, watch: StageWatch) -> None:
        """Once more, by whoever takes it; then the reply fails."""
        if watch.tries > 1 or (watch.stage == "llm" and self.replier.spoken):
            self._given_up(watch.stage)
        else:
            self.stages.order_again(watch)

    # --- deciding and acting

    def _happen(self, happening: happenings.Happening) -> None:
        """The state moves, is saved, and only then is acted on."""
        before = self._turn
        self._turn, actions = turn.advance(before, happening, self._rules)
        self._recorder.note(before, happening, self._rules, actions, self.input.now)
        fields: dict[str, Any] = self._trace.happened(self._turn, happening, actions)
        if not actions and self._turn.phase is before.phase:
            return
        closing, unread = self._user_work.items_of(actions)
        scene = Scene(
            self._dialect.wishes, self._asked.newest, self.replier.reply, self._turn.reply + 1,
            unread, moments.utterance(before, happening), closing,
        )  # fmt: skip
        for action in actions:
            fields |= self._history.remember(action, scene)
        self.save(fields)
        for action in actions:
            self._acts[type(action)](action)
        if closing or self._user_work.told_text(actions):  # a later connection must not tell that again
            self.save({})
        if (refused := self._history.refused) is not None:
            self._history.refused = None
            self._given_up("llm", refused)

    @property
    def _usual(self) -> ReplyOptions:
        """A reply as the session has it."""
        return ReplyOptions(self._dialect.wishes)

    def _reply_heard(self, _: actions.EndReply) -> None:
        self._reply_heard_at = self.input.now
        self._work.complete(self.inbox)
        self._ahead.ask(self._history.drafted)

    # --- state

    def save(self, fields: dict[str, Any], ttl_s: int | None = None) -> None:
        """Raises SessionTaken when another web process owns the session."""
        state = saved.Saved(
            dialect=self._dialect.name,
            snapshot=self._dialect.snapshot(),
            turn=self._turn,
            history=self._history.newest,
            applied=self.inbox.taken,
            received=self.input.clock.received,
            sent=self.replier.reply.playback.sent if self.replier.reply else 0,
            listening=self._listening.on,
            options=self.replier.reply.options if self.replier.reply else self._asked.newest,
            since_reply=self._history.since_reply,
            deleted=self._history.deleted,
        )
        self.memory.save(state, fields, ttl_s)

    def pick_up(self) -> None:
        """A later connection: hear what happened meanwhile, and go on with the reply where it was."""
        self._recorder.consent(self._dialect.wishes)
        self.memory.keep_said(self._turn.reply)
        newest = streams.newest_input(self._runtime.media, self.sid)
        self.input.go_on_after(newest, self._dialect.wishes.input_format)
        self._listening.pick_up()
        self._drop_prepared()
        if self._turn.phase is Phase.HEARING:
            self._send(self._dialect.speech_began(self._turn.voice_from, again=True))
        if self._turn.replying:
            number = self._turn.reply
            self._trace.pick_up(self._runtime.leases.read(self.sid, [keys.TRACE])[0])
            sent = self._before.sent if self._before else 0
            options = (self._before and self._before.options) or self._usual
            self._work.pick_up(number, options, self.inbox, sent_before=sent, muted=self._turn.muted)
        self._catch_up()
        if self._turn.awaiting:
            self.input.put(
                messages.Commit(self.input.clock.received)
            )  # the first may have died with its process

    def _complain(self, error: AntiphonError, event_id: str | None = None) -> None:
        metrics.errors.labels(error.wire_code if isinstance(error, ClientError) else error.code).inc()
        self._send(self._dialect.error(error, event_id))
