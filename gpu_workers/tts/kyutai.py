"""Text-to-speech by Kyutai's delayed streams, in a batch: words go in as they are written, audio with their times out.

No seed repeats the speech of one slot: moshi draws the samples of all rows from torch's one generator, so what a slot
gets depends on who else speaks. `seed` repeats a run that is the same in all its slots.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from config.settings import SAMPLE_RATE
from gpu_workers.engine import Needs, Pcm, Say, Slot, SpeechFrame, VoiceOptions
from gpu_workers.kyutai import checkpoint, rota, voice
from gpu_workers.kyutai.device import Device
from gpu_workers.kyutai.rota import Candidate
from gpu_workers.kyutai.script import Script, Tokens
from gpu_workers.kyutai.speaker import Speaker
from gpu_workers.kyutai.speech_model import BROKEN, SpeechModel
from gpu_workers.kyutai.timeline import DROPPED, Heard, Timeline
from gpu_workers.kyutai.voice import Voices

log = logging.getLogger(__name__)

#: GPU memory of tts-1.6b-en_fr without a slot: with four slots, which is what Kyutai runs for Unmute
#: (services/moshi-server/configs/tts-prod.toml), its README says 5.3 GB.
FIXED_MB = 4_640

#: Of each slot, in bfloat16: 16 layers · 2 · (500 steps of context + 5 · 125 frames of voices) · 2048 · 2 B = 147 MB,
#: and 18 MB for the codec's two transformers and the conditions. Computed from the published config, not measured.
SLOT_MB = 165


class Settings(checkpoint.Source, frozen=True):
    """Which model and voices, and how it speaks."""

    model: str = "kyutai/tts-1.6b-en_fr"
    voices_dir: Path | None = None
    """Folder of voice embeddings, such as `vctk/p225_023.wav.1e68beda@240.safetensors`; None: `voices` in the cache."""
    voices: str = "kyutai/tts-voices"
    """Hub repository of voices, in the cache `models_dir`."""
    default_voice: str | None = None
    """Speaks where no voice is named."""
    cfg: float | None = 2.0
    """Guidance the model was distilled with: higher follows voice and text more strictly, and sounds less natural.
    Unmute runs 2.0."""
    cfg_of_voices: dict[str, float] = Field({})
    """Voices that need another one."""
    codebooks: int = Field(24, gt=0)
    """Of the model's 32: fewer are faster and sound worse. Unmute runs 24."""
    temperature: float = Field(0.6, ge=0)
    """Of text and audio; moshi's own value. 0 always takes the likeliest, for tests."""
    seed: int | None = None
    """Of torch's generator, set once warm. Does not make one reply repeatable: see above."""
    padding_between: int = Field(1, ge=0)
    """Steps between words that the model must wait: 1 articulates a little better, 0 speaks faster. Unmute runs 1."""
    starts: rota.Rules = rota.Rules()  # type: ignore[call-arg]


@dataclass(eq=False)
class _Reply:
    """One slot's."""

    speaker: Speaker
    embedding: torch.Tensor
    cfg: float | None
    fresh: bool = True
    """Its row in the batch still holds what was there before."""
    finished: bool = False
    """Its last frame is made."""
    waiting: SpeechFrame | None = None
    """Made, and not yet wanted."""
    runs_out: float | None = None
    """When its listener has heard all that was given out; None before the first audio."""


