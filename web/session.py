"""A session: one greenlet that owns its state through a mailbox. Everything that decides is pure and lives elsewhere.

State is saved, fenced by this process's epoch, *before* it is acted on.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import gevent
from gevent.queue import Empty, Full, Queue

from config import metrics
from config import redis_keys as keys
from config.errors import (
    AntiphonError,
    ClientError,
    SessionTaken,
    StageFailed,
    StageWaiting,
)
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
    Order,
    Pause,
    Played,
    Result,
    Speech,
    SpeechDone,
    TextDone,
    Transcript,
    VoiceEnded,
    VoiceStarted,
    Words,
    encode,
)
from config.settings import SAMPLE_RATE
from tasks import streams, submit
from tasks.leases import Holder, Lease
from web import prompt, saved
from web.clock import SessionClock
from web.dialects.base import (
    AddText,
    AppendAudio,
    AudioOut,
    ClearInput,
    CommitInput,
    Configure,
    CreateReply,
    Dialect,
    HeardUpTo,
    ReplyOutcome,
    Request,
    StopReply,
)
from web.pacing import Playback
from web.packets import packets_samples
from web.reply import Reply
from web.runtime import Runtime
from web.socket import ClientSocket
from web.stage_watch import StageWatch
from web.turn import (
    Action,
    CancelAsked,
    CancelReply,
    ClearAsked,
    CloseUtterance,
    CommitAsked,
    EndReply,
    ForgetInput,
    Happening,
    Mute,
    Phase,
    ReplyAsked,
    ReplyFailed,
    ReplyHeard,
    Rules,
    SoundBegan,
    SpeechBegan,
    SpeechStopped,
    StartReply,
    TakeText,
    Tick,
    TranscriptLate,
    Turn,
    Unmute,
    advance,
    next_tick,
)

log = logging.getLogger(__name__)

#: Longest sleep of a session's greenlet: deadlines are looked at this often.
LOOK_S = 0.5

#: Warmer for the first message, steadier after: what Unmute found pleasant.
FIRST_TEMPERATURE, TEMPERATURE = 0.7, 0.3


class _Gap:
    """In the mailbox: a result may have been lost."""


@dataclass(frozen=True)
class _GivenUp:
    """In the mailbox: a stage cannot do its part of the reply."""

    stage: str


Mail = Request | Result | AntiphonError | _Gap | _GivenUp


class Session:
    """One conversation over one connection; a later connection makes a new object from the saved state."""

    def __init__(
        self, runtime: Runtime, socket: ClientSocket, dialect: Dialect, lease: Lease, token: str,
        before: saved.Saved | None,
    ) -> None:  # fmt: skip
        self.sid = lease.sid
        self.lease = lease
        self._run_of = runtime
        self._settings = runtime.settings
        self._socket = socket
        self._dialect = dialect
        self._token = token
        self._mailbox: Queue[Mail] = Queue(maxsize=runtime.settings.limits.mailbox_items)
        self._gap = False
        self._turn = before.turn if before else Turn()
        self._history = list(before.history) if before else []
        self._applied = dict(before.applied) if before else {}
        self._configured = before.configured if before else False
        self._resumed = before is not None
        self._sent_before = before.sent if before else 0
        self._clock = SessionClock(time.monotonic(), before.received if before else 0)
        self._rules = self._make_rules()
        self._reply: Reply | None = None
        self._watches: dict[str, StageWatch] = {}
        self._owners: dict[str, str] = {}
        self._awaiting_s: float | None = None
        self._turn_ended_s = 0.0
        self._reported_s = 0.0
        self._ended = False

    # --- life

    def run(self) -> None:
        """Serves the connection until it ends."""
        self._run_of.fanout.add(self.sid, self._take)
        self._run_of.watchdog.add(self)
        worker = gevent.spawn(self._serve)
        try:
            for raw in self._socket.messages():
                self._receive(raw)
        finally:
            self._ended = True
            self._run_of.watchdog.remove(self)
            self._run_of.fanout.remove(self.sid, self._take)
            worker.join(timeout=2.0)
            worker.kill()
            self._part()

    def _part(self) -> None:
        """A client that said goodbye ends the session; one that vanished may come back."""
        over = self._socket.close_code in (1000, 1001, 1005, 4000)
        rules = self._settings
        try:
            if over:
                self._save({keys.CLOSED: 1}, ttl_s=rules.ownership.resume_s)
                self._run_of.intake.add(self.sid, End())
                streams.forget_media(self._run_of.media, self.sid, int(rules.ownership.orphan_s) + 5)
            else:
                self._save({}, ttl_s=rules.ownership.resume_s)
                streams.forget_media(self._run_of.media, self.sid, rules.ownership.resume_s)
            self._run_of.leases.let_go(self.lease, done=False)
        except (streams.RedisError, SessionTaken):
            pass

    def _serve(self) -> None:
        try:
            self._send(self._dialect.greeting(resumed=self._resumed, token=self._token))
            if self._resumed:
                self._pick_up()
            while not self._ended:
                self._attend()
        except SessionTaken as error:
            self._socket.close(error.close_code or 1011, str(error))
        except streams.RedisError as error:
            log.warning("a session lost Redis: %s", type(error).__name__)
            self._socket.close(1012, "the server lost its memory for a moment; come back")
        except Exception:
            log.exception("a session failed")
            self._socket.close(1011, "internal error")

    def _attend(self) -> None:
        """One letter, or what time brings."""
        try:
            self._handle_mail(self._mailbox.get(timeout=self._patience_s()))
            while not self._mailbox.empty():
                self._handle_mail(self._mailbox.get_nowait())
        except Empty:
            pass
        if self._gap:
            self._gap = False
            self._catch_up()
        self._look_at_time()

    def _patience_s(self) -> float:
        now_s = time.monotonic()
        waits = [LOOK_S]
        tick = next_tick(self._turn, self._rules)
        if tick is not None:
            waits.append(self._clock.seconds_until(tick, now_s))
        if self._reply is not None and self._turn.replying and not self._reply.playback.muted:
            if self._reply.audio:
                waits.append(self._reply.playback.due_s(now_s))
            elif self._reply.all_sent:
                waits.append(self._reply.playback.left_s(now_s))
        return max(0.0, min(waits))

    # --- letters in

    def _receive(self, raw: str) -> None:
        """In the reader's greenlet: audio goes straight to the intake, all else to the mailbox."""
        try:
            for request in self._dialect.receive(raw):
                if isinstance(request, AppendAudio):
                    self._append(request)
                else:
                    self._mailbox.put(request, timeout=5.0)
        except (ClientError, Full) as error:
            told = (
                error
                if isinstance(error, ClientError)
                else ClientError("events come faster than they are served")
            )
            gevent.spawn(self._send, self._dialect.error(told))

    def _append(self, request: AppendAudio) -> None:
        pos = self._clock.receive(request.samples, time.monotonic())
        self._run_of.intake.add(self.sid, Audio(pos, request.packets, time.time()))

    def _take(self, result: Result) -> None:
        """In the fan-out's greenlet: a full mailbox marks a gap, which is read back."""
        try:
            self._mailbox.put_nowait(result)
        except Full:
            self._gap = True

    def _handle_mail(self, mail: Mail) -> None:
        if isinstance(mail, Result):
            self._receive_result(mail)
        elif isinstance(mail, _Gap):
            self._catch_up()
        elif isinstance(mail, _GivenUp):
            self._complain(StageFailed(f"the reply failed at {mail.stage}; please try again"))
            self._happen(ReplyFailed(self._turn.reply, self._clock.now(time.monotonic())))
        elif isinstance(mail, AntiphonError):
            self._complain(mail)
        else:
            self._grant(mail)

    # --- requests of the client

    def _grant(self, request: Request) -> None:
        now = self._clock.now(time.monotonic())
        match request:
            case Configure():
                self._configure()
            case CommitInput():
                self._commit_asked(now)
            case ClearInput():
                self._happen(ClearAsked(now))
            case AddText(role=role, text=text):
                self._history.append(ChatMessage(role, text))
                self._save({})
            case CreateReply(event_id=event_id):
                self._reply_asked(event_id)
            case StopReply(event_id=event_id):
                if self._turn.replying:
                    self._happen(CancelAsked())
                else:
                    error = ClientError("no response is active", code="response_cancel_not_active")
                    self._send(self._dialect.error(error, event_id))
            case HeardUpTo(samples=samples):
                if self._reply is not None:
                    self._reply.playback.report(samples)
                    self._happen(CancelAsked())

    def _commit_asked(self, now: int) -> None:
        if now <= self._turn.taken_to or self._turn.phase in (Phase.THINKING, Phase.SPEAKING):
            error = ClientError("there is no audio to commit", code="input_audio_buffer_commit_empty")
            self._send(self._dialect.error(error))
        else:
            self._happen(CommitAsked(self._clock.received))

    def _reply_asked(self, event_id: str | None) -> None:
        if self._turn.replying:
            error = ClientError(
                "a response is already active", code="conversation_already_has_active_response"
            )
            self._send(self._dialect.error(error, event_id))
        else:
            self._turn_ended_s = time.monotonic()
            self._happen(ReplyAsked())

    def _configure(self) -> None:
        first = not self._configured
        self._configured = True
        self._rules = self._make_rules()
        self._save(self._listen_field())
        self._send(self._dialect.configured())
        if first:
            self._listen()
            if self._dialect.speaks_first:
                self._turn_ended_s = time.monotonic()
                self._happen(ReplyAsked())

    def _listen_field(self) -> dict[str, Any]:
        wishes = self._dialect.wishes
        return {keys.LISTEN: encode(Listen(wishes.input_format, wishes.language))}

    def _listen(self) -> None:
        self._expect("stt", 0)
        submit.listen(self.sid)

    def _make_rules(self) -> Rules:
        wishes = self._dialect.wishes
        rules = replace(
            Rules.of(self._settings.turn),
            detection=wishes.detection,
            create_response=wishes.create_response,
            interrupt_response=wishes.interrupt_response,
            user_silence=int(wishes.user_silence_s * SAMPLE_RATE),
        )
        if wishes.pause_ms is None:
            return rules
        pause = wishes.pause_ms * SAMPLE_RATE // 1000
        if wishes.detection == "silence":
            return replace(rules, min_pause=pause)
        return replace(rules, longest_wait=pause)

    # --- results of the workers

    def _receive_result(self, result: Result) -> None:
        """Applies results in order and once each; a hole is read back from replay."""
        epoch, seq = self._applied.get(result.stage, (0, 0))
        if (result.epoch, result.seq) <= (epoch, seq):
            return
        follows = result.epoch == epoch and result.seq == seq + 1
        if follows or (result.seq == 1 and self._begins(result)):
            self._apply(result)
        else:
            self._catch_up_stage(result.stage, result.reply)

    def _begins(self, result: Result) -> bool:
        """The first result of an epoch that has no predecessor for the same work."""
        watch = self._watches.get(result.stage)
        return result.epoch == 1 or (watch is not None and watch.reply == result.reply and watch.fresh)

    def _catch_up(self) -> None:
        for stage in keys.STAGES:
            self._catch_up_stage(stage, 0 if stage == "stt" else self._turn.reply)

    def _catch_up_stage(self, stage: str, reply: int) -> None:
        metrics.gaps.labels(stage).inc()
        for result in streams.results_after(
            self._run_of.media, stage, self.sid, reply, *self._applied.get(stage, (0, 0))
        ):
            if (result.epoch, result.seq) > self._applied.get(stage, (0, 0)):
                self._apply(result)

    def _apply(self, result: Result) -> None:
        self._applied[result.stage] = (result.epoch, result.seq)
        body = result.body
        if isinstance(body, Claimed):
            self._owners[result.stage] = body.worker
        elif result.stage == "stt":
            self._hear(body)
        elif result.reply == self._turn.reply and self._reply is not None and self._turn.replying:
            self._reply_result(self._reply, result.stage, body)

    def _hear(self, body: object) -> None:
        match body:
            case Transcript():
                self._send(self._dialect.partial_text(body))
                self._happen(body)
            case VoiceStarted() | VoiceEnded() | Pause():
                self._happen(body)

    def _reply_result(self, reply: Reply, stage: str, body: object) -> None:
        now_s = time.monotonic()
        match body:
            case Words(said=said):
                fresh = reply.add_words(body, now_s)
                if fresh:
                    self._send(self._dialect.reply_words(reply.number, fresh))
                    metrics.word_lag.observe(max(0.0, time.time() - said))
            case TextDone():
                reply.text_done = body
                self._watches.pop("llm", None)
                if body.words == 0:
                    reply.samples = 0
            case Speech():
                reply.add_speech(body, now_s)
            case SpeechDone(samples=samples):
                reply.samples = samples
                self._watches.pop("tts", None)
            case Failed(code=code):
                log.warning("%s failed: %s", stage, code)
                self.give_up(stage)

    # --- time

    def _look_at_time(self) -> None:
        now_s = time.monotonic()
        tick = next_tick(self._turn, self._rules)
        at = self._clock.now(now_s)
        if tick is not None and at >= tick:
            self._happen(Tick(at))
        if self._turn.awaiting:
            self._await_transcript(now_s, at)
        else:
            self._awaiting_s = None
        if self._reply is not None and self._turn.replying:
            self._pump(self._reply, now_s)
        if self._reply is not None and self._turn.replying:
            self._check_deadlines(self._reply, now_s)
            self._report_played(self._reply, now_s)

    def _await_transcript(self, now_s: float, at: int) -> None:
        if self._awaiting_s is None:
            self._awaiting_s = now_s
        watch = self._watches.get("stt")
        if watch is not None and not watch.claimed:
            self._awaiting_s = now_s
        elif now_s - self._awaiting_s > self._settings.pacing.transcript_deadline_s:
            self._awaiting_s = None
            self._happen(TranscriptLate(at))
            self._complain(StageFailed("your words could not be understood in time; please say them again"))

    def _check_deadlines(self, reply: Reply, now_s: float) -> None:
        """A stage at work that gives nothing in time is asked again once, by somebody else; then the reply fails."""
        rules = self._settings.pacing
        for stage, began_s, got_s, limit_s in (
            ("llm", reply.asked_s, reply.first_word_s, rules.first_word_deadline_s),
            ("tts", reply.first_word_s, reply.first_audio_s, rules.first_audio_deadline_s),
        ):
            watch = self._watches.get(stage)
            if watch is None or began_s is None or got_s is not None or not watch.claimed:
                continue
            if now_s - max(began_s, watch.submitted_s) > limit_s:
                self._retry(stage, reply, watch)

    def _retry(self, stage: str, reply: Reply, watch: StageWatch) -> None:
        if watch.tries > 1:
            self.give_up(stage)
            return
        self._tell_worker(stage, Cancel(self.sid, reply.number))
        watch.submitted(time.monotonic())
        submit.again(stage, self.sid, reply.number)

    def _pump(self, reply: Reply, now_s: float) -> None:
        """Sends what is due; ends the reply when all of it was heard."""
        while not reply.playback.muted and reply.audio and reply.playback.due_s(now_s) <= 0:
            speech = reply.next_speech()
            if speech is not None:
                self._send_speech(reply, speech, now_s)
        if reply.all_sent and not reply.playback.muted and reply.playback.left_s(now_s) <= 0:
            self._happen(ReplyHeard(reply.number, self._clock.now(now_s)))

    def _send_speech(self, reply: Reply, speech: Speech, now_s: float) -> None:
        if self._turn.phase is Phase.THINKING:
            metrics.reply_wait.observe(now_s - reply.asked_s)
            self._happen(SoundBegan(reply.number))
        words = [(word, reply.words[word.index]) for word in speech.words if word.index < len(reply.words)]
        reply.playback.send(speech.samples, now_s)
        if not reply.text_only:
            self._send(
                self._dialect.reply_audio(AudioOut(reply.number, speech.packets, speech.samples, words))
            )

    def _report_played(self, reply: Reply, now_s: float) -> None:
        if reply.playback.started and now_s - self._reported_s > self._settings.pacing.report_played_s:
            self._reported_s = now_s
            self._tell_worker("tts", Played(self.sid, reply.number, reply.playback.heard(now_s)))
            self._save({})

    def _tell_worker(self, stage: str, what: Cancel | Played) -> None:
        if stage in self._owners:
            streams.command(self._run_of.media, self._owners[stage], what)

    # --- deciding and acting

    def _happen(self, happening: Happening) -> None:
        """The state moves, is saved, and only then is acted on."""
        turn, actions = advance(self._turn, happening, self._rules)
        changed = turn.phase is not self._turn.phase or bool(actions)
        self._turn = turn
        if not changed:
            return
        fields: dict[str, Any] = {}
        for action in actions:
            fields.update(self._before(action))
        self._save(fields)
        for action in actions:
            self._act(action)

    def _before(self, action: Action) -> dict[str, Any]:
        """What an action changes in the state to be saved."""
        match action:
            case TakeText(text=text):
                self._history.append(ChatMessage("user", text))
            case CancelReply() | EndReply():
                self._remember_reply(cancelled=isinstance(action, CancelReply))
            case StartReply(reply=number):
                return {keys.REPLY: number, keys.ORDER: encode(self._order(number))}
        return {}

    def _remember_reply(self, *, cancelled: bool) -> None:
        if self._reply is None:
            return
        heard = self._reply.heard_text(time.monotonic()) if cancelled else self._reply.text
        if heard:
            mark = prompt.INTERRUPTED if cancelled and heard != self._reply.text else ""
            self._history.append(ChatMessage("assistant", heard + mark))

    def _order(self, number: int) -> Order:
        wishes = self._dialect.wishes
        usual = FIRST_TEMPERATURE if number == 1 else TEMPERATURE
        return Order(
            number,
            prompt.messages(wishes.instructions, self._history),
            wishes.voice,
            wishes.output_format,
            usual if wishes.temperature is None else wishes.temperature,
            wishes.max_tokens,
            wishes.speed,
        )

    def _act(self, action: Action) -> None:
        match action:
            case SpeechBegan(at=at):
                self._send(self._dialect.speech_began(at))
            case SpeechStopped(at=at):
                self._turn_ended_s = time.monotonic()
                self._send(self._dialect.speech_stopped(at))
            case CloseUtterance(pos=pos):
                self._run_of.intake.add(self.sid, Commit(pos))
                self._send(self._dialect.committed())
            case TakeText(text=text):
                self._send(self._dialect.user_text(text))
            case ForgetInput(pos=pos):
                self._run_of.intake.add(self.sid, Clear(pos))
                self._send(self._dialect.cleared())
            case StartReply(reply=number):
                self._start(number)
            case CancelReply(reply=number, reason=reason):
                self._finish("failed" if reason == "failed" else "cancelled", reason)
                for stage in ("llm", "tts"):
                    self._tell_worker(stage, Cancel(self.sid, number))
            case EndReply():
                self._finish("completed", "")
            case Mute():
                if self._reply is not None:
                    self._reply.playback.mute(time.monotonic())
            case Unmute():
                if self._reply is not None:
                    self._reply.playback.unmute(time.monotonic())

    def _start(self, number: int) -> None:
        wishes = self._dialect.wishes
        self._reply = Reply(number, Playback(self._dialect.lead_ms), self._turn_ended_s, wishes.text_only)
        for stage in ("llm",) if wishes.text_only else ("llm", "tts"):
            self._owners.pop(stage, None)
            self._expect(stage, number)
            submit.again(stage, self.sid, number)
        self._send(self._dialect.reply_started(number, again=False))

    def _finish(self, status: Any, reason: str) -> None:
        reply, self._reply = self._reply, None
        self._watches.pop("llm", None)
        self._watches.pop("tts", None)
        metrics.turns.labels(status).inc()
        if reply is None:
            return
        now_s = time.monotonic()
        complete = status == "completed"
        self._send(
            self._dialect.reply_ended(
                ReplyOutcome(
                    number=reply.number,
                    status=status,
                    reason=reason,
                    text=reply.text if complete else reply.heard_text(now_s),
                    full_text=reply.text,
                    heard_samples=reply.playback.heard(now_s),
                    cut=not complete and reply.playback.sent > 0,
                    input_tokens=reply.text_done.input_tokens if reply.text_done else 0,
                    output_tokens=reply.text_done.output_tokens if reply.text_done else len(reply.words),
                    llm_first_token_ms=_ms_between(reply.asked_s, reply.first_word_s),
                    tts_first_audio_ms=_ms_between(reply.first_word_s, reply.first_audio_s),
                )
            )
        )
        streams.forget_text(self._run_of.media, self.sid, [reply.number])
        if "tts" in self._applied:
            streams.trim_results(self._run_of.media, "tts", self.sid, *self._applied["tts"])
        if "stt" in self._applied:
            streams.trim_results(self._run_of.media, "stt", self.sid, *self._applied["stt"])

    def _save(self, fields: dict[str, Any], ttl_s: int | None = None) -> None:
        """Raises SessionTaken when another web process owns the session."""
        state = saved.Saved(
            dialect=self._dialect.name,
            snapshot=self._dialect.snapshot(),
            turn=self._turn,
            history=self._history[-200:],
            applied=self._applied,
            received=self._clock.received,
            sent=self._reply.playback.sent if self._reply else 0,
            configured=self._configured,
        )
        everything = {**fields, keys.STATE: saved.encode(state)}
        if not self._run_of.leases.save(self.lease, ttl_s or self._settings.limits.session_ttl_s, everything):
            raise SessionTaken("this session goes on over another connection")

    def _pick_up(self) -> None:
        """A later connection: hear what happened meanwhile, and go on with the reply where it was."""
        newest = streams.newest_input(self._run_of.media, self.sid)
        if isinstance(newest, Audio):
            end = newest.pos + packets_samples(newest.packets, self._dialect.wishes.input_format)
            self._clock.received = max(self._clock.received, end)
        if self._configured:
            self._expect("stt", 0)
        if self._turn.replying:
            self._pick_up_reply()
        self._catch_up()

    def _pick_up_reply(self) -> None:
        wishes = self._dialect.wishes
        number = self._turn.reply
        playback = Playback(self._dialect.lead_ms, sent=self._sent_before)
        self._reply = Reply(number, playback, time.monotonic(), wishes.text_only)
        self._send(self._dialect.reply_started(number, again=True))
        for stage in ("llm",) if wishes.text_only else ("llm", "tts"):
            self._expect(stage, number)
        self._applied.pop("llm", None)
        self._forget_applied_speech(number)

    def _forget_applied_speech(self, number: int) -> None:
        """Audio that was applied but not sent is taken from replay again."""
        for result in streams.results_after(self._run_of.media, "tts", self.sid, number, 0, 0):
            if result.reply == number:
                self._applied["tts"] = (result.epoch, result.seq - 1)
                return

    # --- what the watchdog asks

    def _expect(self, stage: str, reply: int) -> None:
        now_s = time.monotonic()
        self._watches[stage] = StageWatch(
            stage, reply, now_s, now_s, fresh=not (self._resumed or stage == "stt")
        )

    def watches(self) -> Iterable[StageWatch]:
        """What is expected now."""
        return list(self._watches.values())

    def saw(self, holder: Holder, stage: str) -> None:
        """A lease that is ahead of what was applied means that a message was lost, or is still on its way."""
        self._owners[stage] = holder.owner
        epoch, seq = self._applied.get(stage, (0, 0))
        if (holder.epoch, holder.last_seq) > (epoch, seq) and holder.last_seq:
            self._post(_Gap())

    def may_have_missed(self) -> None:
        """The owner of a stage is gone; what it said last may not have arrived."""
        self._post(_Gap())

    def waits_for(self, stage: str) -> None:
        """The client is told; the turn is kept."""
        names = {"stt": "speech recognition", "llm": "the language model", "tts": "the voice"}
        self._post(StageWaiting(f"{names[stage]} is being restarted or is full; your turn is kept"))

    def give_up(self, stage: str) -> None:
        """The reply cannot be made."""
        self._watches.pop(stage, None)
        self._post(_GivenUp(stage))

    def taken_over(self) -> None:
        """Another web process owns the session."""
        self._socket.close(1012, "this session goes on over another connection")

    def hand_over(self) -> None:
        """This process ends: the client shall come back, to another."""
        self._socket.close(1012, "the server restarts; reconnect to go on")

    def _post(self, mail: Mail) -> None:
        try:
            self._mailbox.put_nowait(mail)
        except Full:
            self._gap = True

    def _complain(self, error: AntiphonError) -> None:
        metrics.errors.labels(error.code).inc()
        self._send(self._dialect.error(error))

    def _send(self, messages: Iterable[str]) -> None:
        for message in messages:
            self._socket.send(message)


def _ms_between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else round((end_s - begin_s) * 1000, 1)
