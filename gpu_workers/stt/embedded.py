"""Speech-to-text on a few CPU cores: Silero, Smart Turn and Moonshine. English only.

The loop's thread listens for voice and nothing else; decodes and judgements run on threads of their own, so that a slow
one of one slot never delays voice detection of another.
"""

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, Field

from config.errors import ConfigError
from gpu_workers.downsample import Downsampler
from gpu_workers.endpoint.listener import Decode, Judge, Listener, Rules
from gpu_workers.endpoint.offset import Offset
from gpu_workers.endpoint.silero import FRAME, SileroVad
from gpu_workers.endpoint.smart_turn import WINDOW, SmartTurn
from gpu_workers.engine import ListenOptions, Pcm, Slot, SttFact, Tuning
from gpu_workers.moonshine import Abandoned, Moonshine, never
from gpu_workers.workers import Pool, Workers

log = logging.getLogger(__name__)

#: How much a new decode's duration counts in the running mean.
DECODE_MEAN_WEIGHT = 0.2


class Settings(BaseModel, frozen=True):
    """How it listens, and how much of the machine it takes."""

    listening: Rules = Rules()  # type: ignore[call-arg]
    moonshine: Path | None = None
    """A folder with a Moonshine model: `models:moonshine-base` has 61 M parameters, and by its publisher's figures
    makes fewer errors. None: the tiny one, of 27 M."""
    partial_ms: int = Field(500, gt=0)
    """Shortest interval between partials of a slot."""
    partial_load: float = Field(4.0, ge=0)
    """Interval between partials in times of what decodes took lately, for each voice that sounds."""
    decode_workers: int = Field(2, gt=0)
    """Decodes at a time; partials leave one of them to finals."""
    decode_threads: int = Field(1, gt=0)
    """Threads of one decode. Two gain next to nothing on this model."""
    judge_threads: int = Field(1, gt=0)
    """Threads of an end-of-turn judgement."""
    vad_threads: int = Field(1, gt=0)
    """Threads of voice detection, which takes 0.1 ms."""


class Recogniser(Protocol):
    """Makes words of an utterance; called from as many threads at once as there are decode workers."""

    def recognise(self, pcm: Pcm, abandoned: Callable[[], bool] = never) -> tuple[str, float]:
        """The words in `pcm` (16 kHz, any length), and how sure they are, from 0 to 1.

        Raises Abandoned where `abandoned` says so before they are known; how soon is the recogniser's affair.
        """
        ...


#: What a thread found out.
Found = tuple[Slot, Listener, Decode | Judge, tuple[str, float] | float | None]


@dataclass(frozen=True)
class Parts:
    """Models, those who run them, and the clock: a bench in virtual time hands in its own."""

    vad: SileroVad
    smart_turn: SmartTurn
    recogniser: Recogniser
    decoders: Pool
    judges: Pool
    results: "queue.SimpleQueue[Found]" = field(default_factory=queue.SimpleQueue)
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def real(cls, settings: Settings, slots: int, recogniser: Recogniser) -> "Parts":
        """The models, loaded, and threads that wait to be started."""
        return cls(
            vad=SileroVad(slots, settings.vad_threads),
            smart_turn=SmartTurn(settings.judge_threads),
            recogniser=recogniser,
            decoders=Workers("stt-decode", settings.decode_workers),
            judges=Workers("stt-judge", 1),
        )


