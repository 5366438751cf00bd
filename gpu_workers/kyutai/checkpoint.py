"""A Kyutai checkpoint on disk: finds its files, checks them, loads what is in them. Never downloads.

It lies in a folder of its own, or in a Hugging Face hub cache under the models folder. An error names the file that is
missing or does not fit, and the tensor.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import try_to_load_from_cache
from moshi.models import loaders
from moshi.models.loaders import CheckpointInfo
from pydantic import BaseModel, Field
from safetensors import SafetensorError
from sentencepiece import SentencePieceProcessor

from config.errors import ConfigError
from gpu_workers import weights
from gpu_workers.kyutai.device import Device

Loaded = TypeVar("Loaded")

#: What a file is called if the config does not say; the same names as moshi 0.2.13 takes.
DEFAULT_NAMES = {
    "moshi_name": loaders.MOSHI_NAME,
    "mimi_name": loaders.MIMI_NAME,
    "tokenizer_name": loaders.TEXT_TOKENIZER_NAME,
}

#: A config names a file of another repository by this.
HUB = "hf://"

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_MISFIT = re.compile(
    r"size mismatch for (?P<tensor>[\w.]+): copying a param with shape torch\.Size\((?P<has>[^)]*)\).*?"
    r"the shape in current model is torch\.Size\((?P<wants>[^)]*)\)"
)
_ABSENT = re.compile(r'Missing key\(s\) in state_dict: "(?P<tensor>[^"]+)"')
_UNKNOWN = re.compile(r'Unexpected key\(s\) in state_dict: "(?P<tensor>[^"]+)"')


class Source(BaseModel, frozen=True):
    """Options of every engine that loads a checkpoint."""

    model: str
    """A folder (`models:kyutai-stt` stands for one), or a hub repository (`owner/name`) in the cache `models_dir`."""
    revision: str = "main"
    """Commit, tag or branch of the repository."""
    models_dir: Path = Path("/models")
    """A hub cache, as the hub's own tools lay it out; `antiphon models pull` makes folders instead."""
    device: str = "cuda"
    """Torch's name of it. `--gpu` pins a worker to one GPU, which then is `cuda`."""
    compile: bool = True
    """Let torch compile moshi's smallest functions for a GPU. That takes a C compiler, which slim images lack; without,
    a step takes a little longer."""
    threads: int | None = Field(None, gt=0)
    """Threads of torch on a CPU; None: its own choice. For tests and trials."""


@dataclass(frozen=True)
class Checkpoint:
    """Files that are there, and what the config says of them."""

    name: str
    config: dict[str, Any]
    mimi_config: dict[str, Any] | None
    weights: Path
    mimi: Path
    tokenizer: Path

    @property
    def info(self) -> CheckpointInfo:
        """For moshi's own classes; a new one each time, because they change what is in it."""
        config = json.loads(json.dumps(self.config))
        known = {
            key: config.pop(key, {}) for key in ("lm_gen_config", "tts_config", "stt_config", "model_id")
        }
        for name in (*DEFAULT_NAMES, "mimi_config_name", "lora_name"):
            config.pop(name, None)
        return CheckpointInfo(
            self.weights, self.mimi, self.tokenizer, mimi_config=self.mimi_config,
            model_type=config.pop("model_type", "moshi"), lm_config=config, raw_config=self.config, **known,
        )  # fmt: skip

    def load_model(self, device: Device) -> Any:
        """The language model (moshi's LMModel), on the device."""
        load = lambda: self.info.get_moshi(device=device.torch, dtype=device.dtype)  # noqa: E731
        return _checked(self.weights, load)

    def load_mimi(self, device: Device) -> Any:
        """The codec (moshi's MimiModel), on the device, with as many codebooks as the model has."""
        return _checked(self.mimi, lambda: self.info.get_mimi(device=device.torch))

    def load_tokenizer(self) -> SentencePieceProcessor:
        """The words' pieces; ConfigError if there are more than the model has embeddings for."""
        try:
            tokenizer = SentencePieceProcessor(model_file=str(self.tokenizer))
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"{self.tokenizer}: this is no tokenizer ({_line(error)})") from error
        if tokenizer.vocab_size() > self.config["text_card"]:
            raise ConfigError(
                f"{self.tokenizer}: its {tokenizer.vocab_size()} pieces do not fit the model, which has "
                f"{self.config['text_card']}: it belongs to another model"
            )
        return tokenizer


