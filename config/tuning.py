"""The sections of the settings that tune what Antiphon does, each value with its unit, its range and its reason."""

import math
from typing import Literal

from pydantic import BaseModel, Field, model_validator


class TurnSettings(BaseModel, frozen=True):
    """When a turn ends and what interrupts a reply."""

    sure_p_end: float = Field(0.65, gt=0, lt=1)
    """Probability that the turn is over from which `min_pause_ms` ends it, where a pause is judged early."""
    certain_p_end: float = Field(0.9, gt=0, lt=1)
    """The same for a pause that lasts longer than `early_ms`: what grows with a pause is mostly the pause. On seed A of
    the bench, the waits replayed over its judgements, this halved the pauses that were cut off."""
    early_ms: int = Field(350, gt=0)
    """The first judgement comes 200 to 350 ms after the voice."""
    unsure_p_end: float = Field(0.2, ge=0, lt=1)
    """Probability up to which `longest_wait_ms` is waited; between, it is `usual_wait_ms`."""
    min_pause_ms: int = Field(200, ge=0)
    """Shortest pause that can end a turn, however sure the model is: people breathe."""
    usual_wait_ms: int = Field(1160, gt=0)
    """A pause that may be the end or not ends the turn after this. People hesitate for up to 1.5 s."""
    longest_wait_ms: int = Field(1800, gt=0)
    """A pause of this length ends the turn, whatever the model says: it is wrong on some voices."""
    patience: float = Field(1.0, gt=0, le=10)
    """Factor on all waits: the one knob between cutting people off and keeping them waiting."""
    longest_turn_s: float = Field(30.0, gt=0)
    """An utterance is closed here: no more of it is kept (`limits.audio_keep_s`) for whoever has to hear it again."""
    user_silence_timeout_s: float = Field(7.0, gt=0)
    """Silence after which the assistant takes the turn. Lower feels pushy; higher feels absent."""
    goodbye_after_silences: int = Field(3, ge=0)
    """At the silence of this number in a row the assistant says goodbye instead; 0: it never does."""
    goodbyes: dict[str, str] = {
        "en": "It seems that you have left. Until next time, bye!",
        "fr": "On dirait que vous êtes parti. À bientôt, bye!",
    }
    """What it says then, by language: a small model cannot be trusted to take its leave."""
    goodbye_ending: str = "bye!"
    """A reply that ends with this closes the session once it was heard; empty: none does."""
    goodbye_wait_s: float = Field(1.0, ge=0, le=2)
    """The connection closes so long after the goodbye was over by our count: players buffer, and Unmute's page falls
    silent with the connection. Unmute waits as long."""
    echo_settle_s: float = Field(3.0, ge=0)
    """Voice alone interrupts nothing this early in a session: the browser's echo canceller still learns."""
    interrupt_voice_ms: int = Field(1000, gt=0)
    """Voice of this length interrupts if nobody has listened to it yet. The first words are known after about 800 ms,
    and "mm-hm, right" is as long."""
    interrupt_unknown_voice_ms: int = Field(4000, gt=0)
    """Voice of this length interrupts although it was listened to and no word was sure: a neighbour's is shorter."""
    interrupt_words: int = Field(1, ge=1)
    """Words that confirm an interruption."""
    interrupt_confidence: float = Field(0.6, ge=0, le=1)
    """Words of which the recogniser is less sure confirm nothing: it makes words of laughter and babble, too."""
    scrap_confidence: float = Field(0.8, ge=0, le=1)
    """The same for one or two words, unless they are such as "stop" and "wait": bits of an echo became "Several." and
    "As in." with up to .76, one-word interruptions had .81 and more."""
    resume_silence_ms: int = Field(500, gt=0)
    """Silence after which a mute that nothing confirmed is taken back."""
    false_mutes: int = Field(2, ge=0)
    """After so many mutes for nothing in one reply only words interrupt it: a noise that stays must not chop it."""
    preempt: Literal["auto", "on", "off"] = "auto"
    """Begin replies at a probable end of the turn, before it is certain. auto: unless every word has its price, that is
    for an LLM behind a URL that is not of this machine or network."""
    preempt_p_end: float = Field(0.2, ge=0, le=1)
    """Probability of the turn's end from which that is worth while."""
    preempt_most: int = Field(2, ge=0)
    """Replies begun ahead in one turn, at most: each one that was for nothing took the LLM's time from others."""
    preempt_free_share: float = Field(0.25, ge=0, le=1)
    """Share of the slots of LLM and TTS that must be free for it."""

    @model_validator(mode="after")
    def _in_order(self) -> "TurnSettings":
        if not self.unsure_p_end < self.sure_p_end <= self.certain_p_end:
            raise ValueError("unsure_p_end must be less than sure_p_end, and that no more than certain_p_end")
        if not self.min_pause_ms <= self.usual_wait_ms <= self.longest_wait_ms:
            raise ValueError("min_pause_ms, usual_wait_ms and longest_wait_ms must not fall")
        return self


