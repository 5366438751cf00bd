"""The protocols an engine answers to. Engines know slots and frames; loops call them from one thread.

Audio is mono float32 at 24 kHz in [-1, 1] everywhere.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from config.messages import ChatMessage, Pause, Tool, ToolCall, Transcript, VoiceEnded, VoiceStarted
from config.voice_messages import CustomVoice

Pcm = npt.NDArray[np.float32]
Slot = int

#: What an STT engine reports; all positions are session samples.
SttFact = VoiceStarted | VoiceEnded | Pause | Transcript


@dataclass(frozen=True)
class Needs:
    """What an engine asks of the machine, known before anything of it is loaded.

    An engine module tells it by `needs(settings, slots) -> Needs`; one that has no such function needs nothing special.
    """

    gpu_mb: int = 0
    """GPU memory with all its slots in use; 0: it runs on a CPU."""
    gpu_share: float = field(default=0.0, kw_only=True)
    """Part of the GPU's whole memory that it takes at its start, where it takes a part of it whatever it needs."""
    shares_process: bool = field(default=True, kw_only=True)
    """Whether one process may hold engines of other stages beside it."""


@dataclass(frozen=True)
class Tuning:
    """What a session asks of voice detection; None: as the engine was set up."""

    threshold: float | None = None
    """Probability from which sound is voice, between 0 and 1 (both excluded)."""
    prefix_ms: int | None = None
    """Audio before the onset of voice that belongs to what is said."""


@dataclass(frozen=True)
class ListenOptions:
    """How a slot listens: `start` is the session sample of the first frame it will get."""

    start: int
    language: str = "en"
    tuning: Tuning = Tuning()


class SttEngine(Protocol):
    """Streaming speech-to-text with endpointing, for `slots` sessions at once."""

    slots: int
    frame_samples: int
    batch: int
    """Most slots that one step takes; the loop chooses, who has waited longest first."""

    def warm_up(self) -> None:
        """Loads and runs everything once, so that the first user waits for nothing."""
        ...

    def open(self, slot: Slot, options: ListenOptions) -> None:
        """Starts a slot; whatever it held before is forgotten."""
        ...

    def step(self, frames: Mapping[Slot, Pcm]) -> Mapping[Slot, Sequence[SttFact]]:
        """Takes one frame of (frame_samples,) for each slot given; returns the facts known by now, of any open slot.

        Called with no frames, it reports what finished meanwhile. Never waits for a decode.
        """
        ...

    def commit(self, slot: Slot, at: int) -> None:
        """The open utterance ends at session sample `at`; a final Transcript follows from a later step."""
        ...

    def clear(self, slot: Slot, at: int) -> None:
        """Forgets what was said before session sample `at`."""
        ...

    def retune(self, slot: Slot, tuning: Tuning) -> None:
        """Voice is told from noise by these from the next frame on; what is open stays open."""
        ...

    def mark(self, slot: Slot) -> int:
        """Session sample from which a successor must listen to lose nothing."""
        ...

    def faults(self) -> Mapping[Slot, str]:
        """Slots that cannot be served any more, and why; named once each, and to be closed. The rest go on.

        Where the whole device is gone, whatever finds out raises DeviceLost instead.
        """
        ...

    def close(self, slot: Slot) -> None:
        """Frees a slot; results still under way for it are dropped."""
        ...


@dataclass(frozen=True)
class VoiceOptions:
    """Who speaks, how fast. `first_word` is the number of the first word the slot will be given.

    custom: a cloned voice, which then speaks instead of `voice`; ConfigError where the engine cannot use it.
    """

    voice: str
    speed: float = 1.0
    language: str = "en"
    first_word: int = 0
    custom: CustomVoice | None = None


@dataclass(frozen=True)
class Say:
    """Text for one slot in one step: more words of the reply, and whether they are the last."""

    words: Sequence[str] = ()
    last: bool = False
    pause: bool = False
    """Nothing follows for a while: all that was given is to be spoken now, whatever may come after it."""


