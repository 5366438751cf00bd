"""Piper's voice as an engine of the corpus."""

from collections.abc import Sequence

import numpy as np
import soxr
from piper import SynthesisConfig

from bench.turns.dialogue import Stretch
from bench.turns.spelt import MARKS, ipa_in_piper
from gpu_workers import weights
from gpu_workers.engine import Pcm
from gpu_workers.tts import piper

#: Piper was not taught these; to it they are commas.
PAUSES = str.maketrans({"…": ",", "—": ",", "!": "."})


class Piper:
    """Takes its times from the model's own durations."""

    def __init__(self, speaker: str) -> None:
        package, file, install = piper.PACKAGED[speaker]
        self._voice = piper.load(weights.find(package, file, install), 2)

    def say(self, pieces: Sequence[str], speed: float) -> tuple[Pcm, Sequence[Stretch]]:
        """As in voices.Engine."""
        phonemes: list[str] = []
        ranges = []
        for piece in pieces:
            phonemes += [" "] if phonemes else []
            begin = len(phonemes)
            phonemes += self._read(piece)
            ranges.append((begin, begin + len("".join(phonemes[begin:]).rstrip(MARKS + " "))))
        how = SynthesisConfig(length_scale=self._voice.config.length_scale / speed)
        ids = self._voice.phonemes_to_ids(phonemes)
        audio, durations = self._voice.phoneme_ids_to_audio(ids, how, include_alignments=True)
        rate = self._voice.config.sample_rate
        edges = np.concatenate([[0], np.cumsum(durations)]) * (24_000 / rate)
        pcm = np.asarray(soxr.resample(np.clip(audio, -1, 1), rate, 24_000, "HQ"), np.float32)
        # two ids begin the sentence, and each phoneme is followed by one of padding
        return pcm, [Stretch(int(edges[2 + 2 * begin]), int(edges[2 + 2 * end])) for begin, end in ranges]

    def _read(self, piece: str) -> list[str]:
        """Phonemes of a piece; its last mark is kept from espeak, which would lose it behind raw phonemes."""
        words = piece.rstrip(MARKS)
        known = [list(sentence) for sentence in self._voice.phonemize(ipa_in_piper(words))]
        sounds = [sound for sentence in known for sound in [*sentence, " "]]
        while sounds and sounds[-1] == " ":
            sounds.pop()
        return sounds + list(piece[len(words) :].translate(PAUSES))
