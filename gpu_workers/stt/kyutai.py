"""Speech-to-text by Kyutai's streaming model on a GPU: 80 ms of every slot in one step, words half a second later.

Voice is found by Silero on the CPU while the GPU works; whether a pause ends the turn is said by the model's own heads.
At a commit the slot hears silence, as fast as steps are made, so that its last words need not be waited for.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from config.environment import by_commas
from config.errors import ConfigError
from gpu_workers.endpoint.levels import level_db
from gpu_workers.engine import ListenOptions, Needs, Pcm, Slot, SttFact, Tuning
from gpu_workers.kyutai import checkpoint
from gpu_workers.kyutai.device import Device
from gpu_workers.kyutai.hearer import Hearer, Utterance
from gpu_workers.kyutai.hearer import Rules as HearingRules
from gpu_workers.kyutai.lane import Lane
from gpu_workers.kyutai.pauses import PauseHead
from gpu_workers.kyutai.pauses import Rules as PauseRules
from gpu_workers.kyutai.stt_model import Answers, SttModel
from gpu_workers.kyutai.vad import HEARD, FrameVad
from gpu_workers.kyutai.words import WordReader

log = logging.getLogger(__name__)

#: Memory of the 1B model without streams: what Unmute's README says that speech-to-text takes.
MODEL_MB = 2_500

#: Memory of one stream of it, by the sizes in the published configs: keys and values of 16 layers of 2048 over 750
#: frames in bfloat16 are 98.3 MB, those of the codec's transformers (2 · 8 layers of 512 over 250, float32) 16.4 MB.
STREAM_MB = 115


class Settings(checkpoint.Source, frozen=True):
    """Which model, and how its answers become facts."""

    model: str = "kyutai/stt-1b-en_fr-candle"
    """A folder, or a hub repository. Of the published ones only this has pause heads."""
    languages: tuple[str, ...] = ("en", "fr")
    """What the model understands."""
    listening: HearingRules = HearingRules()  # type: ignore[call-arg]
    pauses: PauseRules = PauseRules()  # type: ignore[call-arg]
    voice: Literal["silero", "heads"] = "silero"
    """Who tells voice from silence. Silero knows after 64 ms, and its threshold is what sessions tune; the heads know
    in steps of 80 ms, were trained to find pauses, and mean nothing in the first second of a stream."""
    gpu_mb: int | None = Field(None, gt=0)
    """Memory that a worker asks for with all its slots; None: what the 1B model takes."""
    vad_threads: int = Field(1, gt=0)
    """Threads of Silero."""
    flush_burst: int = Field(4, gt=0)
    """Steps in one call that brings no audio while some slot is behind: nobody else waits then."""
    flush_beside: int = Field(2, gt=0)
    """The same in a call that brings audio, of others or of its own: a flush takes half as long for it, and everybody's
    next frame waits for one step more. With 1 it takes a frame's time a step on a worker that is full."""

    _listed = field_validator("languages", mode="before")(by_commas)


@dataclass(eq=False)
class Ear:
    """One open slot."""

    lane: Lane
    hearer: Hearer
    head: PauseHead
    reader: WordReader
    flushing: deque[Utterance] = field(default_factory=deque)
    """Whose words the flushes that wait bring, in order."""
    voice_at: int = 0
    """Session sample up to which voice was looked for."""


