"""Whether the weights of a Hugging Face folder are whole, and of the shapes that its config.json tells.

vLLM cuts a matrix that is too large down to the size it expects, for that is how it shares one out to several cards; a
model of the wrong shape then talks nonsense. Reads headers only.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from config import catalogue
from config.errors import ConfigError

#: No header is longer; a file that says so is no safetensors.
MAX_HEADER_BYTES = 100_000_000

#: Types in which a matrix has one entry for each number; quantized ones are packed.
PLAIN = frozenset({"F32", "F16", "BF16"})

_LAYER = re.compile(r"^model\.layers\.\d+\.")


#: Where a model in several files says which tensor is in which.
INDEX = "model.safetensors.index.json"


def check(folder: Path) -> None:
    """ConfigError names the file, or the tensor, that is missing or does not fit."""
    told = read(folder / "config.json")
    text: dict[str, Any] = told.get("text_config", told)
    if (folder / INDEX).is_file():
        named = sorted(set(read(folder / INDEX).get("weight_map", {}).values()))
        if lacking := [name for name in named if not (folder / name).is_file()]:
            raise ConfigError(f"the model in {str(folder)!r} lacks {', '.join(lacking)}{remedy(folder)}")
    expected = {} if "quantization_config" in told else dict(_expected(text))
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in header(file).items():
            wanted = expected.get(_LAYER.sub("", name))
            if wanted and tensor["dtype"] in PLAIN and tensor["shape"] != wanted:
                misfit = f"{name} is {tensor['shape']}, not {wanted}"
                raise ConfigError(f"the model in {str(folder)!r} does not fit its config.json: {misfit}")


def read(file: Path) -> dict[str, Any]:
    """A JSON object. ConfigError names the file where it is none."""
    try:
        told = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"{str(file)!r} is no JSON: {type(error).__name__}") from error
    if not isinstance(told, dict):
        raise ConfigError(f"{str(file)!r} is no JSON object")
    return told


def remedy(folder: Path) -> str:
    """How to make a folder whole, if it is one that we know how to fetch."""
    known = catalogue.models().get(folder.name)
    return f": fetch it with 'antiphon models pull {known.id}'" if known and not known.installed else ""


def header(file: Path) -> Mapping[str, Any]:
    """dtype, shape and place of each tensor. ConfigError for a file that is no safetensors, or not all of it."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
            raise ConfigError(f"{str(file)!r} is no safetensors file, or only its beginning")
        try:
            tensors: dict[str, Any] = json.loads(opened.read(length))
            tensors.pop("__metadata__", None)
            end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{str(file)!r} is no safetensors file: {type(error).__name__}") from error
    if 8 + length + end != size:
        raise ConfigError(f"{str(file)!r} has {size} bytes and should have {8 + length + end}")
    return tensors


def _expected(told: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Shapes of what Llama, Qwen, Mistral and their like have, as far as the config tells them."""
    width, heads, inner = (
        told.get(name) for name in ("hidden_size", "num_attention_heads", "intermediate_size")
    )
    if width and (words := told.get("vocab_size")):
        yield "model.embed_tokens.weight", [words, width]
    if width and inner:
        yield "mlp.gate_proj.weight", [inner, width]
        yield "mlp.up_proj.weight", [inner, width]
        yield "mlp.down_proj.weight", [width, inner]
    if width and heads:
        head = told.get("head_dim") or width // heads
        shared = told.get("num_key_value_heads") or heads
        yield "self_attn.k_proj.weight", [shared * head, width]
        yield "self_attn.v_proj.weight", [shared * head, width]
