"""The TTS loop: all replies' text streams in, batched steps, packets with the words they carry out."""

import time
from dataclasses import dataclass

from config import metrics
from config import redis_keys as keys
from config.errors import VoiceExpired
from config.messages import (
    Cancel,
    Command,
    CustomVoice,
    Failed,
    Order,
    Played,
    Speech,
    SpeechDone,
    SpokenWord,
    TextDone,
    Words,
    decode_result,
)
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Say, SpeechFrame, TtsEngine, VoiceOptions
from tasks import streams
from tasks.codec import Encoder, encoder
from tasks.leases import Emitter
from tasks.loop import Loop, Seat

#: The loop sleeps to this beat, so that frames of many replies meet in one step.
BEAT_S = 0.004

#: Wait for text while something may become ready by itself.
BUSY_BLOCK_MS = 5

#: Wait for text when nothing else can happen.
IDLE_BLOCK_MS = 20


@dataclass(eq=False)
class Mouth(Seat):
    """A seat that speaks. Positions are reply samples."""

    order: Order | None = None
    custom: CustomVoice | None = None
    """The cloned voice that the order names."""
    voiceless: VoiceExpired | None = None
    """Why it is not there."""
    first_word: int = 0
    base: int = 0
    """Reply sample at which this worker's audio begins; a predecessor's lies before."""
    cursor: str = "0"
    words: int = 0
    """Words taken from the text so far."""
    text_done: bool = False
    made: int = 0
    """Samples given out by this worker."""
    played: int = 0
    """Reply sample the client has heard."""
    encoder: Encoder | None = None
    first_word_at: float | None = None

    @property
    def in_hand(self) -> int:
        """Samples made and not yet heard."""
        return self.base + self.made - self.played


class TtsLoop(Loop):
    """Reads every reply's text at once; serves first who has the least audio in hand."""

    stage = "tts"

    def __init__(
        self, engine: TtsEngine, media: streams.Client, emitter: Emitter, slots: int, ahead_s: float
    ) -> None:
        super().__init__(emitter, slots)
        self._engine = engine
        self._media = media
        self._stepped = False
        self._next_beat = 0.0
        self._ahead_samples = int(ahead_s * SAMPLE_RATE)

    def begin(self, seat: Seat) -> None:
        """Opens the slot at the first word that nobody finished."""
        assert isinstance(seat, Mouth) and seat.order is not None
        order = seat.order
        seat.encoder = encoder(order.format)
        seat.words = seat.first_word
        seat.played = seat.base
        if seat.voiceless is not None:
            raise seat.voiceless
        options = VoiceOptions(order.voice, order.speed, order.language, seat.first_word, seat.custom)
        self._engine.open(seat.slot, options)

    def end(self, seat: Seat) -> None:
        """Closes the slot."""
        self._engine.close(seat.slot)

    def obey(self, command: Command) -> None:
        """Cancels a reply, or learns how far it was heard."""
        seat = self.seats.get((command.sid, command.reply))
        if isinstance(seat, Mouth):
            if isinstance(command, Cancel):
                seat.lost = True
            elif isinstance(command, Played):
                seat.played = max(seat.played, command.pos)

    def turn(self) -> None:
        """Reads text, takes one step, emits. While something is spoken nothing is waited for: a new reply, and new
        words, must not wait until nobody has audio to come."""
        self.outbox.flush()
        mouths = [seat for seat in self.seats.values() if isinstance(seat, Mouth)]
        if not mouths:
            time.sleep(IDLE_BLOCK_MS / 1e3)
            return
        time.sleep(max(0.0, self._next_beat - time.monotonic()))
        self._next_beat = time.monotonic() + BEAT_S
        self._read_text(mouths)
        if not self.outbox.full:
            self._stepped = self._step(mouths)
            self.outbox.flush()

    def _step(self, mouths: list[Mouth]) -> bool:
        """One step of the engine for all that may speak; whether anything came of it."""
        wanted = [mouth for mouth in mouths if not mouth.lost and mouth.in_hand < self._ahead_samples]
        wanted.sort(key=lambda mouth: mouth.in_hand)
        began = time.monotonic()
        frames = self._engine.step([mouth.slot for mouth in wanted if not mouth.over.is_set()])
        if frames:
            metrics.step_seconds.labels(self.stage).observe(time.monotonic() - began)
            metrics.step_batch.labels(self.stage).observe(len(frames))
        for mouth in wanted:
            if mouth.slot in frames:
                self._say(mouth, frames[mouth.slot])
        self.shed(self._engine.faults())
        return bool(frames)

    def _read_text(self, mouths: list[Mouth]) -> None:
        hungry = {
            keys.replay("llm", mouth.sid, mouth.lease.reply): mouth for mouth in mouths if not mouth.text_done
        }
        busy = len(hungry) < len(mouths) or any(mouth.words for mouth in mouths)
        block_ms = 0 if self._stepped else BUSY_BLOCK_MS if busy else IDLE_BLOCK_MS
        if not hungry:
            time.sleep(block_ms / 1e3)
            return
        cursors = {key: mouth.cursor for key, mouth in hungry.items()}
        for key, entries in streams.read(self._media, cursors, block_ms):
            mouth = hungry[key]
            for entry_id, data in entries:
                mouth.cursor = entry_id
                if mouth.over.is_set():
                    break
                self._take(mouth, decode_result(data).body)

    def _take(self, mouth: Mouth, body: object) -> None:
        """New words go to the engine; those a predecessor has spoken, or that came twice, do not."""
        if isinstance(body, Words) and body.index > mouth.words:
            # the server lost what lies between: a reply with a hole is not passed off as whole
            self.outbox.add(mouth, Failed("text_lost", f"{body.index - mouth.words} words are missing"))
            self.leave(mouth, done=True)
        elif isinstance(body, Words):
            fresh = body.words[max(0, mouth.words - body.index) :]
            mouth.words += len(fresh)
            if fresh:
                mouth.first_word_at = mouth.first_word_at or time.monotonic()
                self._engine.feed(mouth.slot, Say(fresh))
        elif isinstance(body, TextDone | Failed):
            mouth.text_done = True
            self._engine.feed(mouth.slot, Say((), last=True))

    def _say(self, mouth: Mouth, frame: SpeechFrame) -> None:
        assert mouth.encoder is not None
        if not mouth.made and len(frame.pcm) and mouth.first_word_at is not None:
            metrics.first_audio.observe(time.monotonic() - mouth.first_word_at)
        packets = mouth.encoder.encode(frame.pcm)
        if frame.last:
            packets += mouth.encoder.flush()
        if packets or frame.words:
            samples = len(packets) * SAMPLE_RATE // 50
            words = [
                SpokenWord(number, mouth.base + start, mouth.base + stop)
                for number, start, stop in frame.words
            ]
            pos = mouth.base + mouth.made
            self.outbox.add(
                mouth, Speech(pos, samples, packets, words, frame.spoken, mouth.base + frame.spoken_to)
            )
            mouth.made += samples
        if frame.last:
            self.outbox.add(mouth, SpeechDone(mouth.base + mouth.made))
            self.leave(mouth, done=True)
