"""The STT loop: all sessions' input streams, decoded and stepped in one batch, out as facts."""

import logging
import time
from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np

from config import metrics
from config import redis_keys as keys
from config.messages import Audio, Clear, Commit, End, InEntry, Listen, Retune, Transcript, decode_in
from config.settings import SAMPLE_RATE
from gpu_workers.engine import ListenOptions, Pcm, SttEngine, Tuning
from tasks import streams
from tasks.codec import Decoder, decoder
from tasks.leases import Emitter
from tasks.loop import Loop, Seat

log = logging.getLogger(__name__)

#: The loop sleeps to this beat, so that packets of many sessions meet in one step.
BEAT_S = 0.004

#: Longest wait for input; new seats join after it.
BLOCK_MS = 20

#: A hole in the input longer than this is not filled with silence: the session slept.
MAX_HOLE_SAMPLES = 2 * SAMPLE_RATE

#: Frames of one seat worked off in one turn, so that a catch-up delays nobody's lease.
MAX_STEPS_PER_TURN = 64


@dataclass(eq=False)
class Ear(Seat):
    """A seat that listens. Frames and marks wait in `todo` in the order of the stream."""

    listen: Listen = field(default_factory=lambda: Listen("pcm16"))
    cursor: str = "0"
    heard: int = 0
    """Session sample after the last one taken from the stream."""
    decoder: Decoder | None = None
    rest: Pcm = field(default_factory=lambda: np.zeros(0, np.float32))
    todo: deque[tuple[Pcm, float] | Commit | Clear | Retune] = field(default_factory=deque)
    committed: int = 0
    """Session sample of the newest commit or clear; the web may repeat older ones after a failure."""
    closing: deque[int] = field(default_factory=deque)
    """Commits whose final transcript is still to come."""
    closed: int = 0
    """Session sample up to which everything was told: a successor neither listens to it nor commits it again."""
    ended: bool = False

    def options(self, start: int) -> ListenOptions:
        """How its slot is to listen from `start` on."""
        return ListenOptions(
            start, self.listen.language, Tuning(self.listen.threshold, self.listen.prefix_ms)
        )

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
        self._media = media
        self._next_beat = 0.0

    def begin(self, seat: Seat) -> None:
        """Opens the slot where a predecessor stopped, if there was one."""
        assert isinstance(seat, Ear)
        seat.heard = seat.resume_at
        seat.decoder = decoder(seat.listen.format)
        self._engine.open(seat.slot, seat.options(seat.resume_at))

    def end(self, seat: Seat) -> None:
        """Closes the slot."""
        self._engine.close(seat.slot)

    def turn(self) -> None:
        """Reads, steps until nothing waits, emits."""
        self.publish()
        if self.draining:
            for seat in list(self.seats.values()):
                self.leave(seat, done=False)
        if not self.seats:
            self.pause(BLOCK_MS / 1e3)
            return
        self.pause(self._next_beat - time.monotonic())
        ears = {keys.audio_in(seat.sid): seat for seat in self.seats.values() if isinstance(seat, Ear)}
        waiting = any(ear.todo for ear in ears.values())
        cursors = {key: ear.cursor for key, ear in ears.items()}
        self.laps.lap("hand_over")
        news = streams.read(self._media, cursors, 0 if waiting else BLOCK_MS)
        self.laps.lap("read" if waiting else "wait")
        for key, entries in news:
            for entry_id, data in entries:
                ears[key].cursor = entry_id
                self._read_entry(ears[key], data)
        self._next_beat = time.monotonic() + BEAT_S
        self._step_all(list(ears.values()))
        self.publish()
        for ear in ears.values():
            if ear.ended and not ear.todo:
                self.leave(ear, done=True)

    def _read_entry(self, ear: Ear, data: bytes) -> None:
        """An entry that does not fit its struct costs itself alone."""
        try:
            self._take(ear, decode_in(data))
        except msgspec.DecodeError:
            log.warning("an input entry could not be read")

    def _take(self, ear: Ear, entry: InEntry) -> None:
        match entry:
            case Audio():
                self._take_audio(ear, entry)
            case Commit(pos=pos) | Clear(pos=pos):
                if pos > max(ear.resume_at, ear.committed):
                    ear.committed = pos
                    ear.todo.append(entry)
            case Retune():
                ear.todo.append(entry)
            case End():
                ear.ended = True

    def _take_audio(self, ear: Ear, audio: Audio) -> None:
        """Decodes in order; drops what was heard already and fills short holes, so that positions stay true."""
        assert ear.decoder is not None
        self.laps.lap("hand_over")
        pcm = np.concatenate([ear.decoder.decode(packet) for packet in audio.packets] or [ear.rest[:0]])
        self.laps.lap("codec")
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
        joined = np.concatenate([ear.rest, pcm])
        size = self._engine.frame_samples
        whole = len(joined) // size * size
        ear.todo.extend((frame, audio.received) for frame in joined[:whole].reshape(-1, size))
        ear.rest = joined[whole:]

    def _restart(self, ear: Ear, pos: int) -> None:
        """The session slept: listen anew from where it goes on."""
        ear.heard, ear.rest = pos, ear.rest[:0]
        for item in ear.todo:
            if isinstance(item, Retune):
                ear.retune(item)
        ear.todo.clear()
        self._engine.open(ear.slot, ear.options(pos))

    def _step_all(self, ears: list[Ear]) -> None:
        for _ in range(MAX_STEPS_PER_TURN):
            frames = self._next_frames(ears)
            began = time.monotonic()
            self.laps.lap("choose")
            facts = self._engine.step(frames)
            self.laps.lap("step")
            if frames:
                metrics.step_seconds.labels(self.stage).observe(time.monotonic() - began)
                metrics.step_batch.labels(self.stage).observe(len(frames))
            for ear in ears:
                for fact in facts.get(ear.slot, ()):
                    if isinstance(fact, Transcript) and fact.final and ear.closing:
                        ear.closed = ear.closing.popleft()
                    self.outbox.add(ear, fact, mark=max(self._engine.mark(ear.slot), ear.closed))
            if faults := self._engine.faults():
                self.shed(faults)
                return
            if not any(ear.todo for ear in ears) or self.outbox.full:
                return

    def _next_frames(self, ears: list[Ear]) -> dict[int, Pcm]:
        frames: dict[int, Pcm] = {}
        now = time.time()
        for ear in ears:
            while ear.todo:
                item = ear.todo.popleft()
                if isinstance(item, tuple):
                    frames[ear.slot] = item[0]
                    metrics.frame_wait.observe(max(0.0, now - item[1]))
                    break
                self._obey(ear, item)
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
