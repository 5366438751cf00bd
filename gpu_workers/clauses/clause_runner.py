"""Makes a TTS engine for the loop out of one that speaks whole clauses: cuts, queues, and deals out frames.

Clauses are spoken on threads: one at a time for each slot, first the slot whose audio runs out first.
"""

import logging
import queue
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, takewhile
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, Field

from config.errors import ConfigError
from config.settings import SAMPLE_RATE
from config.voice_messages import CustomVoice
from gpu_workers.clauses import speech_text
from gpu_workers.engine import Pcm, Say, Slot, SpeechFrame, VoiceOptions
from gpu_workers.spoken import spoken
from gpu_workers.workers import Workers

log = logging.getLogger(__name__)


class Rules(BaseModel, frozen=True):
    """How clauses are cut and scheduled."""

    text: speech_text.Rules = speech_text.Rules()  # type: ignore[call-arg]
    frame_samples: int = Field(1920, gt=0)
    """Audio given out at a time: 1920 are 80 ms. Half of it: twice the steps and messages for the same audio. Engines
    that share a worker (mixed) need the same."""
    workers: int = Field(1, gt=0)
    """Clauses spoken at a time."""
    hold_s: float = Field(2.0, gt=0)
    """Finished audio a slot may have waiting; beyond, its next clause waits, for it may never be wanted."""
    word_cost_s: float = Field(0.0, ge=0)
    """Time that a word takes to make. A clause gets no more words than can be made while those before it are heard:
    with an engine that is not much faster than people speak, a long clause would leave a gap before it."""

    def affordable(self, in_hand_s: float) -> speech_text.Rules:
        """How the next clause is cut while so much audio has not been heard yet."""
        if not self.word_cost_s:
            return self.text
        words = max(self.text.first_words, int(in_hand_s / self.word_cost_s))
        longest = min(words, self.text.longest_words)
        return self.text.model_copy(
            update={"longest_words": longest, "clause_words": min(longest, self.text.clause_words)}
        )


@dataclass(frozen=True)
class Spoken:
    """A clause as audio at 24 kHz. spans: (start, stop) of each of its words, in order, not overlapping."""

    pcm: Pcm
    spans: Sequence[tuple[int, int]]


class ClauseEngine(Protocol):
    """Speaks one clause at a time, from any thread."""

    def warm_up(self) -> None:
        """Loads and runs everything once."""
        ...

    def voices(self) -> Sequence[str]:
        """Names of the voices it can speak with."""
        ...

    def synthesise(self, words: Sequence[str], voice: str, speed: float) -> Spoken:
        """The words, which are speakable or empty; silence around them is cut off."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A ClauseEngine that gives a clause before it is whole."""

    def stream(self, words: Sequence[str], voice: str, speed: float) -> Generator[Spoken]:
        """The same in pieces. spans: of the next words, those that begin in the piece; from the clause's beginning.

        Closing it stops the model; what is left to say is then not said.
        """
        ...


@runtime_checkable
class Adopts(Protocol):
    """A ClauseEngine that can speak with cloned voices."""

    def adopt(self, custom: CustomVoice) -> str:
        """Its name for the voice, for `synthesise`. ConfigError where it is not one of its own kind."""
        ...


class _Part(NamedTuple):
    """A word, or a part of one that is too long to be spoken in one go."""

    text: str
    number: int
    """The word's."""
    begins: bool
    ends: bool


class _Clause(NamedTuple):
    """Spoken in one go, and the silence behind it."""

    parts: Sequence[_Part]
    pause_ms: int
    begin: int
    """Where in the reply it begins."""


class _Got(NamedTuple):
    """A piece of a clause, or all of it."""

    clause: _Clause
    audio: Spoken
    done: bool


#: Least silence behind what is spoken before a pause: frames are whole, and its last one would wait for more.
REST_MS = 130

#: Of a clause that cannot be spoken, or is over.
_NOTHING = Spoken(np.zeros(0, np.float32), ())


