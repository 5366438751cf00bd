"""The STT loop: all sessions' input streams, decoded and stepped in one batch, out as facts."""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np

from config import metrics, unmute_metrics
from config import redis_keys as keys
from config.messages import Audio, Clear, Commit, End, InEntry, Listen, Retune, Transcript, decode_in
from config.settings import SAMPLE_RATE
from gpu_workers.batcher import Batcher, due
from gpu_workers.engine import ListenOptions, Pcm, Slot, SttEngine, SttFact, Tuning
from tasks import streams
from tasks.codec import Choir, Decoder, decoder
from tasks.leases import Emitter
from tasks.loop import Loop
from tasks.loop_metrics import Hearing, StepMetrics
from tasks.seat import Seat
from tasks.shared_time import shared_time

log = logging.getLogger(__name__)

#: The shortest beat: packets of many sessions meet in one step. It grows with the number of sessions, for a turn costs
#: as much for one frame as for ten: at 128 sessions this is a fifth of them in hand at once.
BEAT_S, BEAT_PER_SEAT_S, LONG_BEAT_S = 0.004, 0.000_08, 0.010

#: Steps begin no sooner than so many of their own lengths after one another: they are fuller, and most of the device's
#: time is left to other stages. 3 would make p95 of a frame's wait 25 ms with a step of 8 ms.
BEAT_STEPS = 2.5

#: But nobody waits longer than this for company, in frames, so that everybody's frames keep up.
LONGEST_BEAT_FRAMES = 0.5

#: Longest wait for input; new seats join after it.
BLOCK_MS = 20

#: A hole in the input longer than this is not filled with silence: the session slept.
MAX_HOLE_SAMPLES = 2 * SAMPLE_RATE

#: Steps of one turn begin within this time; then new input is read, so that nobody waits for another's catch-up.
TURN_S = 0.020


#: About so many frames of a step are measured, spread evenly over those that waited long and those that did not:
#: measuring each of 64 would be a tenth of what the loop costs.
OBSERVED = 8

#: Samples, when the web had the last of them (unix time), and by when they want to be stepped (our own clock).
Frame = tuple[Pcm, float, float]


@dataclass(eq=False)
class Ear(Seat):
    """A seat that listens. Frames and marks wait in `todo` in the order of the stream."""

    listen: Listen = field(default_factory=lambda: Listen("pcm16"))
    heard: int = 0
    """Session sample after the last one taken from the stream."""
    decoder: Decoder | None = None
    rest: Pcm = field(default_factory=lambda: np.zeros(0, np.float32))
    due_s: float = 0.0
    """Deadline of the newest frame."""
    todo: deque[Frame | Commit | Clear | Retune] = field(default_factory=deque)
    committed: int = 0
    """Session sample of the newest commit or clear; the web may repeat older ones after a failure."""
    closing: deque[int] = field(default_factory=deque)
    """Commits whose final transcript is still to come."""
    closed: int = 0
    """Session sample up to which everything was told: a successor neither listens to it nor commits it again."""
    ended: bool = False
    skipped: int = 0
    """Samples that nobody sent: the session slept."""
    hearing: Hearing = field(default_factory=Hearing)

    def options(self, start: int) -> ListenOptions:
        """How its slot is to listen from `start` on."""
        return ListenOptions(
            start, self.listen.language, Tuning(self.listen.threshold, self.listen.prefix_ms)
        )

    def decoder_of(self, entry: Audio) -> Decoder:
        """What came in a new format begins a stream of its own."""
        form = entry.format or self.listen.format
        if self.decoder is None or form != self.listen.format:
            self.listen = msgspec.structs.replace(self.listen, format=form)
            self.decoder = decoder(form)
        return self.decoder

    def retune(self, entry: Retune) -> Tuning:
        """Remembers how to listen from now on."""
        self.listen = msgspec.structs.replace(
            self.listen, threshold=entry.threshold, prefix_ms=entry.prefix_ms
        )
        return Tuning(entry.threshold, entry.prefix_ms)