def find(source: Source, kind: str) -> Checkpoint:
    """The checkpoint of a model of this kind (`stt`, `tts`). ConfigError names the files that are not there."""
    pulled = _REPOSITORY.fullmatch(source.model) and not Path(source.model).is_dir()
    look = _Cache(source) if pulled else _Folder(Path(source.model))
    remedy = weights.remedy(f"{kind}/kyutai", "model")
    path = look.find("config.json")
    if path is None:
        raise ConfigError(f"{look.where}: config.json of {source.model!r} is not there; {remedy}")
    config = _read(path)
    wanted = [*DEFAULT_NAMES, *(["mimi_config_name"] if config.get("mimi_config_name") else [])]
    names = {key: str(config.get(key) or DEFAULT_NAMES[key]) for key in wanted}
    files = {key: found for key, name in names.items() if (found := look.find(name))}
    if missing := [f"{name} ({key})" for key, name in names.items() if key not in files]:
        raise ConfigError(f"{look.where}: {', '.join(missing)} of {source.model!r} not there; {remedy}")
    _require(path, config, kind)
    mimi_config = _read(files["mimi_config_name"]) if "mimi_config_name" in files else None
    return Checkpoint(
        source.model, config, mimi_config, files["moshi_name"], files["mimi_name"], files["tokenizer_name"]
    )


class _Folder:
    """A folder that holds one checkpoint."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def find(self, name: str) -> Path | None:
        """The file of this name; one that is of another repository lies beside the others."""
        path = self.where / name.rpartition("/")[2]
        return path if path.is_file() else None


class _Cache:
    """A hub cache, as the hub's own tools lay it out: in the models folder itself or in `hub` in it."""

    def __init__(self, source: Source) -> None:
        self.where = source.models_dir
        self._source = source

    def find(self, name: str) -> Path | None:
        """The file of this name, in the revision asked for."""
        repository, revision = self._source.model, self._source.revision
        if name.startswith(HUB):
            owner, model, name = name.removeprefix(HUB).split("/", 2)
            repository, revision = f"{owner}/{model}", "main"
        for cache in (self.where, self.where / "hub"):
            found = try_to_load_from_cache(repository, name, cache_dir=cache, revision=revision)
            if isinstance(found, str):
                return Path(found)
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: this is no JSON ({_line(error)})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: this is no object")
    return config


def _require(path: Path, config: dict[str, Any], kind: str) -> None:
    if config.get("model_type", kind) != kind:
        raise ConfigError(f"{path}: this is a model of type {config['model_type']!r}, not {kind!r}")
    for key in ("dim", "card", "n_q", "dep_q", "text_card", "delays"):
        if key not in config:
            raise ConfigError(f"{path}: {key!r} is missing, so this is no model of Kyutai's")


def _checked(path: Path, load: Callable[[], Loaded]) -> Loaded:
    """What is in a file of weights; errors of the device go through."""
    try:
        return load()
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except SafetensorError as error:
        raise ConfigError(f"{path}: the file is damaged ({_line(error)})") from error
    except (KeyError, TypeError, AssertionError) as error:
        raise ConfigError(f"{path}: config.json beside it describes no model ({_line(error)})") from error
    except RuntimeError as error:
        if (misfit := _misfit(str(error))) is None:
            raise
        raise ConfigError(f"{path}: {misfit}; it is not of the model that config.json describes") from error


def _misfit(message: str) -> str | None:
    if found := _MISFIT.search(message):
        return f"tensor {found['tensor']} is of shape {found['has']}, not {found['wants']}"
    if found := _ABSENT.search(message):
        return f"tensor {found['tensor']} is missing"
    if found := _UNKNOWN.search(message):
        return f"tensor {found['tensor']} belongs to another model"
    return None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
