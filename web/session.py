"""A session: one greenlet that owns its state through a mailbox, over one connection.

What decides is pure and lives elsewhere (`turn`, `inbox`, `replier`). State is saved, fenced by this process's epoch,
*before* it is acted on. A later connection makes a new Session from what was saved.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent

from config import metrics
from config import redis_keys as keys
from config.errors import AntiphonError, ClientError, SessionTaken, StageFailed, StageWaiting
from config.messages import (
    Audio,
    Cancel,
    ChatMessage,
    Claimed,
    Clear,
    Commit,
    End,
    Failed,
    Listen,
    Pause,
    Played,
    Result,
    Transcript,
    VoiceEnded,
    VoiceStarted,
    encode,
)
from tasks import streams
from tasks.leases import Holder, Lease
from web import actions, happenings, prompt, saved, turn
from web.dialects import base
from web.inbox import Inbox
from web.mailbox import Gap, GivenUp, Mail, Mailbox
from web.packets import packets_samples
from web.replier import Replier
from web.runtime import Runtime
from web.socket import ClientSocket
from web.stage_watch import StageWatch
from web.stages import Stages
from web.turn import Phase
from web.user_input import UserInput

log = logging.getLogger(__name__)

#: Longest sleep of a session's greenlet: deadlines are looked at this often.
LOOK_S = 0.5

#: A reader that finds the mailbox full waits this long; then the client is told.
MAILBOX_WAIT_S = 5.0

#: Close codes by which a client says that it is done; with any other it may come back.
GOODBYES = (1000, 1001, 1005)

#: History kept in the saved state.
SAVED_MESSAGES = 200

STAGE_NAMES = {"stt": "speech recognition", "llm": "the language model", "tts": "the voice"}


class Session:
    """One conversation over one connection."""

    def __init__(
        self, runtime: Runtime, socket: ClientSocket, dialect: base.Dialect, lease: Lease, token: str,
        before: saved.Saved | None,
    ) -> None:  # fmt: skip
        self.sid = lease.sid
        self.lease = lease
        self._runtime = runtime
        self._settings = runtime.settings
        self._socket = socket
        self._dialect = dialect
        self._token = token
        self._before = before
        self._turn = before.turn if before else turn.Turn()
        self._history = list(before.history) if before else []
        self._configured = before.configured if before else False
        keep_s = runtime.settings.limits.audio_keep_s
        self._input = UserInput(self.sid, runtime.intake, keep_s, before.received if before else 0)
        self._inbox = Inbox(self._stored, dict(before.applied) if before else {})
        self._replier = Replier(dialect, self._send, runtime.settings.pacing)
        self._rules = dialect.wishes.rules(runtime.settings.turn)
        self._mailbox = Mailbox(runtime.settings.limits.mailbox_items)
        self._stages = Stages(self.sid, lambda worker, what: streams.command(runtime.media, worker, what))
        self._awaiting_s: float | None = None
        self._turn_ended_s = 0.0
        self._reported_s = 0.0
        self._ended = False

    # --- life

    def run(self) -> None:
        """Serves the connection until it ends."""
        self._runtime.fanout.add(self.sid, self._mailbox.post)
        self._runtime.watchdog.add(self)
        self._input.open()
        worker = gevent.spawn(self._serve)
        try:
            for raw in self._socket.messages():
                self._receive(raw)
        finally:
            self._ended = True
            self._runtime.watchdog.remove(self)
            self._input.close()
            self._runtime.fanout.remove(self.sid, self._mailbox.post)
            self._mailbox.post(Gap())
            worker.join(timeout=2.0)
            worker.kill()
            self._part()

    def _part(self) -> None:
        """A client that said goodbye ends the session; one that vanished may come back."""
        rules = self._settings.ownership
        media = self._runtime.media
        try:
            if self._socket.close_code in GOODBYES:
                self._save({keys.CLOSED: 1}, ttl_s=rules.resume_s)
                self._runtime.intake.add(self.sid, End())
                streams.forget_media(media, self.sid, int(rules.orphan_s) + 5)
            else:
                self._save({}, ttl_s=rules.resume_s)
                streams.forget_media(media, self.sid, rules.resume_s)
            self._runtime.leases.let_go(self.lease, done=False)
        except (streams.RedisError, SessionTaken):
            log.debug("a session parted without saving")

    def _serve(self) -> None:
        try:
            resumed = self._before is not None
            self._send(self._dialect.greeting(resumed=resumed, token=self._token))
            if resumed:
                self._pick_up()
            while not self._ended:
                self._attend()
        except SessionTaken as error:
            self._socket.close(error.close_code or 1011, str(error))
        except streams.RedisError as error:
            log.warning("a session lost Redis: %s", type(error).__name__)
            self._socket.close(1012, "the server lost its memory for a moment; reconnect to go on")
        except Exception:
            log.exception("a session failed")
            self._socket.close(1011, "internal error")

    def _attend(self) -> None:
        """The letters there are, and what time brings."""
        for mail in self._mailbox.take(self._patience_s()):
            self._handle(mail)
        self._look_at_time()

    def _patience_s(self) -> float:
        now_s = time.monotonic()
        waits = [LOOK_S]
        tick = turn.next_tick(self._turn, self._rules)
        if tick is not None:
            waits.append(self._input.clock.seconds_until(tick, now_s))
        due_s = self._replier.patience_s(now_s)
        if due_s is not None:
            waits.append(due_s)
        return max(0.0, min(waits))

    # --- letters in

    def _receive(self, raw: str) -> None:
        """In the reader's greenlet: audio goes straight to the intake, all else to the mailbox."""
        try:
            for request in self._dialect.receive(raw):
                if isinstance(request, base.AppendAudio):
                    self._input.hear(request.packets, request.samples)
                elif not self._mailbox.put(request, MAILBOX_WAIT_S):
                    self._socket.close(1008, "events come faster than they can be served")
        except ClientError as error:
            self._mailbox.post(error)

    def _handle(self, mail: Mail) -> None:
        if isinstance(mail, Result):
            first = self._stages.first_owner(mail.stage, mail.reply)
            for result in self._inbox.accept(mail, first_owner=first):
                self._apply(result)
        elif isinstance(mail, Gap):
            self._catch_up()
        elif isinstance(mail, AntiphonError):
            self._complain(mail)
        elif isinstance(mail, GivenUp):
            self._complain(StageFailed(f"the reply failed at {STAGE_NAMES[mail.stage]}; please try again"))
            self._happen(happenings.ReplyFailed(self._turn.reply, self._input.now))
        else:
            self._grant(mail)

    # --- requests of the client

    def _grant(self, request: base.Request) -> None:
        match request:
            case base.Configure():
                self._configure()
            case base.CommitInput():
                self._commit_asked()
            case base.ClearInput():
                self._happen(happenings.ClearAsked(self._input.clock.received))
            case base.AddText():
                self._history.append(ChatMessage(request.role, request.text))
                self._save({})
                self._send(self._dialect.typed(request))
            case base.CreateReply(event_id=event_id):
                self._reply_asked(event_id)
            case base.StopReply(event_id=event_id):
                self._stop_asked(event_id)
            case base.HeardUpTo(samples=samples):
                if self._replier.reply is not None:
                    self._replier.reply.playback.report(samples)
                    self._happen(happenings.CancelAsked())

    def _configure(self) -> None:
        first, self._configured = not self._configured, True
        wishes = self._dialect.wishes
        self._rules = wishes.rules(self._settings.turn)
        self._save({keys.LISTEN: encode(Listen(wishes.input_format, wishes.language))})
        self._send(self._dialect.configured())
        if first:
            self._stages.order("stt", 0)
            if self._dialect.speaks_first:
                self._turn_ended_s = time.monotonic()
                self._happen(happenings.ReplyAsked())

    def _commit_asked(self) -> None:
        at = self._input.clock.received
        if at <= self._turn.taken_to or self._turn.phase in (Phase.THINKING, Phase.SPEAKING):
            raise_as = ClientError("there is no audio to commit", code="input_audio_buffer_commit_empty")
            self._complain(raise_as)
        else:
            self._happen(happenings.CommitAsked(at))

    def _reply_asked(self, event_id: str | None) -> None:
        if self._turn.replying:
            code = "conversation_already_has_active_response"
            self._complain(ClientError("a response is already active", code=code), event_id)
        else:
            self._turn_ended_s = time.monotonic()
            self._happen(happenings.ReplyAsked())

    def _stop_asked(self, event_id: str | None) -> None:
        if self._turn.replying:
            self._happen(happenings.CancelAsked())
        else:
            self._complain(ClientError("no response is active", code="response_cancel_not_active"), event_id)

    # --- results of the workers

    def _stored(self, stage: str, reply: int, epoch: int, seq: int) -> list[Result]:
        return streams.results_after(self._runtime.media, stage, self.sid, reply, epoch, seq)

    def _catch_up(self) -> None:
        for stage in keys.STAGES:
            for result in self._inbox.catch_up(stage, 0 if stage == "stt" else self._turn.reply):
                self._apply(result)

    def _apply(self, result: Result) -> None:
        body = result.body
        if isinstance(body, Claimed):
            self._stages.owned(result.stage, body.worker)
        elif isinstance(body, Failed):
            log.warning("%s failed: %s", result.stage, body.code)
            self.give_up(result.stage)
        elif isinstance(body, Transcript):
            self._send(self._dialect.partial_text(body))
            self._happen(body)
        elif isinstance(body, VoiceStarted | VoiceEnded | Pause):
            self._happen(body)
        elif result.reply == self._turn.reply and self._turn.replying:
            completed = self._replier.take(body, time.monotonic())
            if completed is not None:
                self._stages.completed(completed)

    # --- time

    def _look_at_time(self) -> None:
        now_s = time.monotonic()
        tick = turn.next_tick(self._turn, self._rules)
        if tick is not None and self._input.now >= tick:
            self._happen(happenings.Tick(self._input.now))
        self._await_transcript(now_s)
        if not self._turn.replying:
            return
        if self._replier.may_begin():
            self._happen(happenings.SoundBegan(self._turn.reply))
        self._replier.pump(now_s)
        if self._replier.heard_all(now_s):
            self._happen(happenings.ReplyHeard(self._turn.reply, self._input.now))
            return
        late = self._replier.overdue(now_s, self._stages.watches())
        if late is not None:
            self._retry(late)
        self._report_played(now_s)

    def _await_transcript(self, now_s: float) -> None:
        """A turn that ended gets its transcript in time, or an error; while nobody listens, the clock stands."""
        if not self._turn.awaiting:
            self._awaiting_s = None
        elif self._awaiting_s is None or self._stages.unclaimed("stt"):
            self._awaiting_s = now_s
        elif now_s - self._awaiting_s > self._settings.pacing.transcript_deadline_s:
            self._complain(StageFailed("your words could not be understood in time; please say them again"))
            self._happen(happenings.TranscriptLate(self._input.now))

    def _retry(self, watch: StageWatch) -> None:
        """Once more, by whoever takes it; then the reply fails."""
        if watch.tries > 1:
            self.give_up(watch.stage)
        else:
            self._stages.order_again(watch)

    def _report_played(self, now_s: float) -> None:
        reply = self._replier.reply
        if reply is None or not reply.playback.started:
            return
        if now_s - self._reported_s >= self._settings.pacing.report_played_s:
            self._reported_s = now_s
            self._stages.tell("tts", Played(self.sid, reply.number, reply.playback.heard(now_s)))
            self._save({})

    # --- deciding and acting

    def _happen(self, happening: happenings.Happening) -> None:
        """The state moves, is saved, and only then is acted on."""
        before = self._turn
        self._turn, actions = turn.advance(before, happening, self._rules)
        if not actions and self._turn.phase is before.phase:
            return
        fields: dict[str, Any] = {}
        for action in actions:
            fields.update(self._remember(action))
        self._save(fields)
        for action in actions:
            self._act(action)

    def _remember(self, action: actions.Action) -> dict[str, Any]:
        """What an action changes in the state to be saved."""
        match action:
            case actions.TakeText(text=text):
                self._history.append(ChatMessage("user", text))
            case actions.CancelReply() | actions.EndReply() if self._replier.reply is not None:
                heard, whole = self._replier.reply.heard_text(time.monotonic()), self._replier.reply.text
                text = whole if isinstance(action, actions.EndReply) else heard
                mark = "" if text == whole else prompt.INTERRUPTED
                if text:
                    self._history.append(ChatMessage("assistant", text + mark))
            case actions.StartReply(reply=number):
                order = prompt.order(number, self._dialect.wishes, self._history)
                return {keys.REPLY: number, keys.ORDER: encode(order)}
        return {}

    def _act(self, action: actions.Action) -> None:
        """What each action does, by its kind."""
        acts: dict[type, Callable[[Any], None]] = {
            actions.SpeechBegan: lambda a: self._send(self._dialect.speech_began(a.at)),
            actions.SpeechStopped: self._speech_stopped,
            actions.CloseUtterance: self._close_utterance,
            actions.TakeText: lambda a: self._send(self._dialect.user_text(a.text)),
            actions.ForgetInput: self._forget_input,
            actions.StartReply: self._start_reply,
            actions.CancelReply: self._cancel_reply,
            actions.EndReply: lambda a: self._end_reply("completed", ""),
            actions.Mute: self._mute,
            actions.Unmute: self._mute,
        }
        acts[type(action)](action)

    def _speech_stopped(self, action: actions.SpeechStopped) -> None:
        self._turn_ended_s = time.monotonic()
        self._send(self._dialect.speech_stopped(action.at))

    def _close_utterance(self, action: actions.CloseUtterance) -> None:
        self._input.put(Commit(action.pos))
        self._send(self._dialect.committed())

    def _forget_input(self, action: actions.ForgetInput) -> None:
        self._input.put(Clear(action.pos))
        self._send(self._dialect.cleared())

    def _start_reply(self, action: actions.StartReply) -> None:
        for stage in self._replier.stages:
            self._stages.order(stage, action.reply)
        self._replier.start(action.reply, self._turn_ended_s)

    def _cancel_reply(self, action: actions.CancelReply) -> None:
        self._end_reply("failed" if action.reason == "failed" else "cancelled", action.reason)
        for stage in ("llm", "tts"):
            self._stages.tell(stage, Cancel(self.sid, action.reply))

    def _end_reply(self, status: Any, reason: str) -> None:
        for stage in ("llm", "tts"):
            self._stages.completed(stage)
        reply = self._replier.end(status, reason, time.monotonic())
        if reply is not None:
            streams.forget_text(self._runtime.media, self.sid, [reply.number])
            for stage in ("stt", "tts"):
                if stage in self._inbox.taken:
                    streams.trim_results(self._runtime.media, stage, self.sid, *self._inbox.taken[stage])

    def _mute(self, action: actions.Mute | actions.Unmute) -> None:
        if self._replier.reply is None:
            return
        playback = self._replier.reply.playback
        if isinstance(action, actions.Mute):
            playback.mute(time.monotonic())
        else:
            playback.unmute(time.monotonic())

    # --- state

    def _save(self, fields: dict[str, Any], ttl_s: int | None = None) -> None:
        """Raises SessionTaken when another web process owns the session."""
        state = saved.Saved(
            dialect=self._dialect.name,
            snapshot=self._dialect.snapshot(),
            turn=self._turn,
            history=self._history[-SAVED_MESSAGES:],
            applied=self._inbox.taken,
            received=self._input.clock.received,
            sent=self._replier.reply.playback.sent if self._replier.reply else 0,
            configured=self._configured,
        )
        everything = {**fields, keys.STATE: saved.encode(state)}
        if not self._runtime.leases.save(
            self.lease, ttl_s or self._settings.limits.session_ttl_s, everything
        ):
            raise SessionTaken("this session goes on over another connection")

    def _pick_up(self) -> None:
        """A later connection: hear what happened meanwhile, and go on with the reply where it was."""
        newest = streams.newest_input(self._runtime.media, self.sid)
        if isinstance(newest, Audio):
            end = newest.pos + packets_samples(newest.packets, self._dialect.wishes.input_format)
            self._input.clock.received = max(self._input.clock.received, end)
        if self._configured:
            self._stages.expect("stt", 0, fresh=False)
        if self._turn.replying:
            number = self._turn.reply
            sent = self._before.sent if self._before else 0
            self._replier.start(number, time.monotonic(), sent_before=sent, again=True)
            for stage in self._replier.stages:
                self._stages.expect(stage, number, fresh=False)
                self._inbox.read_again(stage, number)
        self._catch_up()

    # --- what the watchdog asks

    def watches(self) -> Iterable[StageWatch]:
        """What is expected now."""
        return self._stages.watches()

    def saw(self, holder: Holder, stage: str) -> None:
        """Somebody works on it; a lease that is ahead of what was taken means that a message was lost."""
        self._stages.owned(stage, holder.owner)
        if self._inbox.behind(stage, holder.epoch, holder.last_seq):
            self._mailbox.post(Gap())

    def may_have_missed(self) -> None:
        """The owner of a stage is gone; what it said last may not have arrived."""
        self._mailbox.post(Gap())

    def waits_for(self, stage: str) -> None:
        """The client is told; the turn is kept."""
        self._mailbox.post(
            StageWaiting(f"{STAGE_NAMES[stage]} is being restarted or is full; your turn is kept")
        )

    def give_up(self, stage: str) -> None:
        """The reply cannot be made."""
        self._stages.completed(stage)
        self._mailbox.post(GivenUp(stage))

    def taken_over(self) -> None:
        """Another web process owns the session."""
        self._socket.close(1012, "this session goes on over another connection")

    def hand_over(self) -> None:
        """This process ends: the client shall come back, to another."""
        self._socket.close(1012, "the server restarts; reconnect to go on")

    # --- letters out

    def _complain(self, error: AntiphonError, event_id: str | None = None) -> None:
        metrics.errors.labels(error.wire_code if isinstance(error, ClientError) else error.code).inc()
        self._send(self._dialect.error(error, event_id))

    def _send(self, messages: Iterable[str]) -> None:
        for message in messages:
            self._socket.send(message)