class SttLoop(Loop):
    """Reads every `in:` stream at once."""

    stage = "stt"

    def __init__(self, engine: SttEngine, media: streams.Client, emitter: Emitter, slots: int) -> None:
        super().__init__(emitter, slots)
        self._engine = engine
        self._reader = streams.Reader(media)
        self._batcher = Batcher(engine.batch)
        self._choir = Choir()
        self._ears: dict[str, Ear] = {}
        self._by_slot: dict[Slot, Ear] = {}
        self._cursors: dict[str, str] = {}
        self._busy: dict[Slot, Ear] = {}
        self._steps = StepMetrics(self.stage)
        self._unanswered: dict[Slot, float] = {}
        """When the first frame of each session was received (unix time), until the engine answers for it."""
        self._frame_s = engine.frame_samples / SAMPLE_RATE
        self._next_beat = 0.0

    def begin(self, seat: Seat) -> None:
        """Opens the slot where a predecessor stopped, if there was one."""
        assert isinstance(seat, Ear)
        seat.heard = seat.resume_at
        seat.due_s = time.monotonic() - self._frame_s
        key = keys.audio_in(seat.sid)
        self._ears[key], self._cursors[key], self._by_slot[seat.slot] = seat, "0", seat
        seat.decoder = decoder(seat.listen.format)
        self._unanswered[seat.slot] = shared_time.now_s()
        self._engine.open(seat.slot, seat.options(seat.resume_at))

    def end(self, seat: Seat) -> None:
        """Closes the slot."""
        for known in (self._ears, self._cursors):
            known.pop(keys.audio_in(seat.sid), None)
        for slots in (self._busy, self._by_slot):
            slots.pop(seat.slot, None)
        self._unanswered.pop(seat.slot, None)
        if isinstance(seat, Ear):
            seat.hearing.over(seat.heard - seat.resume_at - seat.skipped)
        self._engine.close(seat.slot)

    def turn(self) -> None:
        """Reads, steps until nothing waits or others may, emits."""
        self.publish()
        if self.draining:
            for seat in list(self.seats.values()):
                self.leave(seat, done=False)
        if not self._ears:
            self.pause(BLOCK_MS / 1e3)
            return
        if not self._busy:
            self.pause(self._next_beat - time.monotonic())
        self._hear(self._read(0 if self._busy else BLOCK_MS))
        began = time.monotonic()
        self._step_all(began + TURN_S)
        self._rest(began)
        self.publish()

    def _rest(self, began: float) -> None:
        """Says when the next beat is."""
        took_s = time.monotonic() - began
        shortest_s = min(LONG_BEAT_S, max(BEAT_S, BEAT_PER_SEAT_S * len(self._ears)))
        self._next_beat = began + max(
            shortest_s, min(LONGEST_BEAT_FRAMES * self._frame_s, BEAT_STEPS * took_s)
        )

    def _read(self, block_ms: int) -> list[tuple[Ear, list[InEntry]]]:
        """What came since; an entry that does not fit its struct costs itself alone."""
        self.laps.lap("hand_over")
        news = self._reader.read(self._cursors, block_ms)
        self.laps.lap("wait" if block_ms else "read")
        read: list[tuple[Ear, list[InEntry]]] = []
        for key, entries in news:
            self._cursors[key] = entries[-1][0]
            read.append((self._ears[key], [item for item in map(_parsed, entries) if item is not None]))
        for key in self._reader.outrun(self._cursors):
            self._cursors[key] = "0"  # what was heard already is known by its position
        self.laps.lap("read")
        return read

    def _hear(self, news: Sequence[tuple[Ear, list[InEntry]]]) -> None:
        """Takes entries, all audio decoded at once."""
        self.laps.lap("hand_over")
        slow = any(ear.decoder is not None and ear.decoder.slow for ear, _ in news)
        sounds, cpu_s = self._choir.code([partial(_decoded, *of) for of in news], slow=slow)
        self.laps.add_cpu("codec", cpu_s)
        self.laps.lap("codec")
        now = time.monotonic()
        for (ear, entries), pcms in zip(news, sounds, strict=True):
            for entry, pcm in zip(entries, pcms, strict=True):
                self._take(ear, entry, pcm, now)
            if ear.todo or ear.ended:
                self._busy[ear.slot] = ear
        self.laps.lap("hand_over")

    def _take(self, ear: Ear, entry: InEntry, pcm: Pcm, now: float) -> None:
        match entry:
            case Audio():
                self._take_audio(ear, entry, pcm, now)
            case Commit(pos=pos) | Clear(pos=pos):
                if pos > max(ear.resume_at, ear.committed):
                    ear.committed = pos
                    ear.todo.append(entry)
            case Retune():
                ear.todo.append(entry)
            case End():
                ear.ended = True

    def _take_audio(self, ear: Ear, audio: Audio, pcm: Pcm, now: float) -> None:
        """Takes sound in order; drops what was heard already and fills short holes, so that positions stay true."""
        hole = audio.pos - ear.heard
        if hole < 0:
            pcm = pcm[-hole:]
        elif 0 < hole <= MAX_HOLE_SAMPLES:
            pcm = np.concatenate([np.zeros(hole, np.float32), pcm])
        elif hole:
            self._restart(ear, audio.pos)
        if not len(pcm):
            return
        ear.heard += len(pcm)
        joined = np.concatenate([ear.rest, pcm]) if len(ear.rest) else pcm
        size = self._engine.frame_samples
        whole = len(joined) // size * size
        for at in range(0, whole, size):
            ear.due_s = due(now, ear.due_s, self._frame_s)
            ear.todo.append((joined[at : at + size], audio.received, ear.due_s))
        ear.rest = joined[whole:]

    def _restart(self, ear: Ear, pos: int) -> None:
        """The session slept: listen anew from where it goes on."""
        ear.skipped += pos - ear.heard
        ear.heard, ear.rest = pos, ear.rest[:0]
        for item in ear.todo:
            if isinstance(item, Retune):
                ear.retune(item)
        ear.todo.clear()
        ear.closing.clear()  # the engine forgets what it was to close
        self._engine.open(ear.slot, ear.options(pos))

    def _step_all(self, until: float) -> None:
        while True:
            frames = self._next_frames()
            self.laps.lap("choose")
            began = time.monotonic()
            facts = self._engine.step(frames)
            self.laps.lap("step")
            if frames:
                self._steps.stepped(time.monotonic() - began, len(frames))
                if self._unanswered:
                    self._note_answers(frames)
            for slot, said in facts.items():
                if (ear := self._by_slot.get(slot)) is not None:
                    self._tell(ear, said)
            self._forget_idle()
            if faults := self._engine.faults():
                self.shed(faults)
                return
            if not self._busy or self.outbox.full or time.monotonic() > until:
                return

    def _note_answers(self, frames: Mapping[Slot, Pcm]) -> None:
        now = shared_time.now_s()
        for slot in self._unanswered.keys() & frames.keys():
            unmute_metrics.stt_ttft.observe(max(0.0, now - self._unanswered.pop(slot)))

    def _forget_idle(self) -> None:
        """Ears that have nothing left to do are not looked at until something comes; those that ended leave."""
        for slot, ear in list(self._busy.items()):
            if not ear.todo:
                del self._busy[slot]
                if ear.ended:
                    self.leave(ear, done=True)

    def _tell(self, ear: Ear, facts: Sequence[SttFact]) -> None:
        for fact in facts:
            if isinstance(fact, Transcript) and fact.final:
                ear.hearing.understood(fact.text)
                if ear.closing:
                    ear.closed = ear.closing.popleft()
            self.outbox.add(ear, fact, mark=max(self._engine.mark(ear.slot), ear.closed))

    def _next_frames(self) -> dict[Slot, Pcm]:
        """The most urgent frames that one step takes; whatever stands before a frame is done at once."""
        waiting: dict[Slot, deque[Frame | Commit | Clear | Retune]] = {}
        deadlines: dict[Slot, float] = {}
        for ear in self._busy.values():
            todo = ear.todo
            while todo:
                item = todo[0]
                if isinstance(item, tuple):
                    waiting[ear.slot], deadlines[ear.slot] = todo, item[2]
                    break
                todo.popleft()
                self._obey(ear, item)
        frames: dict[Slot, Pcm] = {}
        received: list[float] = []
        for slot in self._batcher.choose(deadlines, time.monotonic()):
            frame = waiting[slot].popleft()
            assert isinstance(frame, tuple)
            frames[slot] = frame[0]
            received.append(frame[1])
            if slot in self._unanswered:
                self._unanswered[slot] = max(self._unanswered[slot], frame[1])
        now = shared_time.now_s()
        for at in received[:: 1 + len(received) // OBSERVED]:
            metrics.frame_wait.observe(max(0.0, now - at))
        return frames

    def _obey(self, ear: Ear, entry: Commit | Clear | Retune) -> None:
        match entry:
            case Commit(pos=pos):
                ear.closing.append(pos)
                self._engine.commit(ear.slot, pos)
            case Clear(pos=pos):
                self._engine.clear(ear.slot, pos)
            case Retune():
                self._engine.retune(ear.slot, ear.retune(entry))


def _parsed(entry: streams.Entry) -> InEntry | None:
    try:
        known: InEntry = decode_in(entry[1])
        return known
    except msgspec.DecodeError:
        log.warning("an input entry could not be read")
        return None


def _decoded(ear: Ear, entries: Sequence[InEntry]) -> list[Pcm]:
    """The sound of each entry; of those that have none, nothing."""
    sounds = []
    for entry in entries:
        pcms: list[Pcm] = []
        if isinstance(entry, Audio):
            decode = ear.decoder_of(entry).decode
            pcms = [decode(packet) for packet in entry.packets]
        sounds.append(pcms[0] if len(pcms) == 1 else np.concatenate([ear.rest[:0], *pcms]))
    return sounds
