"""Moonshine, a small speech recogniser, on ONNX: an utterance in, its text out, and a way to give up half-way.

The package's own library is not used: it takes every core there is, cannot be stopped, and cuts lines by a voice
detector of its own. Its weights are the published ones; greedy search over them gives the same words.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from config.errors import ConfigError
from gpu_workers import onnx, weights
from gpu_workers.engine import Pcm

RATE = 16_000

#: What an ONNX session is given, by name.
Feeds = dict[str, npt.NDArray[Any]]

#: Shorter audio than this has no frame for the encoder's convolutions; it is padded with silence.
SHORTEST = RATE // 4

#: More tokens a second nobody speaks; the publisher's guard against a decoder that repeats itself.
TOKENS_PER_S = 6.5

_BEGIN, _END = 1, 2

#: Dimensions of a decoder's cache: one utterance, heads, tokens so far, width of a head.
_CACHE_DIMENSIONS = 4

_PACKAGE = "moonshine-voice"


class Abandoned(Exception):
    """A decode was given up because nobody wants its result any more."""


def never() -> bool:
    """For those who want the result, whatever happens."""
    return False


class Moonshine:
    """English speech to text. Callable from several threads at once."""

    def __init__(self, threads: int, folder: Path | None = None) -> None:
        """`folder` holds the files of a model of any size; None: the tiny one that the package carries."""

        def file(name: str) -> Path:
            if folder is not None:
                return weights.need(folder / name)
            return weights.find("moonshine_voice", f"assets/tiny-en/{name}", _PACKAGE)

        self._encoder = onnx.session(file("encoder_model.ort"), threads)
        self._decoder = onnx.session(file("decoder_model_merged.ort"), threads)
        self._pieces = read_vocabulary(file("tokenizer.bin").read_bytes())
        self._past = empty_cache((given.name, given.shape) for given in self._decoder.get_inputs())
        self._present = [output.name for output in self._decoder.get_outputs()[1:]]
        self._heard = {given.name for given in self._encoder.get_inputs()}
        self._taken = {given.name for given in self._decoder.get_inputs()}

    def transcribe(self, pcm: Pcm, abandoned: Callable[[], bool] = never) -> str:
        """The words in `pcm` (16 kHz). Raises Abandoned soon after `abandoned` says so."""
        return self.recognise(pcm, abandoned)[0]

    def recognise(self, pcm: Pcm, abandoned: Callable[[], bool] = never) -> tuple[str, float]:
        """The words, and how sure they are: the geometric mean of their tokens' probabilities.

        Of the 24 interruptions of seed A the least sure had .66 (.62 in mid-word); of laughter and the babble of a
        room, which make it say words too, all but one (.61) were below.
        """
        if len(pcm) < SHORTEST:
            pcm = np.concatenate([pcm, np.zeros(SHORTEST - len(pcm), np.float32)])
        mask = np.ones((1, len(pcm)), np.int64)
        heard: Feeds = {"input_values": pcm[None], "attention_mask": mask}
        (hidden,) = self._encoder.run(None, _only(self._heard, heard))
        feeds: Feeds = {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}
        feeds = self._past | _only(self._taken, feeds)
        tokens, confidence = self._search(feeds, int(len(pcm) / RATE * TOKENS_PER_S) + 1, abandoned)
        return self._text(tokens), confidence

    def _search(self, feeds: Feeds, limit: int, abandoned: Callable[[], bool]) -> tuple[list[int], float]:
        """Greedy: the likeliest token, until the end."""
        tokens, chances = [_BEGIN], [0.0]
        for step in range(limit):
            if abandoned():
                raise Abandoned
            feeds["input_ids"] = np.array([[tokens[-1]]], np.int64)
            feeds["use_cache_branch"] = np.array([step > 0])
            logits, *present = self._decoder.run(None, feeds)
            token = int(logits[0, -1].argmax())
            chances.append(-float(np.log(np.exp(logits[0, -1] - logits[0, -1, token]).sum())))
            if token == _END:
                break
            tokens.append(token)
            for name, value in zip(self._present, present, strict=True):
                if (
                    step == 0 or ".decoder." in name
                ):  # what the encoder said stays as it was after the first step
                    feeds[name.replace("present", "past_key_values")] = value
        return tokens[1:], float(np.exp(sum(chances) / max(1, len(chances) - 1)))

    def _text(self, tokens: list[int]) -> str:
        joined = b"".join(self._pieces[token] for token in tokens)
        return joined.decode("utf-8", "replace").replace("▁", " ").strip()


def _only(names: set[str], feeds: Feeds) -> Feeds:
    """Those that a model takes; older exports of Moonshine know no masks."""
    return {name: value for name, value in feeds.items() if name in names}


def empty_cache(inputs: Iterable[tuple[str, Sequence[object]]]) -> Feeds:
    """What a decoder remembers at the beginning, as wide as its model is: 8 heads of 36 in the tiny one, of 52 in base.

    From names and shapes of its inputs. ConfigError where they are no decoder's that we know.
    """
    cache: Feeds = {}
    for name, shape in inputs:
        if name.startswith("past_key_values"):
            heads, width = (shape[1], shape[3]) if len(shape) == _CACHE_DIMENSIONS else (None, None)
            if not isinstance(heads, int) or not isinstance(width, int):
                raise ConfigError(
                    f"decoder_model_merged.ort: no width in the shape {list(shape)} of {name!r}"
                )
            cache[name] = np.zeros((1, heads, 0, width), np.float32)
    if not cache:
        raise ConfigError(
            "decoder_model_merged.ort: it is no merged decoder of Moonshine's, for it has no cache"
        )
    return cache


def read_vocabulary(data: bytes) -> list[bytes]:
    """Pieces in the order of their tokens: each a length (one byte, or two from 128 on) and so many bytes."""
    pieces, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * data[at], at + 1
        pieces.append(data[at : at + length])
        at += length
    return pieces
