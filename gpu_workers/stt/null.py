"""Fake speech-to-text: energy is voice, time makes words. For plumbing tests and load figures, never for people."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE
from gpu_workers.engine import ListenOptions, Needs, Pcm, Slot, SttFact, Tuning
from gpu_workers.null_faults import Faults, Mishaps
from gpu_workers.null_timing import heard_word


class Settings(BaseModel, frozen=True):
    """Timings of the fake model."""

    frame_samples: int = Field(1920, gt=0)
    """Audio of one step: 1920 are 80 ms, as of Kyutai's models. Half of it: twice the steps for the same audio, and
    everything is known up to 40 ms sooner."""
    energy_rms: float = Field(0.01, gt=0)
    """Louder frames are voice."""
    words_per_s: float = Field(2.5, gt=0)
    """Words it makes of a second of voice, 150 a minute. More of them: more transcripts to store and send."""
    pause_after_s: float = Field(0.3, gt=0)
    """Silence after which the pause is surely the end."""
    p_end: float = Field(0.98, ge=0, le=1)
    """What it says then of the turn's end. Below `turn.sure_p_end` the turn ends after a longer wait."""
    batch: int | None = Field(None, gt=0)
    """Most slots of one step; None: all."""
    step_fixed_ms: float = Field(0.0, ge=0)
    """Time of one step, as a GPU would take it."""
    step_per_slot_ms: float = Field(0.0, ge=0)
    """And for each session in it: so that a fuller batch takes longer, as a real one does."""
    fails: Faults = Faults()  # type: ignore[call-arg]
    asks: Needs = Needs()
    """What it says that it needs of the machine."""


@dataclass
class _Listener:
    at: int
    start: int | None = None
    voiced: int = 0
    silent: int = 0
    voice_to: int = 0
    said: list[str] = field(default_factory=list)
    pending: list[SttFact] = field(default_factory=list)


class NullStt:
    """One frame, one energy; a word for each 0.4 s of voice."""

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self.batch = settings.batch or slots
        self.frame_samples = settings.frame_samples
        self._settings = settings
        self._open: dict[Slot, _Listener] = {}
        self._mishaps = Mishaps(settings.fails)

    def warm_up(self) -> None:
        """Nothing to load; only what was asked for happens."""
        self._mishaps.warm_up()

    def open(self, slot: Slot, options: ListenOptions) -> None:
        """Starts listening at the given session sample."""
        self._mishaps.open()
        self._open[slot] = _Listener(options.start)

    def step(self, frames: Mapping[Slot, Pcm]) -> Mapping[Slot, Sequence[SttFact]]:
        """Sleeps as long as the model would, then looks at the energies."""
        self._mishaps.step(frames)
        if frames:
            time.sleep((self._settings.step_fixed_ms + self._settings.step_per_slot_ms * len(frames)) / 1e3)
        for slot, frame in frames.items():
            self._hear(self._open[slot], frame)
        facts = {slot: listener.pending for slot, listener in self._open.items() if listener.pending}
        for slot in facts:
            self._open[slot].pending = []
        return facts

    def _hear(self, listener: _Listener, frame: Pcm) -> None:
        rms = float(frame @ frame / len(frame)) ** 0.5
        begin, listener.at = listener.at, listener.at + len(frame)
        if rms > self._settings.energy_rms:
            self._hear_voice(listener, begin)
        elif listener.start is not None:
            self._hear_silence(listener)

    def _hear_voice(self, listener: _Listener, begin: int) -> None:
        if listener.start is None:
            listener.start, listener.voiced, listener.said = begin, 0, []
        if listener.voiced == 0 or listener.silent:
            listener.pending.append(VoiceStarted(begin))
        listener.silent = 0
        listener.voiced += self.frame_samples
        listener.voice_to = listener.at
        if int(listener.voiced / SAMPLE_RATE * self._settings.words_per_s + 1e-6) > len(listener.said):
            listener.said.append(heard_word(len(listener.said)))
            listener.pending.append(self._transcript(listener))

    def _hear_silence(self, listener: _Listener) -> None:
        if not listener.silent:
            listener.pending.append(VoiceEnded(listener.voice_to))
        listener.silent += self.frame_samples
        enough = self._settings.pause_after_s * SAMPLE_RATE
        if listener.silent >= enough > listener.silent - self.frame_samples:
            listener.pending.append(self._transcript(listener, settled=True))
            silent_ms = listener.silent * 1000 // SAMPLE_RATE
            listener.pending.append(Pause(listener.voice_to, silent_ms, self._settings.p_end))

    def _transcript(self, listener: _Listener, *, settled: bool = False, final: bool = False) -> Transcript:
        start = listener.at if listener.start is None else listener.start
        return Transcript(" ".join(listener.said), start, max(start, listener.voice_to), settled, final)

    def commit(self, slot: Slot, at: int) -> None:
        """Closes the utterance."""
        listener = self._open[slot]
        listener.pending.append(self._transcript(listener, settled=True, final=True))
        self._forget(listener)

    def clear(self, slot: Slot, at: int) -> None:
        """Forgets the utterance."""
        self._forget(self._open[slot])

    def retune(self, slot: Slot, tuning: Tuning) -> None:
        """Energy is voice, whatever the threshold for probabilities."""

    @staticmethod
    def _forget(listener: _Listener) -> None:
        listener.start, listener.voiced, listener.silent, listener.said = None, 0, 0, []

    def mark(self, slot: Slot) -> int:
        """The open utterance's start, or now."""
        listener = self._open[slot]
        return listener.at if listener.start is None else listener.start

    def faults(self) -> Mapping[Slot, str]:
        """Only those that were asked for."""
        return self._mishaps.faults()

    def close(self, slot: Slot) -> None:
        """Forgets the slot."""
        self._open.pop(slot, None)


def needs(settings: Settings, slots: int) -> Needs:
    """As it was told to say."""
    return settings.asks


def build(settings: Settings, slots: int) -> NullStt:
    """The engine."""
    return NullStt(settings, slots)
