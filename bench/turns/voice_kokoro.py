"""Kokoro's voices as engines of the corpus: the model itself, and Hibari, a small fast copy of one of its voices.

Both read the phonemes that hibari-tts makes of text, and both tell how long each phoneme lasts.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from hibari import dsp

from bench.turns import voice_files
from bench.turns.engines import Reading, Speech
from gpu_workers import onnx, weights
from gpu_workers.clauses import phonemes
from gpu_workers.clauses.spelt import MARKS, ipa_in_kokoro
from gpu_workers.tts import kokoro

#: The tensor that holds the durations in Hibari's graph.
HIBARI_DURATIONS = b"/Clip_output_0"

#: Most of the model's work is in operations that take one core; who wants more starts more processes.
THREADS = 1


@cache
def _kokoro() -> Any:
    return onnx.session(kokoro.model(), THREADS)


@cache
def _hibari() -> Any:
    model = weights.find("hibari", "assets/hibari.onnx", "hibari-tts").read_bytes()
    return onnx.session(onnx.with_output(model, HIBARI_DURATIONS), THREADS)


class Reader:
    """Makes phoneme ids of a sentence in pieces, and knows which ids are whose."""

    def __init__(self, british: bool) -> None:
        self._british = british

    def read(self, pieces: Sequence[str]) -> Reading:
        """Ids with one of padding at both ends."""
        vocabulary, ids, ranges = kokoro.vocabulary(), [0], []
        for number, piece in enumerate(pieces):
            if number:
                ids.append(vocabulary[" "])
            read = phonemes.english(self._british)(ipa_in_kokoro(piece), normalize_text=False)
            sounds = "".join(char for char in read if char in vocabulary)
            begin = len(ids)
            ids += [vocabulary[char] for char in sounds]
            ranges.append((begin, begin + len(sounds.rstrip(MARKS + " "))))
        return Reading((*ids, 0), tuple(ranges))


def _edges(durations: Any) -> tuple[int, ...]:
    return tuple(int(edge) * kokoro.UNIT for edge in np.concatenate([[0], np.cumsum(durations)]))


class Kokoro(Reader):
    """A speaker of the Kokoro model; the first letter of the name says whether it is a Briton."""

    def __init__(self, speaker: str) -> None:
        super().__init__(british=speaker.startswith("b"))
        self._style = kokoro.style(voice_files.find(speaker))

    def speak(self, ids: Sequence[int], speed: float) -> Speech:
        """As in engines.Engine."""
        given = {
            "tokens": np.array([ids], np.int64),
            "style": self._style[len(ids) - 2],  # one for each length of text
            "speed": np.array([speed], np.float32),
        }
        pcm, durations = _kokoro().run(None, given)
        return Speech(pcm.astype(np.float32), _edges(durations[0]))


class Hibari(Reader):
    """The voice that hibari-tts carries."""

    def __init__(self) -> None:
        super().__init__(british=False)

    def speak(self, ids: Sequence[int], speed: float) -> Speech:
        """As in engines.Engine."""
        given = {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
        *parts, durations = _hibari().run(None, given)
        pcm = dsp.synth(*(part[0] for part in parts), np.random.default_rng(len(ids)))
        return Speech(pcm.astype(np.float32), _edges(durations))