class EmbeddedStt:
    """One Listener for each slot, one set of models for all."""

    frame_samples = FRAME * 3 // 2

    def __init__(self, settings: Settings, slots: int, parts: Parts) -> None:
        self.slots = slots
        self.batch = slots
        self._settings = settings
        self._offset = Offset(slots)
        self._downsampler = Downsampler(slots)
        self._vad = parts.vad
        self._smart_turn = parts.smart_turn
        self._recogniser = parts.recogniser
        self._decoders = parts.decoders
        self._judges = parts.judges
        self._results = parts.results
        self._clock = parts.clock
        self._listeners: dict[Slot, Listener] = {}
        self._decoding = 0
        self._decode_s = 0.1

    def warm_up(self) -> None:
        """Runs each model once, on as much as it will get, and starts the threads."""
        noise = np.random.default_rng(0).normal(0, 1e-3, WINDOW).astype(np.float32)
        self._vad.probabilities({slot: noise[:FRAME] for slot in range(self.slots)})
        self._smart_turn.p_end(noise)
        self._recogniser.recognise(noise)
        self._decoders.start()
        self._judges.start()

    def open(self, slot: Slot, options: ListenOptions) -> None:
        """Listens from `options.start` on. ConfigError for a language other than English."""
        if options.language.partition("-")[0] != "en":
            raise ConfigError(f"the embedded speech-to-text understands English, not {options.language!r}")
        self._offset.reset(slot)
        self._downsampler.reset(slot)
        self._vad.reset(slot)
        self._listeners[slot] = Listener(self._settings.listening.tuned(options.tuning), options.start)

    def retune(self, slot: Slot, tuning: Tuning) -> None:
        """Takes a threshold for voice and a pre-roll; None: as set up."""
        self._listeners[slot].retune(self._settings.listening.tuned(tuning))

    def step(self, frames: Mapping[Slot, Pcm]) -> Mapping[Slot, Sequence[SttFact]]:
        """Frames of (768,), 32 ms."""
        clean = {slot: self._offset.remove(slot, _clean(frame)) for slot, frame in frames.items()}
        pcm = self._downsampler.convert(clean)
        partial_ms = self._partial_ms()
        for slot, probability in self._vad.probabilities(pcm).items():
            self._listeners[slot].hear(pcm[slot], probability, partial_ms)
        self._collect()
        facts: dict[Slot, Sequence[SttFact]] = {}
        for slot, listener in self._listeners.items():
            self._send_off(slot, listener)
            if listener.facts:
                facts[slot], listener.facts = listener.facts, []
        return facts

    def _partial_ms(self) -> int | None:
        """The interval between partials just now; None when the decoders have better to do."""
        if self._decoding >= max(1, self._decoders.size - 1):
            return None
        voices = sum(listener.voice for listener in self._listeners.values())
        load_ms = self._settings.partial_load * self._decode_s * 1e3 * voices
        return max(self._settings.partial_ms, int(load_ms))

    def _send_off(self, slot: Slot, listener: Listener) -> None:
        for wanted in listener.wanted:
            if isinstance(wanted, Judge):
                self._judges.submit(0, partial(self._judge, slot, listener, wanted))
            else:
                self._decoding += 1
                self._decoders.submit(wanted.rank, partial(self._decode, slot, listener, wanted))
        listener.wanted.clear()

    def _collect(self) -> None:
        while not self._results.empty():
            slot, listener, wanted, result = self._results.get()
            if isinstance(wanted, Decode):
                self._decoding -= 1
            if self._listeners.get(slot) is not listener:
                continue
            if isinstance(wanted, Judge):
                if isinstance(result, float):
                    listener.judged(wanted, result)
            else:
                listener.decoded(wanted, *(result if isinstance(result, tuple) else (None,)))

    def _decode(self, slot: Slot, listener: Listener, wanted: Decode) -> None:
        """On a thread: a result follows, whatever happens."""
        understood = None
        began = self._clock()
        try:
            stale = partial(self._stale, slot, listener, wanted)
            understood = ("", 1.0) if stale() else self._recogniser.recognise(wanted.pcm, stale)
            took = self._clock() - began
            self._decode_s += DECODE_MEAN_WEIGHT * (took - self._decode_s)
        except Abandoned:
            pass
        except Exception:
            log.exception("a decode of %d samples failed", len(wanted.pcm))
        finally:
            self._results.put((slot, listener, wanted, understood))

    def _stale(self, slot: Slot, listener: Listener, wanted: Decode | Judge) -> bool:
        return wanted.abandoned or self._listeners.get(slot) is not listener

    def _judge(self, slot: Slot, listener: Listener, wanted: Judge) -> None:
        p_end = None
        try:
            if not self._stale(slot, listener, wanted):
                p_end = self._smart_turn.p_end(wanted.pcm)
        finally:
            self._results.put((slot, listener, wanted, p_end))

    def commit(self, slot: Slot, at: int) -> None:
        """Closes the utterance; its final Transcript comes from a later step."""
        self._listeners[slot].commit(at)

    def clear(self, slot: Slot, at: int) -> None:
        """Forgets the utterance."""
        self._listeners[slot].clear(at)

    def mark(self, slot: Slot) -> int:
        """The start of the oldest utterance that is not done, or a little before now."""
        return self._listeners[slot].mark

    def faults(self) -> Mapping[Slot, str]:
        """None: a decode that fails costs its own result alone."""
        return {}

    def close(self, slot: Slot) -> None:
        """Forgets the slot; what runs for it stops soon."""
        self._listeners.pop(slot, None)


def _clean(frame: Pcm) -> Pcm:
    """The frame without what is no sound: a single NaN would stay in the detector's state for ever."""
    if np.isfinite(frame).all():
        return np.clip(frame, -1.0, 1.0)
    return np.clip(np.nan_to_num(frame, posinf=0.0, neginf=0.0), -1.0, 1.0)


def build(settings: Settings, slots: int) -> EmbeddedStt:
    """The engine."""
    recogniser = Moonshine(settings.decode_threads, settings.moonshine)
    return EmbeddedStt(settings, slots, Parts.real(settings, slots, recogniser))
