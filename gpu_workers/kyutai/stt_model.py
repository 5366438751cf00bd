"""Kyutai's recogniser, all slots in one step: audio in, a token and the pause heads' answers out. Knows no words.

A slot that is not in a step keeps its state as if nothing had happened, so slots go at their own pace and do not depend
on their neighbours. Work is given to the device by `launch` and waited for by `read`: between them the CPU is free.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from moshi.models import LMGen

from config.errors import ConfigError
from gpu_workers.engine import Pcm, Slot
from gpu_workers.kyutai.checkpoint import Checkpoint
from gpu_workers.kyutai.device import Device

#: On CUDA the first call of a graph runs plainly, the second records it, the third replays it.
WARM_UP_STEPS = 3

#: Columns of what a step gives, before those of the heads.
TOKEN, SURE, HEADS = 0, 1, 2

WHAT = "speech-to-text"


@dataclass(frozen=True)
class Answers:
    """What a step said, row by row of all slots; rows of slots that were not in it mean nothing."""

    tokens: list[int]
    sure: list[float]
    """Probability of the token."""
    heads: list[list[float]]
    """Probability of a pause of each head's length."""
    broken: frozenset[Slot]
    """Slots whose numbers are none: their state is of no use any more."""


class SttModel:
    """Model, codec and their state for `slots` streams."""

    def __init__(self, checkpoint: Checkpoint, device: Device, slots: int, needs_mb: int) -> None:
        self._device, self._needs_mb, self.slots = device, needs_mb, slots
        self._resets: set[Slot] = set()
        self._mask = np.ones(slots, bool)
        device.load(WHAT, needs_mb, lambda: self._build(checkpoint))
        config = checkpoint.config.get("stt_config", {})
        rate = self._mimi.frame_rate
        if "audio_delay_seconds" not in config:
            raise ConfigError(f"{checkpoint.name}: config.json says no stt_config.audio_delay_seconds")
        # moshi puts a token of its own in the place of a stream's first frame: its own programs give that frame twice.
        # Here a frame of silence comes first instead; audio is then numbered as in training, one behind the text.
        self.delay = max(0, int(config["audio_delay_seconds"] * rate) - 1)
        """Frames by which words come after their audio."""
        self.prefix = 1 + round(config.get("audio_silence_prefix_seconds", 0.0) * rate)
        """Frames of silence that a stream begins with."""
        self.frame_samples = int(self._mimi.frame_size)

    def _build(self, checkpoint: Checkpoint) -> None:
        self._mimi = checkpoint.load_mimi(self._device)
        model = checkpoint.load_model(self._device)
        if conditions := list(getattr(model.condition_provider, "conditioners", ())):
            raise ConfigError(
                f"{checkpoint.name}: this model wants {', '.join(conditions)} told, which no recogniser does"
            )
        self.heads = len(model.extra_heads)
        # Out of sync, because slots start when they like: else one slot's reset would leave all without an answer.
        self._stream = LMGen(
            model, temp=0.0, temp_text=0.0, use_sampling=False, support_out_of_sync=True,
            condition_tensors={}, on_text_logits_hook=self._see_logits,
        )  # fmt: skip
        self._parts = (self._mimi, self._stream, model)
        self._mimi.streaming_forever(self.slots)
        self._stream.streaming_forever(self.slots)
        pinned = self._device.is_cuda
        self._input = torch.zeros(self.slots, 1, int(self._mimi.frame_size), pin_memory=pinned)
        self._frames: npt.NDArray[np.float32] = self._input.numpy()[:, 0]
        self._audio = self._input.to(self._device.torch, copy=True)
        self._output = torch.zeros(self.slots, HEADS + self.heads, pin_memory=pinned)
        self._said = self._output.to(self._device.torch, copy=True)

    def warm_up(self) -> None:
        """Steps on silence, so that the first user does not wait for graphs to be recorded."""

        def warm() -> None:
            everyone: dict[Slot, Pcm | None] = dict.fromkeys(range(self.slots))
            for _ in range(WARM_UP_STEPS):
                for some in ({0: None}, everyone):  # masks are set by graphs, too, and only when they change
                    self.launch(some)
                    self.read()

        self._device.load(WHAT, self._needs_mb, warm)
        self._resets.update(range(self.slots))

    def reset(self, slot: Slot) -> None:
        """The slot's stream begins anew with the next step."""
        self._resets.add(slot)

    def launch(self, frames: Mapping[Slot, Pcm | None]) -> None:
        """Begins a step of these slots; None: silence. Frames are finite and of `frame_samples`."""
        slots = list(frames)
        for slot in slots:
            pcm = frames[slot]
            self._frames[slot] = 0.0 if pcm is None else pcm
        self._device.run(WHAT, lambda: self._set_masks(slots))
        codes = self._device.run(WHAT, self._encode)
        self._device.run(WHAT, lambda: self._say(codes))

    def _set_masks(self, slots: Collection[Slot]) -> None:
        if self._resets:
            again = torch.from_numpy(self._marked(self._resets)).to(self._device.torch)
            self._mimi.reset_streaming(reset_mask=again)
            self._stream.reset_streaming(reset_mask=again)
        mask = self._marked(slots)
        if self._resets or not np.array_equal(mask, self._mask):  # a reset has set those of its slots
            on_device = torch.from_numpy(mask).to(self._device.torch)
            self._mimi.set_exec_mask(on_device)
            self._stream.set_exec_mask(on_device)
        self._resets.clear()
        self._mask = mask

    def _marked(self, slots: Collection[Slot]) -> npt.NDArray[np.bool_]:
        mask = np.zeros(self.slots, bool)
        mask[list(slots)] = True
        return mask

    def _encode(self) -> torch.Tensor:
        self._audio.copy_(self._input, non_blocking=True)
        return self._mimi.encode(self._audio)

    def _say(self, codes: torch.Tensor) -> None:
        tokens, heads = self._stream.step_with_extra_heads(codes)
        self._said[:, TOKEN] = tokens[:, 0, 0]
        for number, head in enumerate(heads):
            self._said[:, HEADS + number] = head[:, 0, 0]
        self._output.copy_(self._said, non_blocking=True)

    def _see_logits(self, logits: torch.Tensor) -> None:
        """The greatest probability: at temperature 0 it is that of the token. NaN if any of the logits is."""
        scores = logits[:, 0, 0].float()
        self._said[:, SURE] = (scores.amax(-1) - scores.logsumexp(-1)).exp()

    def read(self) -> Answers:
        """Waits for the step; forgets the state of slots whose numbers are none."""
        self._device.run(WHAT, self._device.wait)
        said = self._output.numpy()
        finite = np.isfinite(said).all(axis=1)
        broken = frozenset(np.flatnonzero(self._mask & ~finite).tolist())
        if broken:
            self._device.run(WHAT, self._scrub)
            self._resets |= broken
        tokens = np.nan_to_num(said[:, TOKEN]).astype(int).tolist()
        return Answers(tokens, said[:, SURE].tolist(), said[:, HEADS:].tolist(), broken)

    def _scrub(self) -> None:
        """No NaN stays in the streams' memory: a reset hides it behind a mask, but 0 times NaN is NaN."""
        for part in self._parts:
            for state in part.get_streaming_state().values():
                for tensor in _tensors(state):
                    if tensor.is_floating_point():
                        tensor.nan_to_num_(0.0, 0.0, 0.0)


def _tensors(holder: Any, depth: int = 2) -> list[torch.Tensor]:
    """Tensors among the attributes of a state, and of what it holds: caches."""
    if isinstance(holder, torch.Tensor):
        return [holder]
    if depth == 0 or not hasattr(holder, "__dict__") or isinstance(holder, torch.nn.Module):
        return []
    return [tensor for value in vars(holder).values() for tensor in _tensors(value, depth - 1)]
