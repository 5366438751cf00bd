"""Piper's voice as an engine of the corpus."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import soxr
from piper import SynthesisConfig

from bench.turns.engines import Reading, Speech
from gpu_workers import weights
from gpu_workers.clauses.spelt import MARKS, ipa_in_piper
from gpu_workers.tts import piper

#: Piper was not taught these; to it they are commas.
PAUSES = str.maketrans({"…": ",", "—": ",", "!": ".", ";": ","})

_CHUNK = re.compile(rf"[^{re.escape(MARKS)}]+|[{re.escape(MARKS)}]+")


class Piper:
    """Takes its times from the model's own durations."""

    def __init__(self, speaker: str) -> None:
        package, file, install = piper.PACKAGED[speaker]
        self._voice = piper.load(weights.find(package, file, install), 1)

    def read(self, pieces: Sequence[str]) -> Reading:
        """Piece by piece, so that it is known whose each phoneme is."""
        phonemes: list[str] = []
        ranges = []
        for piece in pieces:
            phonemes += [" "] if phonemes else []
            begin = len(phonemes)
            phonemes += self._phonemes(piece)
            end = begin + len("".join(phonemes[begin:]).rstrip(MARKS + " "))
            # two ids begin the sentence, and each phoneme is followed by one of padding
            ranges.append((2 + 2 * begin, 2 + 2 * end))
        return Reading(tuple(self._voice.phonemes_to_ids(phonemes)), tuple(ranges))

    def _phonemes(self, piece: str) -> list[str]:
        """Marks are kept from espeak, which takes one for the end of a sentence and loses another behind phonemes."""
        found: list[str] = []
        for chunk in _CHUNK.findall(piece):
            if chunk[0] in MARKS:
                found += chunk.translate(PAUSES)
            elif words := chunk.strip():
                known: list[Any] = self._voice.phonemize(ipa_in_piper(words))
                found += [*([" "] if found else []), *(sound for sentence in known for sound in sentence)]
        return found

    def speak(self, ids: Sequence[int], speed: float) -> Speech:
        """As in engines.Engine."""
        how = SynthesisConfig(length_scale=self._voice.config.length_scale / speed)
        audio, durations = self._voice.phoneme_ids_to_audio(list(ids), how, include_alignments=True)
        rate = self._voice.config.sample_rate
        edges = np.concatenate([[0], np.cumsum(durations)]) * (24_000 / rate)
        pcm = np.asarray(soxr.resample(np.clip(audio, -1, 1), rate, 24_000, "HQ"), np.float32)
        return Speech(pcm, tuple(int(edge) for edge in edges))
