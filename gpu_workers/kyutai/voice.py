"""Voices as embeddings: which there are, where they lie, whether they fit the model. Computes nothing."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load

from config.errors import ConfigError
from config.voice_messages import CustomVoice
from gpu_workers import weights

#: The tensor in a file, and its shape [1, channels, frames]: https://huggingface.co/kyutai/tts-voices
TENSOR = "speaker_wavs"

#: Every published voice, and the longest that a model takes, is ten seconds of speech.
VOICE_S = 10

#: Who makes cloned voices that this engine can speak with.
ENCODER = "mimi"

#: Embeddings kept in memory, of 250 kB each.
KEPT = 64

#: No error names more voices than this.
NAMED = 8

_SIGNED = re.compile(r"\.[^./@]+@\d+$")


class Voices:
    """The voices in a folder. `suffix`: how files for this model end; those of other models are no voices of it."""

    def __init__(self, folder: Path, suffix: str, shape: tuple[int, int]) -> None:
        self._folder = folder
        self._shape = shape
        self._paths = _found(folder, suffix)
        if not self._paths:
            raise ConfigError(f"{folder}: there is no voice in it, that is no file *{suffix}")
        self.load = lru_cache(KEPT)(self._load)

    @property
    def names(self) -> Sequence[str]:
        """As in `engine_voices` of a character, sorted."""
        return tuple(self._paths)

    def require(self, name: str) -> None:
        """ConfigError if there is no such voice."""
        if name not in self._paths:
            some = ", ".join([*list(self._paths)[:NAMED], *(["…"] if len(self._paths) > NAMED else [])])
            raise ConfigError(
                f"there is no voice {name!r} in {self._folder}; there are {len(self._paths)}: {some}"
            )

    def _load(self, name: str) -> torch.Tensor:
        """The embedding of a voice that there is. ConfigError if it does not fit the model."""
        self.require(name)
        path = self._paths[name]
        try:
            return embedding(path.read_bytes(), str(path), self._shape)
        except OSError as error:
            raise ConfigError(f"{path}: the voice cannot be read ({error.strerror})") from error

    def custom(self, voice: CustomVoice) -> torch.Tensor:
        """The embedding of a cloned voice. ConfigError if another encoder made it, or it does not fit the model."""
        if voice.encoder != ENCODER:
            raise ConfigError(
                f"a custom voice of encoder {voice.encoder!r} does not fit this engine, which takes {ENCODER!r}"
            )
        return embedding(voice.data, "a custom voice", self._shape)


def embedding(data: bytes, what: str, shape: tuple[int, int]) -> torch.Tensor:
    """Tensor [1, channels, frames] of what a safetensors file holds, frames being at most those of `shape`."""
    try:
        tensors: Mapping[str, Any] = load(data)
    except (SafetensorError, ValueError) as error:
        raise ConfigError(f"{what}: this is no safetensors file ({error})") from error
    if TENSOR not in tensors:
        raise ConfigError(f"{what}: there is no tensor {TENSOR!r} in it, but {', '.join(tensors) or 'none'}")
    tensor = tensors[TENSOR].float()
    channels, frames = shape
    fits = tensor.dim() == 3 and tensor.shape[:2] == (1, channels) and 0 < tensor.shape[2] <= frames
    if not fits:
        raise ConfigError(
            f"{what}: its embedding is of shape {list(tensor.shape)}, the model takes [1, {channels}, {frames}]"
        )
    if not tensor.isfinite().all():
        raise ConfigError(f"{what}: its embedding holds values that are no numbers")
    return tensor


def folder(voices_dir: Path | None, repository: str, models_dir: Path) -> Path:
    """Where voices lie: a folder that is named, else the hub cache's copy of the repository."""
    remedy = weights.remedy("tts/kyutai", "voices_dir")
    if voices_dir is not None:
        if not voices_dir.is_dir():
            raise ConfigError(f"option 'voices_dir': there is no folder {voices_dir}; {remedy}")
        return voices_dir
    for cache in (models_dir, models_dir / "hub"):
        try:
            return Path(snapshot_download(repository, cache_dir=cache, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    raise ConfigError(f"{models_dir}: the voices of {repository} are not there; {remedy}")


def _found(folder: Path, suffix: str) -> dict[str, Path]:
    """Voices by name: the path in the folder, less how published files end; a voice of one's own ends plainly."""
    named = {}
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).as_posix()
        if name.endswith(suffix):
            named[name.removesuffix(suffix)] = path
        elif not _SIGNED.search(plain := name.removesuffix(".safetensors")):
            named.setdefault(plain, path)
    return named
