"""Tiny Kyutai checkpoints with random weights, written to a folder in which engines find them as they find real ones.

They are as small as keeps every part in play: the codec's convolutions and transformer, the text stream, pause heads,
the second text stream, the speakers' cross-attention. What they say means nothing; it only must not depend on others.
"""

import io
import json
import random
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path

import sentencepiece
import torch
from moshi.models import loaders
from safetensors.torch import load_file, save_file

CODEBOOKS = 4
CARD = 32
VOCABULARY = 160
#: Width of the codec's latents, and so of a voice embedding.
LATENT = 16
#: Ten seconds.
VOICE_FRAMES = 125

#: 8·6·5·4 = 960 samples, halved in rate once more by the codec: frames of 1920 samples, as in the real one.
MIMI = {
    "sample_rate": 24_000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1, "dimension": LATENT, "causal": True, "n_filters": 1, "n_residual_layers": 1,
        "activation": "ELU", "compress": 1, "dilation_base": 2, "disable_norm_outer_blocks": 0,
        "kernel_size": 7, "residual_kernel_size": 3, "last_kernel_size": 3, "norm": "none",
        "pad_mode": "constant", "ratios": [8, 6, 5, 4], "true_skip": True,
    },
    "quantizer": {
        "dimension": 8, "n_q": CODEBOOKS, "bins": CARD, "input_dimension": LATENT, "output_dimension": LATENT,
    },
    "transformer": {
        "d_model": LATENT, "num_heads": 2, "num_layers": 1, "causal": True, "layer_scale": 0.01, "context": 24,
        "conv_layout": True, "max_period": 10_000, "gating": "none", "norm": "layer_norm",
        "positional_embedding": "rope", "dim_feedforward": 32, "input_dimension": LATENT,
        "output_dimensions": [LATENT],
    },
}  # fmt: skip

_BOTH = {
    "card": CARD, "n_q": CODEBOOKS, "dim": 32, "text_card": VOCABULARY, "existing_text_padding_id": 3,
    "num_heads": 2, "num_layers": 1, "hidden_scale": 2.0, "causal": True, "layer_scale": None, "context": 16,
    "max_period": 10_000, "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope",
    "depformer_dim": 16, "depformer_num_heads": 2, "depformer_num_layers": 1, "depformer_dim_feedforward": 32,
    "moshi_name": "model.safetensors", "mimi_name": "mimi.safetensors", "mimi_config_name": "mimi.json",
    "tokenizer_name": "tokenizer.model",
}  # fmt: skip

STT = {
    **_BOTH, "model_type": "stt", "dep_q": 0, "delays": [0] * (CODEBOOKS + 1), "fuser": None,
    "cross_attention": False, "extra_heads_num_heads": 4, "extra_heads_dim": 6,
    "lm_gen_config": {"temp": 0.0, "temp_text": 0.0},
    "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0},
}  # fmt: skip

TTS = {
    **_BOTH, "model_type": "tts", "dep_q": CODEBOOKS, "delays": [0, 0] + [2] * (CODEBOOKS - 1),
    "cross_attention": True, "demux_second_stream": True, "depformer_multi_linear": True,
    "depformer_context": CODEBOOKS, "depformer_gating": "silu", "depformer_pos_emb": "none",
    "depformer_weights_per_step": True, "depformer_weights_per_step_schedule": [0, 1, 2, 2],
    "depformer_low_rank_embeddings": 8,
    "conditioners": {
        "speaker_wavs": {"type": "tensor", "tensor": {"dim": LATENT}},
        "control": {
            "type": "lut", "lut": {"n_bins": 1, "dim": 8, "tokenizer": "noop", "possible_values": ["ok"]},
        },
        "cfg": {
            "type": "lut",
            "lut": {"n_bins": 3, "dim": 8, "tokenizer": "noop", "possible_values": ["1.0", "1.5", "2.0"]},
        },
    },
    "fuser": {
        "cross_attention_pos_emb": True, "cross_attention_pos_emb_scale": 1.0, "sum": ["control", "cfg"],
        "prepend": [], "cross": ["speaker_wavs"],
    },
    "tts_config": {"audio_delay": 1.28, "second_stream_ahead": 2},
    "model_id": {"sig": "tiny", "epoch": 1},
}  # fmt: skip

#: Random weights repeat themselves whatever they hear. These factors make what they say depend on the sound: embeddings
#: of the audio outweigh that of the text said before, and the pause heads take sides.
LIVELY = {"emb.": 4.0, "extra_heads.": 6.0}
#: The same for the codec: soft speech does not all become one code.
LOUD = 20.0
#: A word ends now and then: at a boundary (0), or where padding (3) begins.
WORDY = 2.0

