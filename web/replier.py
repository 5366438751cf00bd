"""The reply under way: what goes to the client and when, and which stage is overdue. Wall time is handed in."""

from collections.abc import Callable, Iterable
from typing import Literal

from config import metrics
from config.messages import Called, Consulted, Consulting, Speech, SpeechDone, TextDone, Words
from config.settings import SAMPLE_RATE
from config.tuning import PacingSettings
from tasks.shared_time import shared_time
from web.backchannel import is_echo
from web.dialects.base import AudioOut, Dialect, ReplyOutcome
from web.fade import faded_in
from web.pacing import Playback
from web.reply import Reply
from web.reply_options import ReplyOptions
from web.stage_watch import StageWatch

Send = Callable[[Iterable[str]], bool]


class Replier:
    """At most one reply at a time. It decides nothing: the session does, from what this says is due."""

    def __init__(self, dialect: Dialect, send: Send, rules: PacingSettings) -> None:
        self._dialect = dialect
        self._gone = False
        """Audio did not leave: there is no client any more, and nothing is heard."""
        self._send = send
        self._rules = rules
        self.reply: Reply | None = None
        self._said_last: list[str] = []
        """Words of the reply before this one, as far as they sounded."""

    def start(
        self, number: int, asked_s: float, options: ReplyOptions,
        *, sent_before: int = 0, again: bool = False, dropped: int = 0,
    ) -> None:  # fmt: skip
        """Reply `number` begins; `again`: an earlier connection has sent some of it."""
        self.prepare(number, asked_s, options, sent_before=sent_before, dropped=dropped)
        self.confirm(asked_s, again=again)

    def prepare(
        self, number: int, asked_s: float, options: ReplyOptions, *, sent_before: int = 0, dropped: int = 0
    ) -> None:
        """Reply `number` is made, and nobody is told. dropped: messages that its prompt had no room for."""
        playback = Playback(self._dialect.lead_ms, sent=sent_before)
        item_id = self._dialect.reply_item(number)
        self.reply = Reply(number, playback, asked_s, options, item_id, held=True, dropped=dropped)

    def confirm(self, asked_s: float, *, again: bool = False) -> None:
        """The client gets to know of it, and of all its words so far."""
        reply = self.reply
        if reply is None or not reply.held:
            return
        reply.held, reply.asked_s = False, asked_s
        self._send(self._dialect.reply_started(reply.number, reply.options, again=again))
        if reply.words:
            self._send(self._dialect.reply_words(reply.number, reply.words))
        self._tell_written(reply)
        for index, call in enumerate(reply.calls.values()):
            self._send(self._dialect.reply_called(reply.number, index, call))

    def drop(self) -> None:
        """The reply made ahead has never been."""
        self.reply = None

    def take(self, body: object, now_s: float) -> str | None:
        """A result of a worker; returns the stage it completes."""
        reply = self.reply
        if reply is None:
            return None
        match body:
            case Words(said=said):
                fresh = reply.add_words(body, now_s)
                if fresh and not reply.held:
                    self._send(self._dialect.reply_words(reply.number, fresh))
                    metrics.word_lag.observe(max(0.0, shared_time.now_s() - said))
            case Called() | Consulting() | Consulted():
                self._called(reply, body, now_s)
            case TextDone():
                reply.end_text(body)
                self._tell_written(reply)
                return "llm"
            case Speech():
                reply.add_speech(body, now_s)
            case SpeechDone(samples=samples):
                reply.samples = samples
                return "tts"
        return None

    def _tell_written(self, reply: Reply) -> None:
        if reply.text_done is not None and not reply.held:
            self._send(self._dialect.reply_written(reply.number, reply.text))

    def _called(self, reply: Reply, body: Called | Consulting | Consulted, now_s: float) -> None:
        """Clients hear of the calls that are theirs."""
        if not isinstance(body, Called):
            reply.consult(body, now_s)
            return
        item_id = self._dialect.call_item(reply.number, body.index)
        if item_id not in reply.calls:
            reply.calls[item_id] = body.call
            if not reply.held:
                self._send(self._dialect.reply_called(reply.number, body.index, body.call))

    def misses(self, body: object) -> bool:
        """Words before these never came and are stored nowhere: the reply cannot be whole."""
        return isinstance(body, Words) and self.reply is not None and body.index > len(self.reply.words)

    @property
    def item(self) -> str:
        """Id of what the reply under way says in the conversation; empty: nobody knows of any."""
        known = self.reply is not None and not self.reply.held and not self.reply.options.aside
        return self.reply.item_id if self.reply is not None and known else ""

    def mute(self, now_s: float) -> None:
        """Audio is held back from now on."""
        reply = self.reply
        if reply is None:
            return
        reply.playback.mute(now_s)
        if not reply.playback.started:
            return
        reply.cut_at = reply.playback.sent
        if self._dialect.stops_when_muted:
            reply.playback.stop(now_s)
            reply.cut_at = reply.playback.heard(now_s)
        self._send(self._dialect.muted(reply.number, reply.cut_at))

    def unmute(self, now_s: float) -> None:
        """Audio leaves again, from the beginning of the word that was cut."""
        reply = self.reply
        if reply is None or not reply.playback.muted:
            return
        if reply.playback.started:
            metrics.mute_time.observe(reply.playback.muted_for_s(now_s))
            begin = reply.rewind(self._rules.rewind_ms * SAMPLE_RATE // 1000)
            self._send(self._dialect.resumed(reply.number, begin))
        reply.playback.unmute()

    # --- what time brings

    def patience_s(self, now_s: float) -> float | None:
        """Seconds until something is due; None: nothing but a result changes anything."""
        reply = self.reply
        if reply is None or reply.held or self._gone:
            return None
        if reply.playback.muted:
            return (reply.playback.left_s(now_s) or None) if reply.complete else None
        if reply.audio:
            return reply.playback.due_s(now_s, reply.audio[0].samples)
        return reply.playback.left_s(now_s) if reply.complete else None

    @property
    def plays_on(self) -> bool:
        """There is sound in hand that leaves when it is due."""
        reply = self.reply
        return (
            reply is not None and bool(reply.audio) and not (reply.held or reply.playback.muted or self._gone)
        )

    def may_begin(self) -> bool:
        """Audio is there and none was sent on this connection."""
        reply = self.reply
        return (
            reply is not None
            and not reply.held
            and bool(reply.audio)
            and not reply.playback.started
            and not reply.playback.muted
        )

    def pump(self, now_s: float) -> None:
        """Sends the audio that is due."""
        reply = self.reply
        if reply is None or reply.held or self._gone:
            return
        while (
            reply.audio
            and not reply.playback.muted
            and reply.playback.due_s(now_s, reply.audio[0].samples) <= 0
        ):
            speech = reply.next_speech()
            if speech is None:
                return
            if not reply.playback.started:
                metrics.reply_wait.observe(max(0.0, now_s - reply.asked_s))
            told = reply.told
            if not self._send(self._dialect.reply_audio(self._audio_out(reply, speech))):
                # what did not leave was neither told nor heard: a successor goes on from there
                reply.told, self._gone = told, True
                self._dialect.audio_lost(reply.number, speech.samples)
                return
            reply.playback.send(speech.samples, now_s)

    def _audio_out(self, reply: Reply, speech: Speech) -> AudioOut:
        packets = speech.packets
        if reply.resuming is not None and packets:
            form = reply.options.wishes.output_format
            packets = faded_in(packets, reply.resuming, form, self._rules.fade_in_ms)
            reply.resuming = None
        words = [
            (word, reply.words[word.index])
            for word in speech.words
            if reply.told <= word.index < len(reply.words)
        ]
        if words:
            reply.told = max(word.index + 1 for word, _ in words)
        return AudioOut(reply.number, packets, speech.samples, words)

    def heard_all(self, now_s: float) -> bool:
        """The reply is complete, its text too, and its last sound was heard. A mute that held nothing back delays
        nothing."""
        reply = self.reply
        if reply is None or reply.held or self._gone or not reply.complete:
            return False
        if reply.playback.muted and reply.playback.heard(now_s) < reply.playback.sent:
            return False
        return reply.playback.left_s(now_s) <= 0

    def echoes(self, text: str, now_s: float) -> bool:
        """It is what the reply says just now, or what the one that was just over has said."""
        if self.reply is None or self.reply.held:
            return is_echo(text, self._said_last)
        return self.reply.playback.started and is_echo(text, self.reply.sounding(now_s))

    def farewell(self, ending: str) -> bool:
        """The reply takes leave of a client that takes it as that."""
        said = self.reply.text.lower() if self.reply is not None else ""
        return self._dialect.wishes.goodbye and bool(ending) and said.endswith(ending.lower())

    def overdue(self, now_s: float, watches: Iterable[StageWatch]) -> StageWatch | None:
        """The stage at work that gives nothing for too long."""
        reply = self.reply
        if reply is None:
            return None
        for watch in watches:
            since_s = self._silent_since(reply, watch.stage, now_s)
            limit_s = (
                self._rules.first_word_deadline_s
                if watch.stage == "llm"
                else self._rules.first_audio_deadline_s
            )
            if since_s is None:
                continue
            in_vain = watch.stage == "llm" and self.spoken
            if in_vain or watch.claimed:
                late_s = now_s - (since_s if in_vain else max(since_s, watch.taken_s))
                if late_s > limit_s:
                    return watch
        return None

    @property
    def spoken(self) -> bool:
        """The voice has come to its end: whoever wrote its text again would write another."""
        return self.reply is not None and self.reply.samples is not None

    @staticmethod
    def _silent_since(reply: Reply, stage: str, now_s: float) -> float | None:
        """Since when a stage owes something; None when it owes nothing now."""
        if stage == "llm":
            return None if reply.text_done else max(reply.last_words_s or reply.asked_s, reply.waits_until_s)
        if (
            stage != "tts"
            or reply.first_word_s is None
            or reply.audio
            or reply.all_sent
            or reply.playback.muted
        ):
            return None
        if reply.first_audio_s is None:
            return reply.first_word_s
        spoken_out = reply.playback.left_s(now_s) <= 0 and (
            reply.text_done is not None or len(reply.spans) < len(reply.words)
        )
        return max(reply.last_audio_s, reply.last_words_s) if spoken_out else None

    # --- its end

    def end(
        self, status: Literal["completed", "cancelled", "failed"], reason: str, now_s: float
    ) -> Reply | None:
        """The reply is over; the client is told. Returns it."""
        reply, self.reply = self.reply, None
        self._said_last = reply.sounding(now_s) if reply is not None else []
        metrics.turns.labels(status).inc()
        if reply is None:
            return None
        if reply.playback.started:
            metrics.replies_spoken.inc()
            if reply.playback.late_s:
                metrics.late_audio.observe(reply.playback.late_s)
        complete = status == "completed"
        done = reply.text_done
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
                    input_tokens=done.input_tokens if done else 0,
                    output_tokens=done.output_tokens if done else len(reply.words),
                    stopped=done.reason if done else "cut",
                    llm_first_token_ms=_ms_between(reply.asked_s, reply.first_word_s),
                    dropped=reply.dropped,
                    tts_first_audio_ms=_ms_between(reply.first_word_s, reply.first_audio_s),
                )
            )
        )
        return reply


def _ms_between(begin_s: float | None, end_s: float | None) -> float | None:
    """What was there before it was asked for took no time."""
    return None if begin_s is None or end_s is None else round(max(0.0, end_s - begin_s) * 1000, 1)