class KyutaiTts:
    """A TtsEngine. A slot is a row of the batch; who has no text, or is far ahead, is left out of a step."""

    def __init__(
        self, settings: Settings, slots: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.slots = self.batch = slots
        self._settings = settings
        self._rules = settings.starts
        self._clock = clock
        self._device = device = Device.choose(settings.device, compiles=settings.compile)
        if settings.threads and not device.is_cuda:
            torch.set_num_threads(settings.threads)
        found = checkpoint.find(settings, "tts")
        tokenizer = found.load_tokenizer()
        self._tokens = Tokens(tokenizer.encode, tokenizer.unk_id())
        self._needs_mb = needs(settings, slots).gpu_mb
        self._model = device.load(
            f"the speech model {settings.model}", self._needs_mb,
            lambda: SpeechModel(
                found, device, slots, codebooks=settings.codebooks, temperature=settings.temperature
            ),
        )  # fmt: skip
        self.frame_samples = self._model.frame_samples
        self._voices = _voices(settings, found, self._model)
        self._replies: dict[Slot, _Reply] = {}
        self._under_way: list[tuple[Slot, _Reply, Heard]] = []
        """Frames of the last full step, whose audio is on its way from the device."""
        self._faults: dict[Slot, str] = {}

    def warm_up(self) -> None:
        """Takes steps of both kinds until everything is compiled and captured; reads the default voice."""
        self._device.load(f"the speech model {self._settings.model}", self._needs_mb, self._model.warm_up)
        if self._settings.default_voice:
            self._voices.load(self._settings.default_voice)
        if self._settings.seed is not None:
            torch.manual_seed(self._settings.seed)

    def voices(self) -> Sequence[str]:
        """Names of embeddings in the folder."""
        return self._voices.names

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a reply. The row is made ready by its first step. The model has one speed only."""
        self.close(slot)
        name = options.voice or self._settings.default_voice or ""
        cfg = self._settings.cfg
        if options.custom:
            embedding = self._voices.custom(options.custom)
        else:
            embedding, cfg = self._voices.load(name), self._settings.cfg_of_voices.get(name, cfg)
        script = Script(self._tokens, options.language, options.first_word)
        timeline = Timeline(options.first_word, self.frame_samples)
        speaker = Speaker(
            self._model.machine, script, timeline, self._settings.padding_between, self._model.lead
        )
        self._replies[slot] = _Reply(speaker, embedding, cfg)

    def feed(self, slot: Slot, say: Say) -> None:
        """More words, as they are written."""
        if reply := self._replies.get(slot):
            reply.speaker.script.write(say.words, last=say.last, pause=say.pause)

    def step(self, wanted: Sequence[Slot]) -> Mapping[Slot, SpeechFrame]:
        """Gives the audio of the step before, and takes the next: so the caller works while the device does."""
        self._collect()
        frames = self._given(wanted)
        for taken in range(self._rules.alone + self._rules.between + 1):
            chosen = rota.choose(self._candidates(wanted), taken, self._rules)
            if chosen is None:
                break
            self._take(chosen)
            if not chosen.text_only:
                break
        return frames

    def faults(self) -> Mapping[Slot, str]:
        """Slots whose numbers have gone, or whose text the model cannot take."""
        named, self._faults = self._faults, {}
        return named

    def close(self, slot: Slot) -> None:
        """Forgets the reply. Its row stands still until it is opened again."""
        self._replies.pop(slot, None)
        self._faults.pop(slot, None)

    # --- audio out

    def _collect(self) -> None:
        """Audio that has come from the device goes to its replies."""
        if not self._under_way:
            return
        rows = [slot for slot, _, _ in self._under_way]
        audio: Pcm = self._model.landed()[rows]
        whole = np.isfinite(np.einsum("rs,rs->r", audio, audio)).tolist()
        np.clip(audio, -1, 1, out=audio)
        for place, (slot, reply, heard) in enumerate(self._under_way):
            if self._replies.get(slot) is not reply:
                continue
            if whole[place]:
                pcm = audio[place]
                reply.waiting = SpeechFrame(pcm, heard.words, heard.spoken, heard.spoken_to, heard.last)
            else:
                self._fail(slot, "its audio holds values that are no numbers")
        self._under_way = []

    def _given(self, wanted: Sequence[Slot]) -> dict[Slot, SpeechFrame]:
        frames = {}
        now = self._clock()
        for slot in wanted:
            reply = self._replies.get(slot)
            if reply is None:
                continue
            frame, reply.waiting = reply.waiting, None
            if frame is None and not reply.finished and self._ready(slot, reply) and reply.speaker.mute:
                heard = reply.speaker.nothing()
                frame = SpeechFrame(np.zeros(0, np.float32), heard.words, heard.spoken, 0, last=True)
                reply.finished = True
            if frame is not None:
                frames[slot] = frame
                reply.runs_out = max(reply.runs_out or now, now) + len(frame.pcm) / SAMPLE_RATE
        return frames

    # --- steps

    def _candidates(self, wanted: Sequence[Slot]) -> list[Candidate]:
        now = self._clock()
        candidates = []
        for slot in wanted:
            reply = self._replies.get(slot)
            if reply is None or reply.finished:
                continue
            spare_s = None if reply.runs_out is None else reply.runs_out - now
            starting = reply.fresh or self._model.starting(slot)
            candidates.append(Candidate(slot, self._ready(slot, reply), starting, spare_s))
        return candidates

    def _ready(self, slot: Slot, reply: _Reply) -> bool:
        try:
            return reply.speaker.ready()
        except Exception as error:
            self._fail(slot, f"its text cannot be put into words: {type(error).__name__}")
            return False

    def _take(self, chosen: rota.Step) -> None:
        self._begin([slot for slot in chosen.slots if self._replies[slot].fresh])
        slots = [slot for slot in chosen.slots if slot in self._replies]
        if not slots:
            return
        steps = {slot: self._model.steps[slot] for slot in slots}
        audible = self._model.step(
            slots, text_only=chosen.text_only, read=lambda sampled: self._read(steps, sampled)
        )
        for slot in audible:
            reply = self._replies.get(slot)
            if reply is not None and steps[slot] >= self._model.lead + DROPPED:
                heard = reply.speaker.frame(steps[slot])
                reply.finished = heard.last
                self._under_way.append((slot, reply, heard))

    def _begin(self, slots: Sequence[Slot]) -> None:
        """Rows of replies that take their first step."""
        conditions = {}
        for slot in slots:
            reply = self._replies[slot]
            reply.fresh = False
            conditions[slot] = self._model.condition(reply.embedding, reply.cfg)
        if conditions:
            self._model.begin(conditions)

    def _read(self, steps: Mapping[Slot, int], sampled: list[int]) -> list[int]:
        """What each row reads, given what it asks for."""
        tokens = [self._model.pad] * self.slots
        for slot, step in steps.items():
            if sampled[slot] == BROKEN:
                self._fail(slot, "the model's numbers have gone")
                continue
            try:
                tokens[slot] = self._replies[slot].speaker.read(sampled[slot], step)
            except Exception as error:
                self._fail(slot, f"its text cannot be read: {type(error).__name__}")
        return tokens

    def _fail(self, slot: Slot, why: str) -> None:
        """Names the slot and forgets its reply; the row begins clean when it is opened again."""
        log.error("a reply is given up: %s", why)
        self._replies.pop(slot, None)
        self._faults[slot] = why


def _voices(settings: Settings, found: checkpoint.Checkpoint, model: SpeechModel) -> Voices:
    """The voices for this model. ConfigError if an option names one, or a guidance, that there is not."""
    folder = voice.folder(settings.voices_dir, settings.voices, settings.models_dir)
    signed = found.config.get("model_id")
    suffix = f".{signed['sig']}@{signed['epoch']}.safetensors" if signed else ".safetensors"
    voices = Voices(folder, suffix, model.voice_shape)
    for name in [*settings.cfg_of_voices, *([settings.default_voice] if settings.default_voice else [])]:
        voices.require(name)
    for cfg in (settings.cfg, *settings.cfg_of_voices.values()):
        model.conditions.require_guidance(cfg)
    return voices


def needs(settings: Settings, slots: int) -> Needs:
    """By published figures; nothing of a GPU on a CPU. moshi's globals allow one engine a process."""
    on_gpu = settings.device != "cpu"
    return Needs(gpu_mb=FIXED_MB + SLOT_MB * slots if on_gpu else 0, shares_process=False)


def build(settings: Settings, slots: int) -> KyutaiTts:
    """The engine."""
    return KyutaiTts(settings, slots)
