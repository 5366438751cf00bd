"""One reply on its way out: its words, its audio in hand, and what of it was sent. Pure."""

from collections import deque
from dataclasses import dataclass, field

from config.messages import Speech, TextDone, Words
from config.settings import SAMPLE_RATE
from web.pacing import Playback

#: Samples of one packet: 20 ms.
PACKET_SAMPLES = SAMPLE_RATE // 50


@dataclass
class Reply:
    """Number `number`; positions are reply samples, word numbers count from 0."""

    number: int
    playback: Playback
    asked_s: float
    """Monotonic time at which the user's turn ended."""
    text_only: bool = False
    words: list[str] = field(default_factory=list)
    text_done: TextDone | None = None
    audio: deque[Speech] = field(default_factory=deque)
    samples: int | None = None
    """Length of its audio, once known."""
    starts: dict[int, int] = field(default_factory=dict)
    """Where each spoken word begins."""
    first_word_s: float | None = None
    last_words_s: float = 0.0
    first_audio_s: float | None = None
    last_audio_s: float = 0.0
    """Monotonic times of what the workers gave."""

    def add_words(self, body: Words, now_s: float) -> list[str]:
        """Takes words; returns those not known yet."""
        fresh = body.words[max(0, len(self.words) - body.index) :]
        if fresh and self.first_word_s is None:
            self.first_word_s = now_s
        self.last_words_s = now_s
        self.words += fresh
        return fresh

    def add_speech(self, body: Speech, now_s: float) -> None:
        """Takes audio. A successor's begins where its predecessor's last whole word ended: it replaces the rest."""
        if self.first_audio_s is None:
            self.first_audio_s = now_s
        self.last_audio_s = now_s
        while self.audio and self.audio[-1].pos >= body.pos:
            self.audio.pop()
        for word in body.words:
            self.starts[word.index] = word.start
        self.audio.append(body)

    def next_speech(self) -> Speech | None:
        """The next audio to send, without what was sent before."""
        while self.audio:
            body = self.audio.popleft()
            skip = (
                -(-(self.playback.sent - body.pos) // PACKET_SAMPLES) if body.pos < self.playback.sent else 0
            )
            if skip < len(body.packets) or (body.words and not body.packets):
                packets = body.packets[max(0, skip) :]
                return Speech(
                    body.pos, len(packets) * PACKET_SAMPLES, packets, body.words, body.spoken, body.spoken_to
                )
        return None

    @property
    def all_sent(self) -> bool:
        """Nothing more will be sent."""
        if self.text_only:
            return self.text_done is not None
        return self.samples is not None and not self.audio

    def heard_words(self, samples: int) -> int:
        """How many words had begun to sound after `samples`."""
        return sum(1 for start in self.starts.values() if start < samples)

    def heard_text(self, now_s: float) -> str:
        """What the user heard of it: up to the last word that began to sound."""
        if self.text_only:
            return "".join(self.words).strip()
        return "".join(self.words[: self.heard_words(self.playback.heard(now_s))]).strip()

    @property
    def text(self) -> str:
        """All of its words."""
        return "".join(self.words).strip()
