"""A tiny Pocket TTS with random weights in a folder, laid out as the published ones are. Needs pocket-tts and torch."""

import atexit
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from pocket_tts.models.tts_model import TTSModel
from pocket_tts.utils.config import Config
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from gpu_workers import pocket

#: Two layers of two heads; a codec of 1920 samples a frame, as the real one: 6 · 5 · 4 = 120, and 16 of those.
CONFIG: dict[str, Any] = {
    "flow_lm": {
        "dtype": "float32",
        "insert_bos_before_voice": True,
        "flow": {"depth": 1, "dim": 16},
        "transformer": {"d_model": 32, "hidden_scale": 2, "max_period": 10_000, "num_heads": 2, "num_layers": 2},
        "lookup_table": {"dim": 32, "n_bins": 256, "tokenizer": "tokenizers", "tokenizer_path": ""},
    },
    "mimi": {
        "dtype": "float32", "sample_rate": 24_000, "channels": 1, "frame_rate": 12.5, "inner_dim": 8, "outer_dim": 16,
        "seanet": {
            "dimension": 16, "channels": 1, "n_filters": 2, "n_residual_layers": 1, "ratios": [6, 5, 4],
            "kernel_size": 7, "residual_kernel_size": 3, "last_kernel_size": 3, "dilation_base": 2,
            "pad_mode": "constant", "compress": 2,
        },
        "transformer": {
            "d_model": 16, "num_heads": 2, "num_layers": 1, "layer_scale": 0.01, "context": 50,
            "dim_feedforward": 32, "input_dimension": 16, "output_dimensions": [16],
        },
        "quantizer": {"dimension": 8, "output_dimension": 16},
    },
}  # fmt: skip

VOICES = ("alba", "marius")


@cache
def folder() -> Path:
    """With everything a real one has, the model's sizes in config.yaml; it goes when the tests end."""
    kept = tempfile.TemporaryDirectory(prefix="tiny-pocket-")
    atexit.register(kept.cleanup)
    path = Path(kept.name)
    _tokenizer().save(str(path / pocket.TOKENIZER))
    config = {**CONFIG, "weights_path": None}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    weights(path / pocket.WEIGHTS)
    (path / pocket.EMBEDDINGS).mkdir()
    model = pocket.load(files(path))
    for number, name in enumerate(VOICES):
        torch.manual_seed(number)
        sound = torch.randn(1, 5 * 24_000) * 0.1
        (path / pocket.EMBEDDINGS / f"{name}.safetensors").write_bytes(
            pocket.packed(model.get_state_for_audio_prompt(sound))
        )
    return path


def files(path: Path) -> pocket.Files:
    """Where `load` finds it."""
    return pocket.Files(folder=path, config=path / "config.yaml")


def options() -> dict[str, Any]:
    """For the engine."""
    return {"folder": str(folder()), "config": str(folder() / "config.yaml"), "temperature": 0}


def weights(path: Path, seed: int = 0, *, deaf: bool = False) -> None:
    """Random ones. deaf: those of its encoder are zeros, as in the model that is published without voice cloning."""
    torch.manual_seed(seed)
    config = Config(**CONFIG)
    tokenizer = path.parent / pocket.TOKENIZER
    config.flow_lm.lookup_table.tokenizer_path = str(tokenizer)
    model = TTSModel._from_pydantic_config_with_weights(config, 0.0, 1, None, -4.0)
    with torch.no_grad():
        model.flow_lm.speaker_proj_weight.normal_(0, 0.3)
        for name, parameter in model.mimi.named_parameters():
            if name.startswith(("decoder.", "upsample.", "encoder.", "downsample.")):
                parameter.mul_(0.0 if name.endswith("bias") else 1.7)  # else biases drown the sound
            if deaf and name.startswith("encoder"):
                parameter.zero_()
    save_file({name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}, path)


def _tokenizer() -> Tokenizer:
    """Bytes: every text has tokens, and they are its text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