#: Keys of a config that are not the language model's.
_NOT_OF_THE_MODEL = {
    "model_type", "lm_gen_config", "stt_config", "tts_config", "model_id", "moshi_name", "mimi_name",
    "mimi_config_name", "tokenizer_name",
}  # fmt: skip


def write(folder: Path, config: dict, seed: int = 0) -> Path:
    """Writes a checkpoint of this config, with all its files, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(_model(config), folder / "model.safetensors")
        save_file(_mimi(), folder / "mimi.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mimi.json").write_text(json.dumps(MIMI))
    (folder / "tokenizer.model").write_bytes(tokenizer(VOCABULARY))
    return folder


def _model(config: dict) -> dict[str, torch.Tensor]:
    known = {key: value for key, value in deepcopy(config).items() if key not in _NOT_OF_THE_MODEL}
    state = loaders.get_moshi_lm(None, known, device="cpu", dtype=torch.float32).state_dict()
    state = {name: value.clone().contiguous() for name, value in state.items()}
    if config["model_type"] == "stt":
        for name, value in state.items():
            value.mul_(next((factor for part, factor in LIVELY.items() if name.startswith(part)), 1.0))
        state["text_linear.weight"][[0, 3]] *= WORDY
    else:
        _listen_to_text(state)
    return state


def _listen_to_text(state: dict[str, torch.Tensor]) -> None:
    """Words are asked for (0) as often as waited for (3), and what is read counts beside the voice that reads it."""
    asked = state["text_linear.weight"][[0, 3]].clone()
    state["text_linear.weight"] *= 0.05
    state["text_linear.weight"][[0, 3]] = asked
    for name, value in state.items():
        if name.startswith(("text_emb", "emb.", "depformer_text_emb", "depformer_emb")):
            value.mul_(8)
        elif "cross_attention.out" in name:
            value.mul_(0.5)


def _mimi() -> dict[str, torch.Tensor]:
    """Weights under which codes depend on the sound: as they are initialised, biases drown it."""
    state = loaders.get_mimi(None, MIMI, num_codebooks=CODEBOOKS).state_dict()
    for name, value in state.items():
        if name.endswith("embedding_sum"):
            state[name] = torch.randn_like(value) * 0.15
        elif name.endswith("cluster_usage"):
            state[name] = torch.ones_like(value)
        elif name.startswith(("encoder.", "decoder.", "downsample.", "upsample.")):
            state[name] = torch.zeros_like(value) if name.endswith("bias") else value * 1.7
    state["encoder.model.0.conv.conv.weight"] *= LOUD
    return {name: value.contiguous() for name, value in state.items()}


@cache
def tokenizer(vocabulary: int) -> bytes:
    """A sentencepiece model of so many pieces, trained on made-up words; 0 unknown, 1 and 2 ends, 3 padding."""
    rng, trained = random.Random(0), io.BytesIO()
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz'éà", k=rng.randint(2, 8))) for _ in range(300)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(" ".join(rng.choices(words, k=8)) for _ in range(120)), model_writer=trained,
        vocab_size=vocabulary, model_type="bpe", unk_id=0, bos_id=1, eos_id=2, pad_id=3,
        character_coverage=1.0, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return trained.getvalue()


@cache
def _shelf() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="tiny-kyutai-")


@cache
def stt() -> Path:
    """Folder of a speech-to-text checkpoint, written once a run."""
    return write(Path(_shelf().name, "stt"), STT)


@cache
def tts() -> Path:
    """Folder of a text-to-speech checkpoint, written once a run."""
    return write(Path(_shelf().name, "tts"), TTS)


@cache
def voices() -> Path:
    """Folder of voice embeddings for the text-to-speech checkpoint, as the published ones lie and one of one's own."""
    folder = Path(_shelf().name, "voices")
    (folder / "vctk").mkdir(parents=True)
    draw = torch.Generator().manual_seed(5)
    for name in ("vctk/p1.wav.tiny@1", "vctk/p2.wav.tiny@1", "own", "vctk/p1.wav.other@7"):
        embedding = torch.randn(1, LATENT, VOICE_FRAMES, generator=draw)
        # Far from noise, in which attention would find no voice.
        embedding += 20 * torch.randn(1, LATENT, 1, generator=draw)
        save_file({"speaker_wavs": embedding}, folder / f"{name}.safetensors")
    return folder


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """What is in a file of weights."""
    return load_file(path)


def save(content: dict[str, torch.Tensor], path: Path) -> None:
    """Writes a file of weights."""
    save_file(content, path)