class KyutaiStt:
    """A lane, a reader of words and a hearer for each slot; one model for all."""

    def __init__(self, settings: Settings, model: SttModel, decode: Callable[[Sequence[int]], str]) -> None:
        self.slots = model.slots
        self.batch = model.slots
        self.frame_samples = model.frame_samples
        self._settings = settings
        self._model = model
        self._decode = decode
        self._vad = FrameVad(model.slots, settings.vad_threads) if settings.voice == "silero" else None
        self._ears: dict[Slot, Ear] = {}
        self._faults: dict[Slot, str] = {}

    def warm_up(self) -> None:
        """Steps until nothing is recorded or compiled any more."""
        self._model.warm_up()
        if self._vad is not None:
            noise = np.random.default_rng(0).normal(0, 1e-3, self.frame_samples).astype(np.float32)
            self._vad.hear(dict.fromkeys(range(self.slots), noise))

    def open(self, slot: Slot, options: ListenOptions) -> None:
        """Listens from `options.start` on. ConfigError for a language that the model was not trained on."""
        known = self._settings.languages
        if options.language.partition("-")[0] not in known:
            raise ConfigError(f"this speech-to-text understands {', '.join(known)}, not {options.language!r}")
        self._model.reset(slot)
        if self._vad is not None:
            self._vad.reset(slot)
        self._faults.pop(slot, None)
        self._ears[slot] = Ear(
            Lane(options.start, self.frame_samples, self._model.delay, self._model.prefix),
            Hearer(
                self._settings.listening.tuned(options.tuning),
                options.start,
                options.language,
                self._settings.pauses.over_p_end,
            ),
            PauseHead(self._settings.pauses),
            WordReader(self._decode),
            voice_at=options.start,
        )

    def retune(self, slot: Slot, tuning: Tuning) -> None:
        """Takes a threshold for voice and a pre-roll; None: as set up."""
        self._ears[slot].hearer.retune(self._settings.listening.tuned(tuning))

    # --- a step

    def step(self, frames: Mapping[Slot, Pcm]) -> Mapping[Slot, Sequence[SttFact]]:
        """Frames of (1920,), 80 ms. Each slot that has something to hear hears it, a flush's silence included."""
        came = self._take(frames)
        for turn in range(self._settings.flush_beside if frames else self._settings.flush_burst):
            due = [slot for slot, ear in self._ears.items() if len(ear.lane) and slot not in self._faults]
            if not due:
                break
            self._advance(due, came if turn == 0 else {})
        facts: dict[Slot, Sequence[SttFact]] = {}
        for slot, ear in self._ears.items():
            if ear.hearer.facts:
                facts[slot], ear.hearer.facts = ear.hearer.facts, []
        return facts

    def _take(self, frames: Mapping[Slot, Pcm]) -> dict[Slot, Pcm]:
        """The frames without what is no sound; a slot whose frame is of another shape is given up."""
        good = {}
        for slot, pcm in frames.items():
            if pcm.shape == (self.frame_samples,) and slot in self._ears:
                good[slot] = pcm
            else:
                self._give_up(slot, f"a frame is of shape {pcm.shape}, not ({self.frame_samples},)")
        if not good:
            return {}
        clean = np.stack(list(good.values())).astype(np.float32, copy=False)
        if not np.isfinite(clean).all():
            clean = np.nan_to_num(clean, posinf=0.0, neginf=0.0)
        came = dict(zip(good, np.clip(clean, -1.0, 1.0), strict=True))
        for slot, pcm in came.items():
            lane = self._ears[slot].lane
            lane.add(pcm)
            if lane.dropped == 1:
                log.warning("slot %d of the speech-to-text is far behind: audio is dropped", slot)
        return came

    def _give_up(self, slot: Slot, why: str) -> None:
        if slot in self._ears:
            self._faults[slot] = why

    def _advance(self, due: Sequence[Slot], came: Mapping[Slot, Pcm]) -> None:
        """One step of the model for these slots; voice is looked for in what came meanwhile."""
        taken = {slot: self._ears[slot].lane.take() for slot in due}
        self._model.launch({slot: frame.pcm for slot, frame in taken.items()})
        if self._vad is not None:
            self._look_for_voice(self._vad, came)
        answers = self._model.read()
        for slot in answers.broken:
            self._give_up(slot, "the model's answer is no number; its state was cleared")
        for slot, frame in taken.items():
            if slot in answers.broken:
                continue
            ear = self._ears[slot]
            try:
                self._understand(slot, ear, answers, frame.pcm)
                if frame.ends_flush:
                    ear.hearer.flushed(ear.flushing.popleft())
            except Exception as error:
                log.exception("slot %d of the speech-to-text failed", slot)
                self._give_up(slot, type(error).__name__)

    def _look_for_voice(self, vad: FrameVad, came: Mapping[Slot, Pcm]) -> None:
        for slot, voiced in vad.hear(came).items():
            ear = self._ears[slot]
            for item in voiced:
                ear.voice_at += HEARD
                ear.hearer.hear(item.probability, item.level, ear.voice_at)

    def _understand(self, slot: Slot, ear: Ear, answers: Answers, pcm: Pcm | None) -> None:
        heads = answers.heads[slot]
        if self._vad is None and pcm is not None:
            ear.voice_at += self.frame_samples
            ear.hearer.hear(self._voice_by_heads(ear, heads), level_db(pcm), ear.voice_at)
        if self._settings.pauses.head is not None:
            ear.head.hear(heads[self._settings.pauses.head])
        about = ear.lane.about
        if about is not None:
            word = ear.reader.hear(
                answers.tokens[slot], answers.sure[slot], about, about + self.frame_samples
            )
            ear.hearer.read(word, about, more=ear.reader.open)
        ear.hearer.judge(None if len(ear.lane) or self._settings.pauses.head is None else ear.head.p_end)

    def _voice_by_heads(self, ear: Ear, heads: Sequence[float]) -> float:
        """The head of the shortest pause, the other way round."""
        return 0.0 if ear.head.young else 1.0 - heads[0]

    # --- what the loop wants

    def commit(self, slot: Slot, at: int) -> None:
        """Closes the utterance; if its words are not all there, silence brings them."""
        ear = self._ears[slot]
        utterance = ear.hearer.commit(at)
        if utterance is not None:
            ear.flushing.append(utterance)
            ear.lane.flush()

    def clear(self, slot: Slot, at: int) -> None:
        """Forgets the utterance."""
        self._ears[slot].hearer.clear(at)

    def mark(self, slot: Slot) -> int:
        """The start of the oldest utterance that is not done, or a little before now."""
        return self._ears[slot].hearer.mark

    def faults(self) -> Mapping[Slot, str]:
        """Slots whose numbers were none, or whose frames did not fit."""
        faults, self._faults = self._faults, {}
        for slot in faults:
            self._ears.pop(slot, None)
        return faults

    def close(self, slot: Slot) -> None:
        """Forgets the slot; its row of the batch is stepped no more."""
        self._ears.pop(slot, None)
        self._faults.pop(slot, None)


