"""One reply on its way out: its words, its audio in hand, and what of it was sent. Pure."""

from collections import deque
from dataclasses import dataclass, field

from config.messages import Consulted, Consulting, Speech, TextDone, ToolCall, Words
from config.settings import SAMPLE_RATE
from web.items import Exchange
from web.pacing import Playback
from web.reply_options import ReplyOptions

#: Samples of one packet: 20 ms.
PACKET_SAMPLES = SAMPLE_RATE // 50

#: Audio kept after it was sent: more than any word lasts.
KEPT_SAMPLES = 5 * SAMPLE_RATE


#: What a model is told of a function that ran while its reply was cut off. It cannot be stopped, and ends by itself.
UNFINISHED = "The answer was interrupted while this ran: it may have been done, and its result is not known."


@dataclass
class Reply:
    """Number `number`; positions are reply samples, word numbers count from 0."""

    number: int
    playback: Playback
    asked_s: float
    """Monotonic time at which the user's turn ended."""
    options: ReplyOptions
    item_id: str = ""
    """Of its message."""
    calls: dict[str, ToolCall] = field(default_factory=dict)
    """Functions that it asked for, by the ids of their items."""
    words: list[str] = field(default_factory=list)
    fillers: set[int] = field(default_factory=set)
    """Numbers of the words that the model never said."""
    exchanges: list[Exchange] = field(default_factory=list)
    """Functions of the server's own that it asked for, and what they gave."""
    consulting: Consulting | None = None
    """Those that run now."""
    waits_until_s: float = 0.0
    """Monotonic time up to which nobody expects words: its functions run, or the model has just heard of them."""
    text_done: TextDone | None = None
    audio: deque[Speech] = field(default_factory=deque)
    samples: int | None = None
    """Length of its audio, once known."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Where each spoken word begins and ends."""
    dropped: int = 0
    """Messages of the history that its prompt had no room for."""
    held: bool = False
    """It is made ahead: nobody knows of it yet."""
    told: int = 0
    """Words whose beginning the client was told."""
    cut_at: int = 0
    """Where the sound stopped when it was muted."""
    resuming: list[bytes] | None = None
    """What goes out next follows these packets after a mute, softly."""
    gone: deque[Speech] = field(default_factory=deque)
    """The newest audio that was sent."""
    first_word_s: float | None = None
    last_words_s: float = 0.0
    first_audio_s: float | None = None
    last_audio_s: float = 0.0
    """Monotonic times of what the workers gave."""

    def add_words(self, body: Words, now_s: float) -> list[str]:
        """Takes words; returns those not known yet."""
        fresh = body.words[max(0, len(self.words) - body.index) :]
        if body.filler:
            self.fillers.update(range(body.index, body.index + len(body.words)))
        if fresh and self.first_word_s is None:
            self.first_word_s = now_s
        self.last_words_s = now_s
        self.words += fresh
        return fresh

    def consult(self, body: Consulting | Consulted, now_s: float) -> None:
        """Functions of the server's own run, or are over. A successor says both again, if it runs them again."""
        if isinstance(body, Consulting):
            self.consulting, self.waits_until_s = body, now_s + body.patience_s
        elif self.consulting is not None:
            calls, self.consulting = self.consulting.calls, None
            self.exchanges.append(Exchange.of(calls, body.results))
            self.waits_until_s = now_s

    @property
    def consulted(self) -> tuple[Exchange, ...]:
        """What the conversation remembers of them; of those that run still nobody will hear how they end."""
        running = self.consulting.calls if self.consulting is not None else []
        unfinished = (Exchange.of(running, [UNFINISHED] * len(running)),) if running else ()
        return (*self.exchanges, *unfinished)

    def end_text(self, body: TextDone) -> None:
        """No more words come; of none there is no sound."""
        self.text_done = body
        if body.words == 0:
            self.samples = 0

    def add_speech(self, body: Speech, now_s: float) -> None:
        """Takes audio. A successor's begins where its predecessor's last whole word ended: it replaces the rest."""
        if self.first_audio_s is None:
            self.first_audio_s = now_s
        self.last_audio_s = now_s
        while self.audio and self.audio[-1].pos >= body.pos:
            self.audio.pop()
        for word in body.words:
            self.spans[word.index] = (word.start, word.stop)
        self.audio.append(body)

    def next_speech(self) -> Speech | None:
        """The next audio to send, without what was sent before."""
        while self.audio:
            body = self.audio.popleft()
            skip = max(0, -(-(self.playback.sent - body.pos) // PACKET_SAMPLES))
            if skip < len(body.packets) or (body.words and not body.packets):
                self._keep(body)
                packets = body.packets[skip:]
                pos = body.pos + skip * PACKET_SAMPLES
                return Speech(
                    pos, len(packets) * PACKET_SAMPLES, packets, body.words, body.spoken, body.spoken_to
                )
        return None

    def _keep(self, body: Speech) -> None:
        self.gone.append(body)
        while self.gone[0].pos + self.gone[0].samples < body.pos - KEPT_SAMPLES:
            self.gone.popleft()

    def rewind(self, most: int) -> int:
        """Goes back to the beginning of the word that was cut, by `most` samples; returns where it goes on."""
        begin = self._word_cut(most)
        while self.gone and self.gone[-1].pos + self.gone[-1].samples > begin:
            self.audio.appendleft(self.gone.pop())
        before = [packet for body in self.gone for packet in body.packets]
        if self.audio and self.audio[0].pos < begin:
            skip = (begin - self.audio[0].pos) // PACKET_SAMPLES
            begin = self.audio[0].pos + skip * PACKET_SAMPLES
            before += self.audio[0].packets[:skip]
        elif self.audio:  # what an earlier connection sent is not at hand
            begin = min(self.audio[0].pos, max(begin, self.playback.sent))
        self.resuming = before
        if begin < self.playback.sent:
            self.playback.rewind(begin)
        return begin

    def _word_cut(self, most: int) -> int:
        """The beginning of the word that sounded at `cut_at`; `cut_at` itself between two words."""
        for start, stop in reversed(self.spans.values()):
            if start < self.cut_at:
                return max(start, self.cut_at - most) if self.cut_at < stop else self.cut_at
        return self.cut_at

    @property
    def made(self) -> int:
        """Samples that are here, or were."""
        newest = self.audio[-1].pos + self.audio[-1].samples if self.audio else 0
        return max(newest, self.playback.sent)

    @property
    def all_sent(self) -> bool:
        """Nothing more will be sent."""
        if self.options.wishes.text_only:
            return self.text_done is not None
        return self.samples is not None and not self.audio

    @property
    def complete(self) -> bool:
        """Its text and its sound are there, and all is sent."""
        return self.all_sent and self.text_done is not None

    def heard_words(self, samples: int) -> int:
        """How many words had begun to sound after `samples`."""
        return sum(1 for start, _ in self.spans.values() if start < samples)

    def heard_text(self, now_s: float) -> str:
        """What the user heard of it: up to the last word that began to sound."""
        if self.options.wishes.text_only:
            return "".join(self.words).strip()
        return "".join(self.words[: self.heard_words(self.playback.heard(now_s))]).strip()

    def _own(self, count: int) -> str:
        """What the model said in the first so many words."""
        return "".join(
            word for number, word in enumerate(self.words[:count]) if number not in self.fillers
        ).strip()

    def kept(self, now_s: float, *, whole: bool) -> tuple[str, bool]:
        """What the history keeps of it, without what only bridged a wait; and whether it was cut short."""
        if whole or self.options.wishes.text_only:
            return self._own(len(self.words)), False
        heard, full = self.heard_text(now_s), self.text
        return self._own(self.heard_words(self.playback.heard(now_s))), heard != full

    def sounding(self, now_s: float) -> list[str]:
        """The words heard until now, and those on their way to the ear."""
        return self.words[: self.heard_words(max(self.playback.heard(now_s), self.playback.sent))]

    @property
    def text(self) -> str:
        """All of its words."""
        return "".join(self.words).strip()
