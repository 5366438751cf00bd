"""Turns a Llama GGUF file into a Hugging Face folder, and checks the result. For tests and benches only.

    python tools/gguf_to_hf.py MODEL.gguf FOLDER

The bundled SmolLM2 exists as GGUF, which vLLM does not read on a CPU. What was quantized stays so: the folder holds the
rounded weights in bfloat16, two bytes for what took five bits. Nobody should serve it who can have the original. Needs
torch, transformers, safetensors and gguf (requirements/vllm-cpu.in). Exits with 1 when the result is no language model.
"""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

#: GGUF's names of what is not in a layer, and of what is.
OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
INNER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

#: What is checked: plain English that every model knows.
KNOWN = (
    "The capital of France is Paris. The sun rises in the east and sets in the west. "
    "There are seven days in a week and twelve months in a year."
)

#: Nats a token of KNOWN, at the most. SmolLM2-135M has 1.5 here, and 8.4 with its heads left in llama.cpp's order.
MOST_NATS = 3.0


def convert(source: Path, folder: Path) -> None:
    """Writes config, weights and tokenizer. ValueError for a model that is no Llama."""
    reader = gguf.GGUFReader(source)
    told = {name: value.contents() for name, value in reader.fields.items()}
    if told["general.architecture"] != "llama":
        raise ValueError(f"{source.name} is a {told['general.architecture']}, not a llama")
    weights = dict(_weight(tensor, told) for tensor in reader.tensors)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = _config(told, tied="lm_head.weight" not in weights)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(str(folder))


def _weight(tensor: Any, told: dict[str, Any]) -> tuple[str, torch.Tensor]:
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    parts = tensor.name.removesuffix(".weight").split(".")
    if parts[0] != "blk":
        name = OUTER[parts[0]]
    else:
        name = f"model.layers.{parts[1]}.{INNER[parts[2]]}"
        if parts[2] == "attn_q":
            values = _halves_together(values, told["llama.attention.head_count"])
        elif parts[2] == "attn_k":
            values = _halves_together(values, told["llama.attention.head_count_kv"])
    return f"{name}.weight", torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16)


def _halves_together(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head as Hugging Face rotates them, the two halves apart; llama.cpp keeps them in pairs."""
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, values.shape[1])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _config(told: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": told["llama.embedding_length"],
        "intermediate_size": told["llama.feed_forward_length"],
        "num_hidden_layers": told["llama.block_count"],
        "num_attention_heads": told["llama.attention.head_count"],
        "num_key_value_heads": told["llama.attention.head_count_kv"],
        "hidden_act": "silu",
        "max_position_embeddings": told["llama.context_length"],
        "rms_norm_eps": told["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": told.get("llama.rope.freq_base", 10_000.0),
        "vocab_size": len(told["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "bos_token_id": told["tokenizer.ggml.bos_token_id"],
        "eos_token_id": told["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "bfloat16",
    }


def nats(folder: Path) -> float:
    """How much a token of KNOWN surprises the model; ln of the vocabulary's size: it knows nothing."""
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(str(folder))(KNOWN, return_tensors="pt").input_ids
    with torch.inference_mode():
        return float(model(tokens, labels=tokens).loss)


def main(source: str, target: str) -> int:
    """The folder appears when it is whole and was checked."""
    folder = Path(target)
    making = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    convert(Path(source), making)
    surprise = nats(making)
    if not math.isfinite(surprise) or surprise > MOST_NATS:
        print(f"{source}: the result is no language model: {surprise:.2f} nats a token", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)
    print(f"{folder}: {surprise:.2f} nats a token")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