@dataclass(frozen=True)
class SpeechFrame:
    """Audio of one slot from one step.

    words: (word number, start, stop) of each word whose sound begins in it; positions are samples since `open`.
    spoken: how many words of the reply are wholly heard once this frame is; the last of them stops at `spoken_to`.
    last: the slot has said everything.
    """

    pcm: Pcm
    words: Sequence[tuple[int, int, int]] = ()
    spoken: int = 0
    spoken_to: int = 0
    last: bool = False


class TtsEngine(Protocol):
    """Streaming text-to-speech for `slots` replies at once."""

    slots: int
    frame_samples: int
    batch: int
    """Most slots that one step takes; the loop chooses, who has the least audio in hand first."""

    def warm_up(self) -> None:
        """Loads and runs everything once."""
        ...

    def voices(self) -> Sequence[str]:
        """Names of the voices it can speak with."""
        ...

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a slot; whatever it held before is forgotten. An unknown voice raises ConfigError."""
        ...

    def feed(self, slot: Slot, say: Say) -> None:
        """More text for a slot; costs nothing, speaks nothing yet."""
        ...

    def step(self, wanted: Sequence[Slot]) -> Mapping[Slot, SpeechFrame]:
        """At most one frame for each slot wanted, in one batch; a slot with nothing ready yields none. Never waits."""
        ...

    def faults(self) -> Mapping[Slot, str]:
        """Slots that cannot be served any more, and why; named once each, and to be closed. The rest go on.

        Where the whole device is gone, whatever finds out raises DeviceLost instead.
        """
        ...

    def close(self, slot: Slot) -> None:
        """Frees a slot; synthesis under way for it is abandoned."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What an LLM is asked. `answered` is the start of the answer when a predecessor died in mid-reply."""

    messages: Sequence[ChatMessage]
    temperature: float = 0.3
    max_tokens: int = 256
    answered: str = ""
    session: str = ""
    """Opaque key by which an engine may keep a prompt cache; never an identity."""
    tools: Sequence[Tool] = ()
    """Functions the model may ask to be called; an engine that knows none ignores them."""
    tool_choice: str = "auto"
    """'auto', 'none', 'required', or the name of the function that must be called."""


@dataclass
class Usage:
    """Filled in by the engine while it generates."""

    input_tokens: int = 0
    output_tokens: int = 0
    stopped: str = field(default="stop")
    """'stop' or 'length'."""


class TokenEngine(Protocol):
    """A language model that streams, called from one asyncio loop; it batches by itself."""

    slots: int
    continues: bool
    """Whether `Prompt.answered` is continued; if not, the loop strips what is said again."""
    calls_tools: bool
    """Whether it tells its model of tools; if not, they are ignored."""

    async def warm_up(self) -> None:
        """Loads and runs everything once."""
        ...

    async def prefill(self, prompt: Prompt) -> None:
        """Prepares for a prompt that probably comes; may do nothing."""
        ...

    def generate(self, prompt: Prompt, usage: Usage) -> AsyncIterator[str | ToolCall]:
        """Pieces of the answer as they come, and calls of tools, each when it is whole.

        Closing the iterator stops the model within 100 ms.
        """
        ...

    async def close(self) -> None:
        """Stops servers and connections."""
        ...


class VoiceEncoder(Protocol):
    """Makes of a recording what a TTS engine speaks with. Called from one thread at a time."""

    name: str
    """As in `CustomVoice.encoder`: the engines that know it can use what it makes."""

    def warm_up(self) -> None:
        """Loads and runs everything once. EngineMissing when its weights are not there or not those that can do it."""
        ...

    def encode(self, pcm: Pcm) -> bytes:
        """A prepared sample of 3 to 10 s at 24 kHz as safetensors, at most what `CustomVoice.data` may hold."""
        ...