class PacingSettings(BaseModel, frozen=True):
    """How far ahead of playback audio is sent, and how late a stage may be."""

    lead_ms: int = Field(160, gt=0)
    """Audio ahead of playback at a GA client. SDKs truncate by wall clock, so more would falsify what was heard."""
    unmute_lead_ms: int = Field(320, gt=0)
    """The same for Unmute's page, which buffers 240 ms itself."""
    first_word_deadline_s: float = Field(5.0, gt=0)
    """No word of the LLM by then: one retry, then an error."""
    first_audio_deadline_s: float = Field(3.0, gt=0)
    """No audio this long after the first word: one retry, then an error."""
    transcript_deadline_s: float = Field(3.0, gt=0)
    """No final transcript this long after the turn's end: an error, and listening again."""
    tts_ahead_s: float = Field(2.0, gt=0)
    """Audio a TTS worker releases beyond the last reported playback position."""
    fade_in_ms: int = Field(40, ge=0, le=200)
    """A reply that goes on after a mute begins so softly."""
    rewind_ms: int = Field(1500, ge=0)
    """The longest part of a word that is said again then."""
    report_played_s: float = Field(0.5, gt=0)
    """How often playback positions go to the TTS worker and into the saved state."""

    @model_validator(mode="after")
    def _never_starves(self) -> "PacingSettings":
        if self.tts_ahead_s <= self.report_played_s + max(self.lead_ms, self.unmute_lead_ms) / 1e3:
            raise ValueError(
                "tts_ahead_s must be more than report_played_s and lead_ms (or unmute_lead_ms) together, or every "
                "reply stops until the worker learns how far it was heard"
            )
        return self


class OwnershipSettings(BaseModel, frozen=True):
    """Leases and the watchdog: how soon a death is noticed."""

    lease_ms: int = Field(1500, gt=0)
    """Lifetime of a lease; the longest a dead worker's work lies still."""
    renew_s: float = Field(0.4, gt=0)
    """Renewal interval: three chances before a lease ends."""
    step_deadline_s: float = Field(5.0, gt=4)
    """A loop silent this long stops advertising; at twice this its process exits. A Redis that says nothing may hold a
    loop up for 8 s, which must not end its worker."""
    heartbeat_ttl_s: float = Field(5.0, gt=0)
    """A worker unseen this long is not counted on."""
    watch_s: float = Field(0.25, gt=0)
    """How often the web compares leases with what it expects."""
    claim_timeout_s: float = Field(2.0, gt=0)
    """A task unclaimed this long is sent again, if a worker has room: its worker died with it in hand."""
    tell_after_s: float = Field(1.2, gt=0)
    """A stage gone this long is told to the client. Counted from the end of its lease, so within 3 s of a death."""
    orphan_s: float = Field(10.0, gt=0)
    """A session without a web process this long gives its slots back."""
    resume_s: int = Field(120, gt=0)
    """How long a session waits for its client to come back, however its connection or its web process ended. Redis may
    be away no longer, either: who keeps sessions cannot say so meanwhile."""

    @property
    def session_s(self) -> int:
        """Life of a session's state after its web process last said that it is there, which is now and then."""
        return self.resume_s + math.ceil(self.renew_s)

    @model_validator(mode="after")
    def _can_be_kept(self) -> "OwnershipSettings":
        lease_s = self.lease_ms / 1e3
        if round(3 * self.renew_s, 6) > lease_s:
            raise ValueError(
                "lease_ms must last for three times renew_s, or work that is well is lost at a hiccup"
            )
        if self.renew_s + self.watch_s > lease_s:
            raise ValueError(
                "lease_ms must outlast renew_s and watch_s together: the web renews when it has watched"
            )
        if self.renew_s >= self.heartbeat_ttl_s:
            raise ValueError(
                "heartbeat_ttl_s must be more than renew_s, with which workers beat, or nobody is there"
            )
        if self.renew_s + self.watch_s >= self.tell_after_s:
            raise ValueError(
                "tell_after_s must be more than renew_s and watch_s together: before, the web cannot know that Redis "
                "is there and the worker is not"
            )
        return self


class ObserveSettings(BaseModel, frozen=True):
    """How often is looked at what metrics show."""

    look_s: float = Field(2.0, ge=0.1, le=60)
    """Queues, slots and the Redis servers: a dozen cheap commands each time, from each web process."""
    ping_s: float = Field(10.0, ge=0.1, le=60)
    """A client is pinged about so often: proxies close what is silent for a minute."""


