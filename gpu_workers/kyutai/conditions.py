"""What the speech model speaks with: a voice and a guidance, written into one row of a running batch.

moshi can only set the conditions of all rows at once, which would cost every listener a pause. So this writes into its
private streaming state (moshi 0.2.13); a test compares the result with moshi's own update of the whole batch.
"""

from dataclasses import dataclass
from typing import Any

import torch
from moshi.conditioners import ConditionAttributes, TensorCondition

from config.errors import ConfigError

#: Speakers that the model's cross-attention has room for (`TTSModel.max_speakers`); a reply has one.
SPEAKERS = 5


@dataclass(frozen=True)
class Condition:
    """One row's: keys of the cross-attention (1, positions, dim), and what is added to every input (1, 1, dim)."""

    cross: torch.Tensor
    added: torch.Tensor | None


class Conditions:
    """Makes and writes the conditions of a model's rows. `frames`: of a voice, all are padded to it."""

    def __init__(self, lm: Any, channels: int, frames: int) -> None:
        self._lm = lm
        self._shape = (SPEAKERS, frames, channels)
        self._conditioners = lm.condition_provider.conditioners

    def require_guidance(self, guidance: float | None) -> None:
        """ConfigError if the model was not trained with this guidance."""
        known = self._known_guidances()
        if guidance is not None and _name(guidance) not in known:
            raise ConfigError(
                f"option 'cfg': {guidance} is none of {', '.join(known) or 'null'}, which the model knows"
            )

    def _known_guidances(self) -> list[str]:
        if "cfg" not in self._conditioners:
            return []
        return sorted(self._conditioners["cfg"].tokenizer.possible_values or ())

    def attributes(self, voice: torch.Tensor | None, guidance: float | None) -> Any:
        """What moshi makes conditions of. voice: (1, channels, frames or fewer); None is nobody's."""
        speakers, mask = torch.zeros(self._shape), torch.zeros(self._shape[:2], dtype=torch.bool)
        if voice is not None:
            speakers[0, : voice.shape[2]] = voice[0].T
            mask[0, : voice.shape[2]] = True
        texts = {"control": "ok", "cfg": None if guidance is None else _name(guidance)}
        return ConditionAttributes(
            text={name: text for name, text in texts.items() if name in self._conditioners},
            tensor={"speaker_wavs": TensorCondition(speakers.flatten(0, 1)[None], mask.flatten()[None])},
        )

    def make(self, voice: torch.Tensor | None, guidance: float | None) -> Condition:
        """A row's conditions, on the model's device."""
        provided = self._lm.condition_provider.prepare_and_provide([self.attributes(voice, guidance)])
        cross, added = self._lm.fuser.get_cross(provided), self._lm.fuser.get_sum(provided)
        return Condition(cross.to(self._lm.dtype), None if added is None else added.to(self._lm.dtype))

    def silent(self, rows: int) -> Any:
        """Conditions of a whole batch in which nobody speaks, as LMGen wants them."""
        return self._lm.condition_provider.prepare_and_provide([self.attributes(None, None)] * rows)

    def write(self, generator: Any, row: int, condition: Condition) -> None:
        """Sets one row in place. The batch must have taken a step: then the keys and values are there."""
        for name, state in self._lm.get_streaming_state().items():
            if getattr(state, "k_cross", None) is not None:
                attention = self._lm.get_submodule(name)
                keys, values = attention._compute_cross_attention(condition.cross, condition.cross)
                state.k_cross[row], state.v_cross[row] = keys[0], values[0]
        own = generator.get_streaming_state()[""]
        own.condition_cross[row] = condition.cross[0]
        if condition.added is not None:
            own.condition_sum[row] = condition.added[0]


def wipe(modules: tuple[Any, ...], rows: list[int]) -> None:
    """Zeroes what attention remembers of these rows.

    A reset only moves a row's place in it; what is left there is weighted with 0, and 0 times NaN is NaN.
    """
    for module in modules:
        for state in module.get_streaming_state().values():
            if (cache := getattr(state, "kv_cache", None)) is not None:
                for row in rows:
                    cache.cache[:, row].zero_()


def _name(guidance: float) -> str:
    return format(guidance, ".1f")