@dataclass(eq=False)
class _Mouth:
    """One slot. Positions are samples since `open`."""

    options: VoiceOptions
    words: deque[_Part] = field(default_factory=deque)
    told_last: bool = False
    paused: bool = False
    """What there is is to be spoken, though more may come."""
    busy: bool = False
    """A clause is being spoken, or waits for a thread."""
    begun: float = 0.0
    """Monotonic time of the first audio."""
    clauses: int = 0
    timed: int = 0
    """Parts of the clause at hand whose times are known."""
    made: int = 0
    """Samples made so far."""
    given: int = 0
    """Samples given out so far."""
    waiting: Pcm = field(default_factory=lambda: np.zeros(0, np.float32))
    """Samples made and not given out."""
    spans: deque[tuple[_Part, int, int]] = field(default_factory=deque)
    """(word, start, stop) of words whose sound has not begun in what was given out."""
    sounding: deque[tuple[_Part, int, int]] = field(default_factory=deque)
    """Those that have begun and are not complete."""
    next_word: int = 0
    """Number of the next word to be fed."""
    spoken: int = 0
    spoken_to: int = 0

    def __post_init__(self) -> None:
        self.next_word = self.spoken = self.options.first_word

    def feed(self, words: Sequence[str]) -> None:
        """Numbers them."""
        for word in words:
            *parts, last = speech_text.parts(word)
            texts = [*((part, False) for part in parts), (last, True)]
            self.words += [
                _Part(text, self.next_word, place == 0, ends) for place, (text, ends) in enumerate(texts)
            ]
            self.next_word += 1

    def add(self, pcm: Pcm) -> None:
        """More audio."""
        self.waiting = np.concatenate([self.waiting, pcm])
        self.made += len(pcm)
        self.begun = self.begun or time.monotonic()

    @property
    def said_all(self) -> bool:
        """Nothing is to come beyond `waiting`."""
        return self.told_last and not self.words and not self.busy

    @property
    def runs_out(self) -> float:
        """Monotonic time at which a listener has heard all that was made; 0 before the first audio."""
        return self.begun + self.made / SAMPLE_RATE if self.begun else 0.0


