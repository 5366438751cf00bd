"""Fake text-to-speech: a voiced hum of fixed length for each word, at a model's pace. Never for people."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, Field

from config.settings import SAMPLE_RATE
from gpu_workers.engine import Needs, Pcm, Say, Slot, SpeechFrame, VoiceOptions
from gpu_workers.null_faults import Faults, Mishaps

#: Fundamental of the hum: the middle of human voices, so that codecs and detectors treat it as speech.
HUM_HZ = 180.0


class Settings(BaseModel, frozen=True):
    """Timings of the fake model."""

    frame_samples: int = Field(1920, gt=0)
    """Audio of one step: 1920 are 80 ms, as Kyutai's models give it. Half of it: twice the steps and messages for the
    same audio."""
    first_audio_after_s: float = Field(0.05, ge=0)
    """From a word's arrival to its first frame, as a model's delay; all of it is part of every reply's start."""
    word_audio_s: float = Field(0.32, gt=0)
    """Hum for each word, in whole frames. Longer words make longer replies, and so more audio in a load test."""
    speed_x_realtime: float = Field(3.0, gt=0)
    """How much faster it makes audio than it plays. Below 1 every longer reply has gaps."""
    batch: int | None = Field(None, gt=0)
    """Most slots of one step; None: all."""
    step_fixed_ms: float = Field(0.0, ge=0)
    """Time of one step, as a GPU would take it."""
    step_per_slot_ms: float = Field(0.0, ge=0)
    """And for each reply in it: so that a fuller batch takes longer, as a real one does."""
    pitch_rise_hz_per_s: float = Field(0.0, ge=0)
    """So much higher the hum becomes in the course of a reply: who records it can tell which part of it was heard.
    0: all words sound the same."""
    fails: Faults = Faults()  # type: ignore[call-arg]
    asks: Needs = Needs()
    """What it says that it needs of the machine."""


@dataclass
class _Speaker:
    number: int
    due: float = 0.0
    waiting: list[float] = field(default_factory=list)
    frame_of_word: int = 0
    frames: int = 0
    told_last: bool = False


def _hum(samples: int) -> Pcm:
    t = np.arange(samples) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * k * HUM_HZ * t) / k for k in range(1, 16))
    return (0.25 * tone * (0.65 + 0.35 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def rising_hum(begin: int, samples: int, rise_hz_per_s: float) -> Pcm:
    """Of a reply, from a sample on: of five overtones, so that telephones carry it, and of one loudness."""
    t = (begin + np.arange(samples)) / SAMPLE_RATE
    turns = HUM_HZ * t + rise_hz_per_s * t * t / 2
    overtones = np.arange(1, 6)[:, None]
    tone = np.sum(np.sin(2 * np.pi * overtones * turns) / overtones, axis=0)
    return np.asarray(0.2 * tone, np.float32)


class NullTts:
    """Speaks `word_audio_s` of hum for each word."""

    def __init__(self, settings: Settings, slots: int) -> None:
        self.slots = slots
        self.batch = settings.batch or slots
        self.frame_samples = settings.frame_samples
        self._settings = settings
        self._frames_per_word = max(1, round(settings.word_audio_s * SAMPLE_RATE / settings.frame_samples))
        self._hum = _hum(self._frames_per_word * settings.frame_samples).reshape(-1, settings.frame_samples)
        self._open: dict[Slot, _Speaker] = {}
        self._mishaps = Mishaps(settings.fails)

    def warm_up(self) -> None:
        """Nothing to load; only what was asked for happens."""
        self._mishaps.warm_up()

    def voices(self) -> Sequence[str]:
        """One voice."""
        return ("null",)

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a reply; any voice sounds the same."""
        self._mishaps.open()
        self._open[slot] = _Speaker(options.first_word)

    def feed(self, slot: Slot, say: Say) -> None:
        """Queues words."""
        speaker = self._open[slot]
        now = time.monotonic()
        if not speaker.waiting and say.words:
            speaker.due = max(speaker.due, now + self._settings.first_audio_after_s)
        speaker.waiting.extend(now for _ in say.words)
        speaker.told_last = speaker.told_last or say.last

    def step(self, wanted: Sequence[Slot]) -> Mapping[Slot, SpeechFrame]:
        """A frame for each wanted slot whose time has come."""
        now = time.monotonic()
        ready = [slot for slot in wanted if self._ready(self._open[slot], now)]
        if ready:
            time.sleep((self._settings.step_fixed_ms + self._settings.step_per_slot_ms * len(ready)) / 1e3)
        lost = self._mishaps.step(ready)
        return {slot: self._frame(self._open[slot]) for slot in ready if slot != lost}

    def _ready(self, speaker: _Speaker, now: float) -> bool:
        if speaker.waiting:
            return speaker.due <= now
        return speaker.told_last

    def _frame(self, speaker: _Speaker) -> SpeechFrame:
        if not speaker.waiting:
            return SpeechFrame(
                np.zeros(0, np.float32), (), speaker.number, speaker.frames * self.frame_samples, last=True
            )
        begin = speaker.frames * self.frame_samples
        rise = self._settings.pitch_rise_hz_per_s
        hum = self._hum[speaker.frame_of_word]
        pcm = rising_hum(begin, self.frame_samples, rise) if rise else hum
        length = self._frames_per_word * self.frame_samples
        words = [(speaker.number, begin, begin + length)] if speaker.frame_of_word == 0 else []
        spoken_to = begin - speaker.frame_of_word * self.frame_samples
        speaker.frames += 1
        speaker.frame_of_word += 1
        speaker.due += self.frame_samples / SAMPLE_RATE / self._settings.speed_x_realtime
        if speaker.frame_of_word == self._frames_per_word:
            self._next_word(speaker)
            spoken_to += length
        last = speaker.told_last and not speaker.waiting
        return SpeechFrame(pcm, words, speaker.number, spoken_to, last)

    def _next_word(self, speaker: _Speaker) -> None:
        speaker.number += 1
        speaker.frame_of_word = 0
        speaker.waiting.pop(0)
        if speaker.waiting:
            speaker.due = max(speaker.due, speaker.waiting[0] + self._settings.first_audio_after_s)

    def faults(self) -> Mapping[Slot, str]:
        """Only those that were asked for."""
        return self._mishaps.faults()

    def close(self, slot: Slot) -> None:
        """Forgets the slot."""
        self._open.pop(slot, None)


def needs(settings: Settings, slots: int) -> Needs:
    """As it was told to say."""
    return settings.asks


def build(settings: Settings, slots: int) -> NullTts:
    """The engine."""
    return NullTts(settings, slots)
