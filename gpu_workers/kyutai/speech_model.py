"""Kyutai's text-to-speech in a batch: rows of one running model, stepped together. Knows no words and no replies.

Text leads: the model reads at step s what is heard in frame s, and makes that frame's audio `delay` steps later; its
acoustic codes come another few steps behind. Until the first of them a step need not make audio at all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from moshi.models import LMGen
from moshi.models.tts import StateMachine, TokenIds

from config.errors import ConfigError
from gpu_workers.engine import Pcm
from gpu_workers.kyutai.checkpoint import Checkpoint
from gpu_workers.kyutai.conditions import Condition, Conditions, wipe
from gpu_workers.kyutai.device import Device
from gpu_workers.kyutai.voice import VOICE_S

#: moshi's own values for streaming speech (`TTSModel.from_checkpoint_info`).
INITIAL_PADDING = 2
MAX_PADDING = 8

#: Steps after which on CUDA everything was captured: a plain call, the capture, a replay.
WARM_STEPS = 3

#: What a row asks for whose numbers have gone: no token. Its listener must be told.
BROKEN = -1

#: Tokens that rows ask for -> tokens that they read.
Read = Callable[[list[int]], list[int]]


class SpeechModel:
    """`rows` replies at once. Not yet in memory: `load` brings it there."""

    def __init__(
        self, checkpoint: Checkpoint, device: Device, rows: int, *, codebooks: int, temperature: float
    ) -> None:
        self._device = device
        self._rows = rows
        self._mimi = checkpoint.load_mimi(device)
        self.voice_shape = voice_shape(checkpoint, self._mimi.frame_rate)
        self._lm = lm = checkpoint.load_model(device)
        self.codebooks = lm.dep_q = min(codebooks, lm.dep_q)  # fewer codebooks: fewer steps of the depformer
        self._mimi.set_num_codebooks(self.codebooks)
        said = checkpoint.config["tts_config"]
        self.machine = StateMachine(
            TokenIds(lm.text_card + 1), said.get("second_stream_ahead", 0), MAX_PADDING, INITIAL_PADDING
        )
        self.pad = int(self.machine.token_ids.pad)
        self.delay = int(said["audio_delay"] * self._mimi.frame_rate)
        self.frame_samples = int(self._mimi.frame_size)
        self.steps = [0] * rows
        """Of each row since it began."""
        self.conditions = Conditions(lm, *self.voice_shape)
        self._start(temperature)
        self._make_room()

    def _start(self, temperature: float) -> None:
        self._generator = LMGen(
            self._lm, temp=temperature, temp_text=temperature, use_sampling=temperature > 0,
            condition_tensors=self.conditions.silent(self._rows), support_out_of_sync=True,
            on_text_logits_hook=self._on_logits, on_text_hook=self._on_text, on_audio_hook=self._on_audio,
        )  # fmt: skip
        self._generator.streaming_forever(self._rows)
        self._mimi.streaming_forever(self._rows)
        self.lead = self.delay + int(self._generator.max_delay)
        """Steps between reading a word and its frame of audio."""
        self._first_audio = np.array(self._lm.delays[1 : 1 + self.codebooks]) + self.delay
        self._masks: dict[str, list[int]] = {}

    def _make_room(self) -> None:
        """What a step needs besides the model: nothing is allocated on the way."""
        self._silence = int(self.machine.token_ids.zero)
        self._inputs = self._filled(self._lm.n_q - self.codebooks)
        self._no_audio = self._filled(self.codebooks)
        pinned = self._device.is_cuda
        self._host_tokens = torch.zeros(self._rows, dtype=torch.long, pin_memory=pinned)
        self._host_pcm = torch.zeros(self._rows, self.frame_samples, pin_memory=pinned)
        self._event = torch.cuda.Event() if pinned else None
        self._finite: torch.Tensor | None = None
        self._early: torch.Tensor | None = None
        self._read: Read = self._read_nothing
        self._tokens: list[int] | None = None

    def _filled(self, codebooks: int) -> torch.Tensor:
        shape = (self._rows, codebooks, 1)
        return torch.full(shape, self._silence, dtype=torch.long, device=self._device.torch)

    def warm_up(self) -> None:
        """Runs both kinds of steps with all rows, and everything that a row's beginning does."""
        everyone = list(range(self._rows))
        nobody = self.conditions.make(None, None)
        for _ in range(WARM_STEPS):
            for text_only in (True, False):
                self._tokens = None
                codes = self._text(everyone, text_only=text_only)
            self._audio(everyone, codes)
            if not np.isfinite(self._land()).all():
                raise ConfigError("the codec gives values that are no numbers: its weights are damaged")
            self._begin(dict.fromkeys(everyone, nobody))

    def _read_nothing(self, sampled: list[int]) -> list[int]:
        if BROKEN in sampled:
            raise ConfigError("the model gives values that are no numbers: its weights are damaged")
        return [self.pad] * len(sampled)

    def condition(self, voice: torch.Tensor, guidance: float | None) -> Condition:
        """What a row begins with."""
        return self._device.run("a voice", lambda: self.conditions.make(voice, guidance))

    def begin(self, rows: Mapping[int, Condition]) -> None:
        """These rows start anew, each with its conditions; nothing is left of what they held."""
        self._device.run("the start of a reply", lambda: self._begin(rows))

    def step(self, rows: Sequence[int], *, text_only: bool, read: Read) -> list[int]:
        """These rows take a step. Returns those of them whose audio it makes: `landed` gives it."""
        self._read, self._tokens = read, None
        codes = self._device.run("a step of speech", lambda: self._text(rows, text_only=text_only))
        audible = [] if text_only else [row for row in rows if self.steps[row] >= self.lead]
        if audible:
            self._device.run("a frame of speech", lambda: self._audio(audible, codes))
        for row in rows:
            self.steps[row] += 1
        return audible

    def landed(self) -> Pcm:
        """The audio of the last step that made some, (rows, samples); a view, to be read before the next step."""
        return self._device.run("a frame of speech", self._land)

    def starting(self, row: int) -> bool:
        """Whether it only reads text as yet."""
        return self.steps[row] < self.delay

    def _begin(self, rows: Mapping[int, Condition]) -> None:
        chosen = list(rows)
        mask = self._mask(chosen)
        for module in (self._generator, self._mimi):
            module.reset_streaming(reset_mask=mask)
        self._masks.clear()  # a reset turns a row on
        wipe((self._lm, self._mimi), chosen)
        for row, condition in rows.items():
            self.conditions.write(self._generator, row, condition)
        for row in chosen:
            self.steps[row] = 0

    def _text(self, rows: Sequence[int], *, text_only: bool) -> torch.Tensor:
        """Codes of all rows, (rows, 1 + codebooks, 1)."""
        self._early = None if text_only else self._not_yet(rows)
        self._set_mask("text", self._generator, rows)
        return self._generator.step(self._inputs, self._no_audio if text_only else None)

    def _audio(self, rows: Sequence[int], codes: torch.Tensor) -> None:
        self._set_mask("audio", self._mimi, rows)
        pcm = self._mimi.decode(codes[:, 1:].clamp(min=0))
        self._host_pcm.copy_(pcm[:, 0], non_blocking=True)
        if self._event is not None:
            self._event.record()

    def _land(self) -> Pcm:
        if self._event is not None:
            self._event.synchronize()
        audio: Pcm = self._host_pcm.numpy()
        return audio

    def _not_yet(self, rows: Sequence[int]) -> torch.Tensor | None:
        """Codes of these rows that are silence still, (rows, codebooks); None where there are none."""
        if min(self.steps[row] for row in rows) >= self.lead:
            return None
        early = np.array(self.steps)[:, None] < self._first_audio
        return torch.from_numpy(early).to(self._device.torch)

    def _set_mask(self, name: str, module: Any, rows: Sequence[int]) -> None:
        """Only these rows of the module move on. Tells it what has changed."""
        wanted = sorted(rows)
        if self._masks.get(name) != wanted:
            module.set_exec_mask(self._mask(wanted))
            self._masks[name] = wanted

    def _mask(self, rows: Sequence[int]) -> torch.Tensor:
        mask = np.zeros(self._rows, bool)
        mask[rows] = True
        return torch.from_numpy(mask).to(self._device.torch)

    # --- what moshi calls in the middle of a step

    def _on_logits(self, logits: torch.Tensor) -> None:
        self._finite = logits.isfinite().flatten(1).all(1)

    def _on_text(self, tokens: torch.Tensor) -> None:
        """The sampled tokens become those that are read. The one place where a step waits for the device.

        A step that is done again for want of memory reads again what it has read: a token comes once.
        """
        if self._tokens is None:
            assert self._finite is not None
            self._tokens = self._read(tokens.masked_fill(~self._finite, BROKEN).tolist())
        self._host_tokens.numpy()[:] = self._tokens
        tokens.copy_(self._host_tokens, non_blocking=True)

    def _on_audio(self, codes: torch.Tensor) -> None:
        if self._early is not None:
            codes.masked_fill_(self._early, self._silence)


def voice_shape(checkpoint: Checkpoint, frame_rate: float) -> tuple[int, int]:
    """(channels, frames) of a voice. ConfigError if the model takes none, or is of a kind that we do not know."""
    conditioners = checkpoint.config.get("conditioners") or {}
    said = checkpoint.config.get("tts_config") or {}
    if "speaker_wavs" not in conditioners or not checkpoint.config.get("cross_attention"):
        raise ConfigError(
            f"{checkpoint.name} takes no voice embeddings; models with audio prefixes are not served"
        )
    if said.get("multistream") or "audio_delay" not in said:
        raise ConfigError(f"{checkpoint.name}: config.json describes no speech of one speaker")
    return int(conditioners["speaker_wavs"]["tensor"]["dim"]), int(VOICE_S * frame_rate)