class ClauseRunner:
    """A TtsEngine over a ClauseEngine."""

    def __init__(self, engine: ClauseEngine, rules: Rules, slots: int) -> None:
        self.slots = slots
        self.batch = slots
        self.frame_samples = rules.frame_samples
        self._engine = engine
        self._rules = rules
        self._workers = Workers("tts", rules.workers)
        self._mouths: dict[Slot, _Mouth] = {}
        self._results: queue.SimpleQueue[tuple[_Mouth, _Got]] = queue.SimpleQueue()

    def warm_up(self) -> None:
        """Warms the engine and starts the threads."""
        self._engine.warm_up()
        self._workers.start()

    def voices(self) -> Sequence[str]:
        """The engine's."""
        return self._engine.voices()

    def open(self, slot: Slot, options: VoiceOptions) -> None:
        """Starts a reply. ConfigError names the voices there are, or says that it cannot use a cloned one."""
        if options.custom is not None:
            if not isinstance(self._engine, Adopts):
                raise ConfigError("this TTS engine cannot speak with cloned voices")
            options = replace(options, voice=self._engine.adopt(options.custom))
        elif options.voice not in self._engine.voices():
            known = ", ".join(self._engine.voices())
            raise ConfigError(f"there is no voice {options.voice!r}; there are: {known}")
        self._mouths[slot] = _Mouth(options)

    def feed(self, slot: Slot, say: Say) -> None:
        """Queues words; the first clause goes to a thread as soon as it is whole."""
        mouth = self._mouths[slot]
        mouth.feed(say.words)
        mouth.paused = say.pause or (mouth.paused and not say.words)
        mouth.told_last = mouth.told_last or say.last
        self._dispatch(slot, mouth)

    def step(self, wanted: Sequence[Slot]) -> Mapping[Slot, SpeechFrame]:
        """A frame for each wanted slot that has one."""
        while not self._results.empty():
            self._keep(*self._results.get())
        for slot, mouth in self._mouths.items():
            self._dispatch(slot, mouth)
        frames = {slot: self._frame(self._mouths[slot]) for slot in wanted}
        return {slot: frame for slot, frame in frames.items() if frame is not None}

    def faults(self) -> Mapping[Slot, str]:
        """None: a clause that cannot be spoken is passed over."""
        return {}

    def close(self, slot: Slot) -> None:
        """Forgets the slot; a clause that waits for a thread is never spoken."""
        self._mouths.pop(slot, None)

    # --- clauses

    def _dispatch(self, slot: Slot, mouth: _Mouth) -> None:
        if mouth.busy or not mouth.words or len(mouth.waiting) > self._rules.hold_s * SAMPLE_RATE:
            return
        rules = self._rules.affordable(mouth.runs_out - time.monotonic())
        words = [part.text for part in islice(mouth.words, rules.horizon)]
        done = (mouth.told_last or mouth.paused) and len(words) == len(mouth.words)
        count = speech_text.clause(words, rules, first=mouth.clauses == 0, done=done)
        if not count:
            return
        mouth.busy, mouth.clauses = True, mouth.clauses + 1
        pause_ms = speech_text.pause_ms(words[count - 1], words[count] if count < len(words) else None)
        if mouth.paused and count == len(mouth.words):
            pause_ms = max(pause_ms, REST_MS)
        clause = _Clause([mouth.words.popleft() for _ in range(count)], pause_ms, mouth.made)
        self._workers.submit(mouth.runs_out, partial(self._speak, slot, mouth, clause))

    def _speak(self, slot: Slot, mouth: _Mouth, clause: _Clause) -> None:
        """On a thread. A clause that cannot be spoken is passed over, so that the reply goes on."""
        if self._mouths.get(slot) is not mouth:
            return
        options = mouth.options
        rest = _NOTHING
        try:
            said = spoken([part.text for part in clause.parts], options.language)
            if any(said) and isinstance(self._engine, Streams):
                with closing(self._engine.stream(said, options.voice, options.speed)) as pieces:
                    for piece in takewhile(lambda _: self._mouths.get(slot) is mouth, pieces):
                        self._results.put((mouth, _Got(clause, piece, done=False)))
            elif any(said):
                rest = self._engine.synthesise(said, options.voice, options.speed)
        except Exception:
            log.exception("a clause of %d words could not be spoken", len(clause.parts))
        finally:
            self._results.put((mouth, _Got(clause, rest, done=True)))

    def _keep(self, mouth: _Mouth, got: _Got) -> None:
        """More of a clause is there: behind what waits, and at its end with the pause that belongs after it."""
        clause, audio, done = got
        for start, stop in audio.spans:
            mouth.spans.append((clause.parts[mouth.timed], clause.begin + start, clause.begin + stop))
            mouth.timed += 1
        mouth.add(audio.pcm)
        if done:
            mouth.spans.extend((part, mouth.made, mouth.made) for part in clause.parts[mouth.timed :])
            pause_ms = clause.pause_ms if mouth.made > clause.begin else 0
            mouth.add(np.zeros(int(pause_ms * SAMPLE_RATE / 1000 / mouth.options.speed), np.float32))
            mouth.busy, mouth.timed = False, 0

    # --- frames

    def _frame(self, mouth: _Mouth) -> SpeechFrame | None:
        """The next frame, or the shorter last one; None while there is not enough for one."""
        size = self.frame_samples
        if len(mouth.waiting) < size and not mouth.said_all:
            return None
        pcm, mouth.waiting = mouth.waiting[:size], mouth.waiting[size:]
        mouth.given += len(pcm)
        last = mouth.said_all and not len(mouth.waiting)
        begun = []
        while mouth.spans and (mouth.spans[0][1] < mouth.given or last):
            begun.append(mouth.spans.popleft())
        mouth.sounding.extend(begun)
        while mouth.sounding and mouth.sounding[0][2] <= mouth.given:
            part, _, stop = mouth.sounding.popleft()
            if part.ends:
                mouth.spoken, mouth.spoken_to = part.number + 1, stop
        if last and len(pcm) % 480:  # whole 20 ms, so that no packet is half empty
            pcm = np.concatenate([pcm, np.zeros(-len(pcm) % 480, np.float32)])
        words = [(part.number, start, stop) for part, start, stop in begun if part.begins]
        return SpeechFrame(pcm, words, mouth.spoken, mouth.spoken_to, last)
