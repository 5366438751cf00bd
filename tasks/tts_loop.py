"""The TTS loop: all replies' text streams in, batched steps, packets with the words they carry out."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from config import redis_keys as keys
from config import unmute_metrics
from config.errors import DeviceLost, VoiceExpired
from config.messages import (
    Cancel,
    Command,
    Consulting,
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
from config.voice_messages import CustomVoice
from gpu_workers.batcher import Batcher, Playback
from gpu_workers.engine import Say, Slot, SpeechFrame, TtsEngine, VoiceOptions
from tasks import streams
from tasks.codec import PACKET_SAMPLES, Choir, Encoder, encoder
from tasks.leases import Emitter
from tasks.loop import Loop
from tasks.loop_metrics import Speaking, StepMetrics
from tasks.seat import Seat
from tasks.streams import RedisError

log = logging.getLogger(__name__)

#: The shortest beat: frames of many replies meet in one step.
BEAT_S = 0.004

#: The beat while nobody is in a hurry, in frames: steps are few and full, and the device is left to others.
CALM_BEAT_FRAMES = 0.5

#: Sound in hand below which a reply is in a hurry: it needs a reserve for the network, and steps of other replies.
HURRY_S = 0.2

#: A new reply wants its first sound this soon after its first word. It is then as urgent as one that has as much in
#: hand: it goes before those with a reserve, and not before one that would fall silent.
FIRST_AUDIO_S = 0.2

#: Wait for text when nothing else can happen; new seats join after it.
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
    has_text: bool = False
    """There was something to say, or to end."""
    encoder: Encoder | None = None
    first_word_at: float | None = None
    speaking: Speaking = field(default_factory=Speaking)
    playback: Playback = field(init=False)

    def __post_init__(self) -> None:
        self.playback = Playback(self.base, 0.0, SAMPLE_RATE)

    @property
    def in_hand(self) -> int:
        """Samples made and not yet heard."""
        return self.playback.in_hand


class TtsLoop(Loop):
    """Reads every reply's text at once; serves first who has the least audio in hand."""

    stage = "tts"

    def __init__(
        self, engine: TtsEngine, media: streams.Client, emitter: Emitter, slots: int, ahead_s: float
    ) -> None:
        super().__init__(emitter, slots)
        self._engine = engine
        self._reader = streams.Reader(media)
        self._batcher = Batcher(engine.batch)
        self._choir = Choir()
        self._calm_s = CALM_BEAT_FRAMES * engine.frame_samples / SAMPLE_RATE
        self._mouths: dict[Slot, Mouth] = {}
        self._steps = StepMetrics(self.stage)
        self._stepped_at = 0.0
        self._all_stepped_at = 0.0
        self._ahead_samples = int(ahead_s * SAMPLE_RATE)

    def begin(self, seat: Seat) -> None:
        """Opens the slot at the first word that nobody finished."""
        assert isinstance(seat, Mouth) and seat.order is not None
        order = seat.order
        seat.encoder = encoder(order.format)
        seat.words = seat.first_word
        seat.playback = Playback(seat.base, time.monotonic() + FIRST_AUDIO_S, SAMPLE_RATE)
        self._batcher.fed(seat.slot)
        self._mouths[seat.slot] = seat
        if seat.voiceless is not None:
            raise seat.voiceless
        options = VoiceOptions(order.voice, order.speed, order.language, seat.first_word, seat.custom)
        self._engine.open(seat.slot, options)

    def end(self, seat: Seat) -> None:
        """Closes the slot."""
        self._mouths.pop(seat.slot, None)
        if isinstance(seat, Mouth):
            seat.speaking.over(seat.playback.made_to - seat.base)
        self._engine.close(seat.slot)

    def obey(self, command: Command) -> None:
        """Cancels a reply, or learns how far it was heard."""
        seat = self.seats.get((command.sid, command.reply))
        if isinstance(seat, Mouth):
            if isinstance(command, Cancel):
                seat.call_off()
            elif isinstance(command, Played):
                seat.playback.hear(command.pos, time.monotonic())

    def turn(self) -> None:
        """Reads text, takes one step if one is due, emits. Waits only while no step is."""
        self.publish()
        if not self._mouths:
            self.pause(IDLE_BLOCK_MS / 1e3)
            return
        due, wait_s = self._due()
        if wait_s > 0:
            self._wait(min(wait_s, IDLE_BLOCK_MS / 1e3))
            due, _ = self._due()
        if due:  # what was written by now is spoken with this step; it may also end a seat, or begin another
            self._read_text([mouth for mouth in self._mouths.values() if not mouth.text_done], 0)
            due, _ = self._due()
        if due and not self.outbox.full:
            self._step(due)
            self.publish()

    def _due(self) -> tuple[dict[Slot, Mouth], float]:
        """Who takes part in a step that is due now; if nobody, the seconds until one may be.

        A reply in a hurry makes all step that want to, or itself alone if it is only to be seen whether its engine has
        got something for it by now. More of them than one step takes make the steps follow each other; where nobody's
        engine had anything, it is asked again after a beat.
        """
        now = time.monotonic()
        wanted, hurried = self._wanting(now)
        if not wanted:
            return wanted, IDLE_BLOCK_MS / 1e3
        calm_s = self._all_stepped_at + self._calm_s - now
        beat_s = self._stepped_at + BEAT_S - now
        if calm_s <= 0 or len(wanted) > self._batcher.batch:
            if beat_s > 0 and all(self._batcher.is_dry(slot, now) for slot in wanted):
                return {}, beat_s
            return wanted, 0.0
        if not hurried or beat_s > 0:
            return {}, min(beat_s, calm_s) if hurried else calm_s
        if all(self._batcher.is_dry(slot, now) for slot in hurried):
            return {slot: wanted[slot] for slot in hurried}, 0.0
        return wanted, 0.0

    def _wanting(self, now: float) -> tuple[dict[Slot, Mouth], list[Slot]]:
        """Who has something to say and is not far enough ahead; and which of them are in a hurry."""
        wanted: dict[Slot, Mouth] = {}
        hurried: list[Slot] = []
        for slot, mouth in self._mouths.items():
            playback = mouth.playback
            if mouth.has_text and playback.made_to - playback.heard_to < self._ahead_samples:
                wanted[slot] = mouth
                if playback.ends_s < now + HURRY_S:
                    hurried.append(slot)
        return wanted, hurried

    def _step(self, mouths: dict[Slot, Mouth]) -> None:
        """One step of the engine for those of them who are served first."""
        began = self._stepped_at = time.monotonic()
        chosen = self._batcher.choose({slot: of.playback.ends_s for slot, of in mouths.items()}, began)
        self.laps.lap("choose")
        frames = self._engine.step(chosen)
        self.laps.lap("step")
        now = time.monotonic()
        self._batcher.stepped(chosen, frames, now)
        if frames:
            self._all_stepped_at = began
            self._steps.stepped(now - began, len(frames))
            self._say_all([(mouths[slot], frame) for slot, frame in frames.items()])
        self.shed(self._engine.faults())

    def _wait(self, wait_s: float) -> None:
        """Until a step may be due. The first words of a reply end it; those of others can wait for the step."""
        if mute := [mouth for mouth in self._mouths.values() if not mouth.has_text]:
            self._read_text(mute, max(1, round(wait_s * 1e3)))
        else:
            self.pause(wait_s)

    def _read_text(self, mouths: Sequence[Mouth], block_ms: int) -> None:
        if not mouths:
            return
        hungry = {keys.replay("llm", mouth.sid, mouth.lease.reply): mouth for mouth in mouths}
        self.laps.lap("hand_over")
        news = self._reader.read({key: mouth.cursor for key, mouth in hungry.items()}, block_ms)
        self.laps.lap("wait" if block_ms else "read")
        for key, entries in news:
            mouth = hungry[key]
            for entry_id, data in entries:
                mouth.cursor = entry_id
                if self._mouths.get(mouth.slot) is not mouth:
                    break
                self._hear(mouth, data)
        self.laps.lap("read")

    def _hear(self, mouth: Mouth, data: bytes) -> None:
        """One result of the writer; what is wrong with it is not the others'."""
        try:
            self._take(mouth, decode_result(data).body)
        except (DeviceLost, RedisError):
            raise
        except Exception as error:
            log.error("text of a reply could not be taken: %s", type(error).__name__, extra=mouth.about)
            self.outbox.add(mouth, Failed("text_failed", type(error).__name__))
            self.leave(mouth, done=True)

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
                self._feed(mouth, Say(fresh, pause=body.filler))
        elif isinstance(body, Consulting):
            if mouth.words > mouth.first_word:  # what was said is not to wait for what follows
                self._feed(mouth, Say(pause=True))
        elif isinstance(body, TextDone | Failed):
            mouth.text_done = True
            self._feed(mouth, Say((), last=True))

    def _feed(self, mouth: Mouth, say: Say) -> None:
        if mouth.first_word_at is None and say.words:
            mouth.first_word_at = time.monotonic()
            mouth.playback.ends_s = mouth.first_word_at + FIRST_AUDIO_S
            mouth.mark("first_word")
        if say.words:
            mouth.speaking.told()
        mouth.has_text = True
        self._engine.feed(mouth.slot, say)
        self._batcher.fed(mouth.slot)

    def _say_all(self, said: Sequence[tuple[Mouth, SpeechFrame]]) -> None:
        """Encodes all frames of a step, then hands each over."""
        self.laps.lap("hand_over")
        jobs = [partial(_encoded, mouth.encoder, frame) for mouth, frame in said]
        slow = any(mouth.encoder is not None and mouth.encoder.slow for mouth, _ in said)
        coded, cpu_s = self._choir.code(jobs, slow=slow)
        self.laps.add_cpu("codec", cpu_s)
        self.laps.lap("codec")
        now = time.monotonic()
        unmute_metrics.tts_recv_words.inc(sum(len(frame.words) for _, frame in said))
        for (mouth, frame), packets in zip(said, coded, strict=True):
            self._say(mouth, frame, packets, now)

    def _say(self, mouth: Mouth, frame: SpeechFrame, packets: list[bytes], now: float) -> None:
        made = mouth.playback.made_to
        if made == mouth.base and len(frame.pcm):
            mouth.speaking.first_audio(now)
            mouth.mark("first_audio")
        if packets or frame.words:
            samples = len(packets) * PACKET_SAMPLES
            words = [
                SpokenWord(number, mouth.base + start, mouth.base + stop)
                for number, start, stop in frame.words
            ]
            spoken_to = mouth.base + frame.spoken_to
            self.outbox.add(mouth, Speech(made, samples, packets, words, frame.spoken, spoken_to))
            mouth.playback.make(samples, now)
        if frame.last or mouth.in_hand >= self._ahead_samples:
            mouth.speaking.kept_up(mouth.playback.made_to - mouth.base, now)
        if frame.last:
            self.outbox.add(mouth, SpeechDone(mouth.playback.made_to))
            self.leave(mouth, done=True)


def _encoded(coder: Encoder | None, frame: SpeechFrame) -> list[bytes]:
    assert coder is not None
    packets = coder.encode(frame.pcm)
    return packets + coder.flush() if frame.last else packets