class LimitSettings(BaseModel, frozen=True):
    """Bounds of queues and messages."""

    message_bytes: int = Field(1 << 18, gt=0)
    """Largest WebSocket message taken: 4 s of base64 pcm16."""
    mailbox_items: int = Field(512, gt=0)
    """Results waiting for a session; beyond, a gap is marked and read back from replay."""
    spill_bytes: int = Field(1 << 20, gt=0)
    """Unsent bytes for a slow client; beyond, it is disconnected."""
    client_silent_s: float = Field(30.0, ge=1, le=600)
    """A client that acknowledges nothing, or answers no ping, for so long has gone without a word. TCP would wait for a
    quarter of an hour, and its place with it. Shorter ends conversations that pass through a tunnel."""
    client_share: float = Field(0.05, gt=0, le=1)
    """Share of a core that one client may keep busy with what it asks for; a conversation takes a tenth of it. Who asks
    for more is read more slowly: else one client that floods its connection stops the conversations of all others."""
    client_burst_s: float = Field(0.1, ge=0.01, le=10)
    """Seconds of a core that a client may take at once before that: ten replies, or a hundred other events. Who comes
    again has it again, so it is not long."""
    audio_keep_s: float = Field(30.0, gt=0)
    """Input audio kept before the open utterance, for a worker that takes over."""
    session_ttl_s: int = Field(3600, gt=0)
    """Life of what the workers said in a session, for who goes on with it."""
    replay_items: int = Field(4000, gt=0)
    """Results kept per stage for who missed them: over 5 minutes of 80 ms frames."""


class AdmissionSettings(BaseModel, frozen=True):
    """Who is let in when there is little room."""

    llm_share: float = Field(0.35, ge=0, le=1)
    """Slots of the LLM that a session is expected to need. It writes for a small part of a conversation, but many talk
    at once. Lower lets more sessions in, and their replies wait for one another; 1: nobody ever waits."""
    tts_share: float = Field(0.6, ge=0, le=1)
    """The same for the voice, whose slot is taken as long as its reply plays: the part of a conversation in which the
    assistant speaks, about half of it, and some, for by chance many speak at once."""
    longest_wait_s: float = Field(20.0, ge=0)
    """How long a new session waits for a place before it is sent away with 1013. People hang up sooner."""
    most_waiting: int = Field(64, ge=0)
    """Sessions in the line, over all web processes; more are sent away at once. 0: nobody waits."""
    ask_again_s: float = Field(0.25, gt=0, le=5)
    """How often a session in the line asks: one script call each."""
    look_s: float = Field(0.5, gt=0, le=5)
    """How often a web process counts the fleet's slots and advertises itself."""
    memory_share: float = Field(0.8, gt=0, le=1)
    """New sessions are refused while a Redis server has used this share of its maxmemory: those there need the rest."""
    memory_look_s: float = Field(2.0, gt=0, le=60)
    """How often that is asked: at 64 kB/s a session, 1000 of them fill 128 MB in that time, were nothing trimmed."""


class ReplicaSettings(BaseModel, frozen=True):
    """How many workers of a queue there may be."""

    least: int = Field(1, ge=0)
    """Never fewer: the first session of the morning would wait for an engine to load. Two survive the loss of one."""
    most: int = Field(16, ge=1)
    """Never more: GPUs there are, or money."""

    @model_validator(mode="after")
    def _in_order(self) -> "ReplicaSettings":
        if self.least > self.most:
            raise ValueError("least must not be more than most")
        return self


class ScaleSettings(BaseModel, frozen=True):
    """What `/v1/scale` advises: replicas of each queue, for whoever starts and stops workers."""

    stt: ReplicaSettings = ReplicaSettings()  # type: ignore[call-arg]
    llm: ReplicaSettings = ReplicaSettings()  # type: ignore[call-arg]
    tts: ReplicaSettings = ReplicaSettings()  # type: ignore[call-arg]
    voices: ReplicaSettings = ReplicaSettings(most=2)  # type: ignore[call-arg]
    free_share: float = Field(0.25, ge=0, lt=1)
    """Share of the slots that is to be free. It must last until a new worker is warm, and replies are made ahead only
    while `turn.preempt_free_share` is free."""
    spare_share: float = Field(0.1, ge=0, lt=1)
    """A worker goes only if so much more than that is free without it, or the next few sessions would bring it back."""
    oldest_s: float = Field(1.0, gt=0)
    """A queue whose oldest task has waited so long gets a quarter more workers, whatever its slots say."""
    late_share: float = Field(0.05, gt=0)
    """Replies with late audio in the last minute, per session, from which the voice gets a quarter more."""
    quiet_s: float = Field(600.0, ge=0)
    """Fewer replicas only after so long a time in which fewer would have done. Shorter saves machine hours and starts
    engines more often."""

    @model_validator(mode="after")
    def _leave_something(self) -> "ScaleSettings":
        if self.free_share + self.spare_share >= 0.95:
            raise ValueError("free_share and spare_share must leave slots to be used")
        return self

    def replicas(self, queue: str) -> ReplicaSettings:
        """The bounds of a queue."""
        found: ReplicaSettings = getattr(self, queue)
        return found
