"""Kyutai's Pocket TTS from files on this machine: loads the model, reads and writes voices. Downloads nothing.

pocket-tts names its weights by addresses of a hub; here they are files of one folder, as the hub's repository has them:
`model.safetensors`, `tokenizer.json`, `embeddings/*.safetensors`.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pocket_tts
import safetensors
import safetensors.torch
import torch
import yaml
from pocket_tts.modules.stateful_module import init_states
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from config.errors import ConfigError
from gpu_workers.weights import need

#: Sizes and habits of the published models, by their names; they are part of the package.
CONFIGS = Path(pocket_tts.__file__).parent / "config"

WEIGHTS, TOKENIZER, EMBEDDINGS = "model.safetensors", "tokenizer.json", "embeddings"

#: Longest voice that is read, in positions of the model: 30 s and its beginning.
MOST_POSITIONS = 400

#: A voice: per layer, its tensors. As the package's `ModelState`.
State = dict[str, dict[str, torch.Tensor]]

# Its warnings show the beginning of what is said.
logging.getLogger("pocket_tts").setLevel(logging.ERROR)


class Files(BaseModel, frozen=True):
    """Which model, and where it lies."""

    folder: Path
    """With model.safetensors and tokenizer.json, and embeddings/ for the catalogue's voices."""
    model: str = "english"
    """Name of a configuration in the package: english, english_2026-10, french, …"""
    config: Path | None = None
    """A configuration of one's own instead, such as that of a model trained by oneself."""
    threads: int = Field(1, gt=0)
    """Torch's, for each operation. The model writes and decodes on two threads of its own anyway."""


def load(files: Files, weights: Path | None = None) -> Any:
    """The model. `weights`: another file than the folder's.

    Raises EngineMissing that names the file that is not there, ConfigError for one that does not fit.
    """
    config = files.config or CONFIGS / f"{files.model}.yaml"
    if not config.is_file():
        known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"there is no Pocket TTS model {files.model!r}; there are: {known}")
    weights = weights or files.folder / WEIGHTS
    for path in (weights, files.folder / TOKENIZER):
        need(path)
    _require_tokenizer(files.folder / TOKENIZER)
    try:
        model = _from_files(_described(config), weights, files.folder / TOKENIZER)
    except (RuntimeError, AssertionError, ValueError, safetensors.SafetensorError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{weights}: this does not fit the Pocket TTS model {config.stem}: {first}"
        ) from error
    torch.set_num_threads(files.threads)
    return model


def _require_tokenizer(path: Path) -> None:
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # it raises plain ones
        raise ConfigError(f"{path}: this is no tokenizer: {error}") from error


def _described(path: Path) -> dict[str, Any]:
    """A configuration, if it has the parts that are changed here; the package judges the rest."""
    try:
        config = yaml.safe_load(path.read_text())
        there = all(isinstance(part, dict) for part in (config["flow_lm"]["lookup_table"], config["mimi"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        there = False
    if not there:
        raise ConfigError(f"{path}: this is no configuration of Pocket TTS")
    found: dict[str, Any] = config
    return found


def _from_files(config: dict[str, Any], weights: Path, tokenizer: Path) -> Any:
    """The package takes a file of its own kind, with addresses that may be paths."""
    config["weights_path"] = str(weights.resolve())
    config["weights_path_without_voice_cloning"] = None
    config["flow_lm"]["weights_path"] = config["mimi"]["weights_path"] = None
    config["flow_lm"]["lookup_table"]["tokenizer_path"] = str(tokenizer.resolve())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.yaml")
        path.write_text(yaml.safe_dump(config))
        return pocket_tts.TTSModel.load_model(config=path)


# --- voices


def catalogue(folder: Path) -> dict[str, Path]:
    """The voices that lie there, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def packed(state: State) -> bytes:
    """A voice as safetensors, named as the package's own files are."""
    flat = {
        f"{layer}/{name}": tensor.contiguous() for layer, of in state.items() for name, tensor in of.items()
    }
    return bytes(safetensors.torch.save(flat))


def blank(model: Any) -> State:
    """The state of a model that heard nothing: what every voice of it must be like."""
    state: State = init_states(model.flow_lm, batch_size=1, sequence_length=1)
    return state


def unpacked(data: bytes, what: str, like: State) -> State:
    """A voice of such bytes. `like`: the model's `blank`. Raises ConfigError for what does not fit."""
    try:
        flat = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise ConfigError(f"{what}: this is no safetensors file ({error})") from error
    state: State = {}
    for key, tensor in flat.items():
        layer, _, name = key.rpartition("/")
        old = name == "current_end"  # older files tell how much was heard by a shape
        state.setdefault(layer, {})["offset" if old else name] = (
            torch.full((1,), tensor.shape[0], dtype=torch.long) if old else tensor
        )
    if state.keys() != like.keys():
        raise ConfigError(
            f"{what}: it is no voice of this model, whose layers are {len(like)}; it has {len(state)}"
        )
    for layer in like:
        _require_fit(state[layer], like[layer], what)
    return state


def _require_fit(of: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor], what: str) -> None:
    """The cache is [2, 1, positions, heads, width]; only the positions may differ, and all that count are numbers."""
    cache, offset = of.get("cache"), of.get("offset")
    if cache is None or offset is None or not offset.numel():
        raise ConfigError(f"{what}: it is no voice of Pocket TTS; a layer holds {', '.join(of)}")
    shape, wanted = list(cache.shape), list(like["cache"].shape)
    if shape[:2] + shape[3:] != wanted[:2] + wanted[3:]:
        raise ConfigError(
            f"{what}: its layers are of shape {shape}, this model takes [2, 1, n, {wanted[3]}, {wanted[4]}]"
        )
    heard = int(offset.view(-1)[0])
    if not 0 < heard <= shape[2] <= MOST_POSITIONS:
        raise ConfigError(
            f"{what}: it claims {heard} of {shape[2]} positions; at most {MOST_POSITIONS} are taken"
        )
    if not cache[:, :, :heard].isfinite().all():
        raise ConfigError(f"{what}: it holds values that are no numbers")
