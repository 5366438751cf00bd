"""Text-to-speech by Kyutai's Pocket TTS on a CPU, clause by clause, given out while it is made; with cloned voices."""

import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from config.errors import ConfigError, EngineMissing
from config.voice_messages import CUSTOM_PREFIX, CustomVoice
from gpu_workers import pocket, weights
from gpu_workers.clauses import clause_runner
from gpu_workers.clauses.clause_runner import ClauseRunner, Spoken
from gpu_workers.clauses.paced_clause import USUAL_PACE, PacedClause, next_pace
from gpu_workers.engine import Needs, Pcm

#: Who makes voices that this engine can speak with.
ENCODER = "pocket"

#: Cloned voices kept, for each slot: those of replies under way, and some that may come again.
KEPT_PER_SLOT = 2


class Settings(pocket.Files, frozen=True):
    """The model, and how it speaks."""

    voices: Path | None = None
    """More voices: a folder of .safetensors files, as `pocket-tts export-voice` writes them."""
    clauses: clause_runner.Rules = clause_runner.Rules()  # type: ignore[call-arg]
    """`workers` models are loaded, of 0.4 GB each: one speaks a clause at a time."""
    temperature: float | None = Field(None, ge=0)
    """None: as the model's makers recommend."""


class PocketTts:
    """A ClauseEngine over Pocket TTS; as many models as clauses may be spoken at a time, for none is thread-safe."""

    def __init__(self, settings: Settings, slots: int) -> None:
        self._models: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(settings.clauses.workers):
            self._models.put(_loaded(settings))
        with self._model() as model:
            self._like = pocket.blank(model)
        self._states = _voices(settings, self._like)
        self._adopted: OrderedDict[str, pocket.State] = OrderedDict()
        self._most_adopted = KEPT_PER_SLOT * slots
        self._lock = threading.Lock()
        self._pace = USUAL_PACE

    def warm_up(self) -> None:
        """Speaks with every model."""
        for _ in range(self._models.qsize()):
            self.synthesise(["I", "am", "ready."], next(iter(self._states)), 1.0)

    def voices(self) -> Sequence[str]:
        """Those of the catalogue and those of the settings."""
        return tuple(self._states)

    def adopt(self, custom: CustomVoice) -> str:
        """Keeps a cloned voice for the replies that will speak with it."""
        if custom.encoder != ENCODER:
            raise ConfigError(
                f"a cloned voice of {custom.encoder!r} is none for Pocket TTS, which takes {ENCODER!r}"
            )
        name = CUSTOM_PREFIX + sha256(custom.data).hexdigest()
        if self._known(name) is None:
            state = pocket.unpacked(custom.data, "a cloned voice", self._like)
            with self._lock:
                self._adopted[name] = state
                while len(self._adopted) > self._most_adopted:
                    self._adopted.popitem(last=False)
        return name

    def synthesise(self, words: Sequence[str], voice: str, speed: float) -> Spoken:
        """All pieces of `stream` in one."""
        pieces = list(self.stream(words, voice, speed))
        pcm = np.concatenate([piece.pcm for piece in pieces])
        return Spoken(pcm, [span for piece in pieces for span in piece.spans])

    def stream(self, words: Sequence[str], voice: str, speed: float) -> Generator[Spoken]:
        """24 kHz, from the first sound on, as the model makes it. The model knows no other speed than its own."""
        state = self._known(voice)
        if state is None:
            raise ConfigError(f"the voice {voice!r} is not kept any more")
        clause = PacedClause(words, self._pace)
        text = " ".join(word for word in words if word)
        if any(letter.isalnum() for letter in text):
            with closing(self._sound(state, text)) as sound:
                for pcm in sound:
                    if piece := clause.add(pcm):
                        yield piece
        yield clause.end()
        self._pace = next_pace(self._pace, words, clause.given)

    def _sound(self, state: pocket.State, text: str) -> Generator[Pcm]:
        """What the model makes. When nobody wants more of it, it is stopped, and waited for: it has threads."""
        stop = threading.Event()
        with self._model() as model:
            made = model.generate_audio_stream(state, text, stop=stop)
            try:
                for piece in made:
                    yield np.nan_to_num(piece.float().numpy()).clip(-1.0, 1.0)
            finally:
                stop.set()
                deque(made, maxlen=0)

    def _known(self, voice: str) -> pocket.State | None:
        """A voice; a cloned one is the newest then."""
        with self._lock:
            if voice in self._adopted:
                self._adopted.move_to_end(voice)
                return self._adopted[voice]
        return self._states.get(voice)

    @contextmanager
    def _model(self) -> Iterator[Any]:
        model = self._models.get()
        try:
            yield model
        finally:
            self._models.put(model)


def _loaded(settings: Settings) -> Any:
    model = pocket.load(settings)
    if settings.temperature is not None:
        model.temp = settings.temperature
    return model


def _voices(settings: Settings, like: pocket.State) -> dict[str, pocket.State]:
    paths = pocket.catalogue(settings.folder / pocket.EMBEDDINGS)
    if settings.voices is not None:
        paths |= pocket.catalogue(settings.voices)
    if not paths:
        raise EngineMissing(
            f"Pocket TTS has no voices: {settings.folder / pocket.EMBEDDINGS} holds no .safetensors file; "
            + weights.remedy("tts/pocket", "folder")
        )
    return {name: pocket.unpacked(path.read_bytes(), str(path), like) for name, path in paths.items()}


def needs(settings: Settings, slots: int) -> Needs:
    """A CPU; the package sets torch's threads for the whole process."""
    return Needs(shares_process=False)


def build(settings: Settings, slots: int) -> ClauseRunner:
    """The engine."""
    return ClauseRunner(PocketTts(settings, slots), settings.clauses, slots)
