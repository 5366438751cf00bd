"""What the loops of the stages observe, bound to its stage once: looking up a label costs more than counting."""

import time
from collections.abc import Sequence

from config import metrics
from config import unmute_metrics as unmute
from config.messages import ChatMessage
from config.settings import SAMPLE_RATE

_ACTIVE = {
    "stt": unmute.stt_active_sessions,
    "llm": unmute.vllm_active_sessions,
    "tts": unmute.tts_active_sessions,
}
_BEGUN = {"stt": unmute.stt_sessions, "llm": unmute.vllm_sessions, "tts": unmute.tts_sessions}
_SENT_FRAMES = {"stt": unmute.stt_sent_frames}
_MADE_FRAMES = {"stt": unmute.stt_recv_frames, "tts": unmute.tts_recv_frames}


class SeatMetrics:
    """Seats of one stage of this worker."""

    def __init__(self, stage: str) -> None:
        self.lost = metrics.seats_lost.labels(stage)
        self.shed = metrics.slots_shed.labels(stage)
        self.begun = _BEGUN[stage]
        self._taken = metrics.seats_taken.labels(stage)
        self._active = _ACTIVE[stage]

    def taken(self, seats: int) -> None:
        """So many are taken now."""
        self._taken.set(seats)
        self._active.set(seats)


class StepMetrics:
    """Batched steps of one stage."""

    def __init__(self, stage: str) -> None:
        self._seconds = metrics.step_seconds.labels(stage)
        self._batch = metrics.step_batch.labels(stage)
        self._sent = _SENT_FRAMES.get(stage)
        self._made = _MADE_FRAMES[stage]

    def stepped(self, seconds: float, frames: int) -> None:
        """A step is over; `frames`: slots that it served."""
        self._seconds.observe(seconds)
        self._batch.observe(frames)
        self._made.inc(frames)
        if self._sent is not None:
            self._sent.inc(frames)


class Hearing:
    """What the STT made of one session, from the opening of its slot on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._words = 0

    def understood(self, text: str) -> None:
        """The final words of an utterance."""
        words = len(text.split())
        self._words += words
        unmute.stt_recv_words.inc(words)

    def over(self, samples: int) -> None:
        """Nobody listens any more; without any sound, nobody ever did."""
        if samples > 0:
            unmute.stt_session_duration.observe(time.monotonic() - self._began_s)
            unmute.stt_audio_duration.observe(samples / SAMPLE_RATE)
            unmute.stt_num_words.observe(self._words)


class Writing:
    """One request to the LLM, from now on."""

    def __init__(self, messages: Sequence[ChatMessage]) -> None:
        asked = sum(len(message.content.split()) for message in messages)
        unmute.vllm_sent_words.inc(asked)
        unmute.vllm_request_length.observe(asked)
        self._began_s = time.monotonic()
        self._first_s = self._last_s = 0.0
        self._words = 0
        self._begun = False

    def piece(self) -> None:
        """A piece of text came."""
        if not self._begun:
            self._begun = True
            metrics.first_token.observe(time.monotonic() - self._began_s)

    def wrote(self, words: int) -> None:
        """So many more words are whole."""
        self._last_s = time.monotonic()
        if not self._words:
            self._first_s = self._last_s
            metrics.first_word.observe(self._first_s - self._began_s)
            unmute.vllm_ttft.observe(self._first_s - self._began_s)
        self._words += words
        unmute.vllm_recv_words.inc(words)

    def over(self) -> None:
        """The reply ended, in whatever way."""
        unmute.vllm_reply_length.observe(self._words)
        unmute.vllm_gen_duration.observe(time.monotonic() - self._began_s)
        if self._last_s > self._first_s:
            metrics.words_per_second.observe((self._words - 1) / (self._last_s - self._first_s))


class Speaking:
    """One reply at the TTS. Moments are monotonic, samples those made here."""

    def __init__(self) -> None:
        self._first_word_s: float | None = None
        self._paced = False

    def told(self) -> None:
        """More words were given to the engine."""
        unmute.tts_sent_frames.inc()
        if self._first_word_s is None:
            self._first_word_s = time.monotonic()

    def first_audio(self, now_s: float) -> None:
        """The first sound is made."""
        if self._first_word_s is not None:
            metrics.first_audio.observe(now_s - self._first_word_s)
            unmute.tts_ttft.observe(now_s - self._first_word_s)

    def kept_up(self, samples: int, now_s: float) -> None:
        """It is complete, or as far ahead as it may be: what follows waits for the listener. The first time counts."""
        if not self._paced and self._first_word_s is not None and now_s > self._first_word_s:
            self._paced = True
            metrics.realtime_factor.observe(samples / SAMPLE_RATE / (now_s - self._first_word_s))

    def over(self, samples: int) -> None:
        """It was spoken to its end, or called off."""
        unmute.tts_audio_duration.observe(samples / SAMPLE_RATE)
        if self._first_word_s is not None:
            unmute.tts_gen_duration.observe(time.monotonic() - self._first_word_s)