def needs(settings: Settings, slots: int) -> Needs:
    """Nothing of a GPU on a CPU; the process is the model's own either way, for moshi keeps state in its modules."""
    if settings.device == "cpu":
        return Needs(shares_process=False)
    return Needs(settings.gpu_mb or MODEL_MB + STREAM_MB * slots, shares_process=False)


def build(settings: Settings, slots: int) -> KyutaiStt:
    """The engine, its weights loaded. ConfigError says which file, tensor or setting does not fit."""
    device = Device.choose(settings.device, compiles=settings.compile)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    found = checkpoint.find(settings, "stt")
    tokenizer = found.load_tokenizer()
    model = SttModel(found, device, slots, needs(settings, slots).gpu_mb)
    _require_heads(settings, found.name, model.heads)
    return KyutaiStt(settings, model, lambda pieces: str(tokenizer.decode(list(pieces))))


def _require_heads(settings: Settings, name: str, heads: int) -> None:
    head = settings.pauses.head
    wanted = max(0 if settings.voice == "heads" else -1, -1 if head is None else head)
    if wanted >= heads:
        raise ConfigError(
            f"the model {name!r} has {heads} pause heads, and head {wanted} is asked for; "
            f"{Settings.model_fields['model'].default} has four. With option pauses: {{head: null}} and "
            "voice: silero turns end by words and silence alone"
        )
