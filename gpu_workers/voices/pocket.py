"""Pocket TTS' voice encoder: a sample becomes the state from which the engine `pocket` goes on speaking. On a CPU."""

from pathlib import Path

import numpy as np
import torch

from config.errors import ConfigError, EngineMissing
from gpu_workers import pocket
from gpu_workers.engine import Needs, Pcm
from gpu_workers.samples import voice_probe

#: What `CustomVoice.data` may hold, less what its envelope takes.
MOST_BYTES = (8 << 20) - 64

HOW = (
    "set voices.options.weights to the model.safetensors with voice cloning (kyutai/pocket-tts, whose terms must be "
    "accepted); the freely published one has no encoder"
)


class Settings(pocket.Files, frozen=True):
    """The same model as the TTS engine's, but with weights that can clone."""

    weights: Path | None = None
    """The file with voice cloning."""


class PocketEncoder:
    """3 to 10 s of a voice to the model's state after hearing it."""

    name = "pocket"

    def __init__(self, settings: Settings) -> None:
        if settings.weights is None:
            raise EngineMissing(f"voice cloning is not installed: {HOW}")
        self._model = pocket.load(settings, settings.weights)

    def warm_up(self) -> None:
        """Encodes; weights for which all voices are one are refused."""
        try:
            voice_probe.require_hearing(self._heard, "these weights of Pocket TTS")
        except ConfigError as error:
            raise EngineMissing(f"voice cloning is not installed: {error}; {HOW}") from error

    def encode(self, pcm: Pcm) -> bytes:
        """6 MB for 10 s of the six-layer models; those of 24 layers are too large to be kept."""
        data = pocket.packed(self._state(pcm))
        if len(data) > MOST_BYTES:
            raise ConfigError(
                f"a voice of this model takes {len(data) >> 20} MB, more than {MOST_BYTES >> 20}: "
                "clone with a model of fewer layers"
            )
        return data

    def _state(self, pcm: Pcm) -> pocket.State:
        with torch.no_grad():
            state: pocket.State = self._model.get_state_for_audio_prompt(torch.from_numpy(pcm)[None])
        return state

    def _heard(self, pcm: Pcm) -> Pcm:
        """What the last layer remembers of the last position: it depends on all that was heard."""
        last = list(self._state(pcm).values())[-1]
        return np.asarray(
            last["cache"][:, :, int(last["offset"].view(-1)[0]) - 1].float().numpy(), np.float32
        )


def needs(settings: Settings, slots: int) -> Needs:
    """The package sets torch's threads for the whole process."""
    return Needs(shares_process=False)


def build(settings: Settings, slots: int) -> PocketEncoder:
    """The encoder."""
    return PocketEncoder(settings)
