"""Kyutai's voice encoder for the TTS engine `kyutai`: Mimi with encoder weights that Kyutai does not publish.

The Mimi that everybody can download has the same shape and makes garbled voices: it is refused, never a fallback.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import torch
from moshi.models import loaders
from moshi.utils.compile import no_compile
from pydantic import BaseModel, Field

from config.errors import ConfigError, EngineMissing
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Needs, Pcm
from gpu_workers.samples import voice_probe

#: What the TTS was trained with, and takes: 10 s, 125 frames.
SAMPLE_S = 10.0

#: Between repetitions of a sample that is shorter than that.
PAUSE_S = 0.3

#: Name of the embedding in the file, as in Kyutai's voice repository.
TENSOR = "speaker_wavs"

#: The public Mimi, by size and content; so pinned for `kyutai/stt-1b-en_fr-candle` and `kyutai/moshiko-*`, which carry
#: it under two names.
PUBLIC_BYTES = 384_644_900
PUBLIC_SHA256 = "09b782f0629851a271227fb9d36db65c041790365f11bbe5d3d59369cf863f50"

HOW = (
    'set voices.options.weights (ANTIPHON_VOICES__OPTIONS=\'{"weights": "/path"}\') to the voice encoder\'s weights; '
    "Kyutai does not publish them, and ordinary Mimi is no substitute"
)


class Settings(BaseModel, frozen=True):
    """Where the operator keeps the weights."""

    weights: Path | None = None
    """A safetensors file of a whole Mimi with the voice encoder's weights."""
    config: Path | None = None
    """JSON of its dimensions, if they are not Mimi's usual ones."""
    ordinary: Path | None = None
    """The Mimi that the TTS decodes with, if it lies here: weights whose encoder equals its encoder are refused."""
    device: str = "cpu"
    """A sample takes a second or two there, once."""
    threads: int = Field(2, gt=0)
    """Torch's, in this worker."""


class MimiEncoder:
    """10 s of a voice to an embedding [1, channels, frames]."""

    name = "mimi"

    def __init__(self, settings: Settings) -> None:
        path = settings.weights
        if path is None:
            raise EngineMissing(f"voice cloning is not installed: {HOW}")
        if not path.is_file():
            raise EngineMissing(f"voice cloning is not installed: {path} is not there; {HOW}")
        _refuse_public(path)
        torch.set_num_threads(settings.threads)
        self._device = settings.device
        self._mimi = _load(path, settings)
        if settings.ordinary is not None:
            _refuse_equal(self._mimi.state_dict(), settings.ordinary)

    def warm_up(self) -> None:
        """Encodes; weights for which all voices are one are refused."""
        voice_probe.require_hearing(self._embedding, "the weights of the voice encoder")

    def encode(self, pcm: Pcm) -> bytes:
        """`speaker_wavs` in float32."""
        embedding = torch.from_numpy(self._embedding(pcm))
        return bytes(safetensors.torch.save({TENSOR: embedding.contiguous()}))

    def _embedding(self, pcm: Pcm) -> Pcm:
        with torch.no_grad(), no_compile():
            sound = torch.from_numpy(filled(pcm)).to(self._device)[None, None]
            latent = self._mimi.encode_to_latent(sound, quantize=False)
        return np.asarray(latent.float().cpu().numpy(), np.float32)


def filled(pcm: Pcm) -> Pcm:
    """Exactly `SAMPLE_S`: cut, or said again after a pause. Silence would be taken for a part of the voice's manner."""
    length = int(SAMPLE_S * SAMPLE_RATE)
    once = np.concatenate([pcm, np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32)])
    return np.tile(once, -(-length // len(once)))[:length].astype(np.float32)


def _load(path: Path, settings: Settings) -> Any:
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"{path}: the voice encoder's weights must be a .safetensors file; others may hold programs"
        )
    try:
        config = None if settings.config is None else _dimensions(settings.config)
        return loaders.get_mimi(path, config, device=settings.device, num_codebooks=1).eval()
    except (RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"{path}: these are not the weights of a Mimi: {str(error).splitlines()[0]}"
        ) from error


def _dimensions(path: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"option 'config': {path} cannot be read as JSON: {error}") from error
    return found


def _refuse_public(path: Path) -> None:
    if path.stat().st_size != PUBLIC_BYTES:
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == PUBLIC_SHA256:
            raise EngineMissing(f"voice cloning is not installed: {path} is the ordinary, public Mimi; {HOW}")


def _refuse_equal(ours: dict[str, torch.Tensor], ordinary: Path) -> None:
    """Under whatever name, and converted, the public weights came: all of their encoder is compared."""
    try:
        with safetensors.safe_open(ordinary, framework="pt") as theirs:
            names = [name for name in theirs.keys() if name.startswith("encoder.") and name in ours]  # noqa: SIM118
            same = [name for name in names if _alike(theirs.get_tensor(name), ours[name])]
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"option 'ordinary': {ordinary} cannot be read: {error}") from error
    if not names:
        raise ConfigError(f"option 'ordinary': {ordinary} holds no encoder of a Mimi to compare with")
    if same == names:
        raise EngineMissing(
            f"voice cloning is not installed: the encoder is the same as that of {ordinary}, an ordinary Mimi; {HOW}"
        )


def _alike(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    """Equal but for a conversion through bfloat16, whose mantissa has 8 bits."""
    return theirs.shape == ours.shape and bool(torch.allclose(theirs.to(ours), ours, rtol=0.01, atol=1e-4))


def needs(settings: Settings, slots: int) -> Needs:
    """moshi keeps state in its module: one model thread in a process."""
    return Needs(shares_process=False)


def build(settings: Settings, slots: int) -> MimiEncoder:
    """The encoder."""
    return MimiEncoder(settings)
