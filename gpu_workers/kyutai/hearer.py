"""One speaker to a streaming recogniser: from voice and words to facts. Pure; positions are session samples.

Voice is known at once, words half a second later. So an utterance is opened and paused by voice, and settled when the
words have reached the end of its voice.
"""

from collections import deque
from dataclasses import dataclass, field

from pydantic import Field

from config.messages import MAX_TEXT, Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE
from gpu_workers.endpoint import ending
from gpu_workers.endpoint.endpointer import Endpointer, PauseAsked
from gpu_workers.endpoint.levels import Levels
from gpu_workers.endpoint.tuned import TunedRules
from gpu_workers.engine import SttFact
from gpu_workers.kyutai.words import Word, confidence

#: An utterance forgets its first words beyond so many: ten minutes without a commit.
MAX_WORDS = 1500

#: A sound that says neither yes nor no: the judgement is left to words and silence.
NO_OPINION = 0.5


class Rules(TunedRules, frozen=True):
    """When voice becomes an utterance. The words need no rules: the model hears everything."""

    pre_roll_ms: int = Field(300, ge=0)
    """Words from so long before the onset of voice on belong to it: soft consonants come first, and word times are
    those of frames of 80 ms."""
    late_voice_ms: int = Field(300, ge=0)
    """Voice that began this shortly before a commit, after a pause, is the next utterance's: whoever committed cannot
    have known of it."""
    slack_ms: int = Field(80, ge=0)
    """Words are waited for so much longer than the checkpoint's delay says: one that comes a frame late would be lost,
    and the wait costs a step."""
    listened_ms: int = Field(300, gt=0)
    """Voice without a word is reported as such when so much of it was listened to."""


@dataclass(eq=False)
class Utterance:
    """Open until it is committed; then its words lie before `border`, and its voice ended at `closed_to`."""

    start: int
    voice_from: int
    words: deque[Word] = field(default_factory=lambda: deque[Word](maxlen=MAX_WORDS))
    paused_at: int = -1
    told_to: int = -1
    """Voice up to here is in a transcript that was reported; -1: none yet."""
    settled_to: int = -1
    """The same for one that was reported as settled."""
    border: int | None = None
    closed_to: int = -1
    done: bool = False
    """Nothing more will be understood of it."""

    @property
    def text(self) -> str:
        """What is understood of it."""
        return " ".join(word.text for word in self.words)[-MAX_TEXT:]


class Hearer:
    """What is to be reported gathers in `facts`; the owner empties it."""

    def __init__(self, rules: Rules, start: int, language: str = "en", over: float = 0.9) -> None:
        """over: `p_end` from which a pause is reported at once, not at the next question."""
        self._rules = rules
        self._over = over
        self._english = language.partition("-")[0] == "en"
        self._ear = Endpointer(rules.voice)
        self._levels = Levels(rules.levels)
        self._floor = start
        self._heard = start
        self._known = start
        self._more = False
        self._open: Utterance | None = None
        self._closing: deque[Utterance] = deque()
        self._early: list[Word] = []
        self._asked = False
        self._over_told = False
        self.facts: list[SttFact] = []

    @property
    def mark(self) -> int:
        """From where a successor must listen to lose nothing."""
        if self._closing:
            return self._closing[0].start
        if self._open is not None:
            return self._open.start
        return max(self._floor, self._heard - samples(self._rules.pre_roll_ms))

    # --- voice, at once

    def hear(self, probability: float, level: float, end: int) -> None:
        """A frame up to `end` is voice with this probability; level in dB."""
        begin, self._heard = self._heard, end
        speaks = self._levels.hear(level, probability, (end - begin) * 1e3 / SAMPLE_RATE)
        for heard in self._ear.hear(probability if speaks else 0.0, begin, end):
            match heard:
                case VoiceEnded(at) if self._open is not None:
                    self._open.paused_at, self._over_told = at, False
                    self.facts.append(heard)
                case PauseAsked() if self._open is not None:
                    self._asked = True
        if self._ear.voice:
            self._hear_voice()

    def _hear_voice(self) -> None:
        self._asked = False
        utterance = self._open or self._begin()
        if utterance is not None and self._ear.voice_from > utterance.voice_from:
            utterance.voice_from = self._ear.voice_from
            self.facts.append(VoiceStarted(utterance.voice_from))

    def _begin(self) -> Utterance | None:
        """Opens an utterance; what is left of the voice of one that was closed must last a while to count."""
        onset = max(self._ear.voice_from, self._floor)
        if self._ear.voice_to - onset < samples(self._rules.voice.onset_ms):
            return None
        start = max(self._floor, onset - samples(self._rules.pre_roll_ms))
        self._open = Utterance(start, onset)
        self._open.words.extend(word for word in self._early if word.start >= start)
        self._early.clear()
        self.facts.append(VoiceStarted(onset))
        self._ear.voice_from = onset
        return self._open

    # --- words, later

    def read(self, word: Word | None, known: int, *, more: bool) -> None:
        """All words that begin before `known` were said by now, `word` the newest; `more`: another has begun."""
        self._known, self._more = max(self._known, known), more
        mine = word is not None and self._take(word)
        self._finish_closed()
        utterance = self._open
        if utterance is None:
            return
        if self._settled and (mine or utterance.settled_to < self._ear.voice_to):
            utterance.settled_to = utterance.told_to = self._ear.voice_to
            self._report(utterance, self._ear.voice_to, settled=True)
            self._asked = True
        elif mine or self._listened_in_vain(utterance):
            utterance.told_to = max(self._known, utterance.voice_from + 1)
            self._report(utterance, utterance.told_to)

    @property
    def _settled(self) -> bool:
        """All voice is in words."""
        return not self._ear.voice and self._knows(self._ear.voice_to)

    def _knows(self, to: int) -> bool:
        return self._known >= to + samples(self._rules.slack_ms) and not self._more

    def _take(self, word: Word) -> bool:
        """Puts a word where it belongs; whether it belongs to the open utterance."""
        for closing in self._closing:
            if closing.border is not None and word.start < closing.border:
                closing.words.append(word)
                return False
        if self._open is None or word.start < self._open.start:
            return False
        self._open.words.append(word)
        return True

    def _listened_in_vain(self, utterance: Utterance) -> bool:
        listened = self._known - utterance.voice_from >= samples(self._rules.listened_ms)
        return listened and not self._more and utterance.told_to <= utterance.voice_from

    def _report(self, utterance: Utterance, to: int, *, settled: bool = False) -> None:
        sure = confidence(utterance.words)
        self.facts.append(Transcript(utterance.text, utterance.start, to, settled, confidence=sure))

    # --- the end of a turn

    def judge(self, p_end: float | None) -> None:
        """How the newest frame sounded: over with this probability; None: nobody knows. Answers what was asked."""
        utterance = self._open
        if utterance is None or self._ear.voice:
            return
        over = p_end is not None and p_end >= self._over and not self._over_told and utterance.paused_at >= 0
        if not self._asked and not over:
            return
        self._asked, self._over_told = False, self._over_told or over
        at = self._ear.voice_to
        ms = (self._heard - at) * 1000 // SAMPLE_RATE
        self.facts.append(Pause(at, ms, self._by_words(utterance, ms) if p_end is None else p_end))

    def _by_words(self, utterance: Utterance, ms: int) -> float:
        known = self._english and self._settled
        return ending.p_end(NO_OPINION, utterance.text if known else None, ms)

    # --- what the web decided

    def retune(self, rules: Rules) -> None:
        """These rules hold from the next frame on."""
        self._rules = rules
        self._ear.retune(rules.voice)

    def commit(self, at: int) -> Utterance | None:
        """The utterance ends at `at`; a final transcript is owed. If its words are still to come: what to flush."""
        utterance = self._open
        if utterance is None:
            self._floor = max(self._floor, min(at, self._heard))
            self._closing.append(Utterance(at, at, border=at, closed_to=at, done=True))
            self._finish_closed()
            return None
        utterance.border, utterance.closed_to = self._border(utterance, at)
        self._floor, self._open, self._asked = utterance.closed_to, None, False
        self._early = [word for word in utterance.words if word.start >= utterance.border]
        utterance.words = deque(
            (word for word in utterance.words if word.start < utterance.border), MAX_WORDS
        )
        self._ear.forget()
        self._closing.append(utterance)
        self._finish_closed()
        return None if utterance.done else utterance

    def _border(self, utterance: Utterance, at: int) -> tuple[int, int]:
        """Where the audio of an utterance committed at `at` ends, and where its voice does."""
        onset, paused_at = self._ear.voice_from, utterance.paused_at
        late = self._ear.voice and at - onset < samples(self._rules.late_voice_ms)
        if late and utterance.start < paused_at < onset:
            return onset, paused_at
        return at, max(utterance.start, min(at, self._ear.voice_to))

    def flushed(self, utterance: Utterance) -> None:
        """Silence was heard after it, long enough for all its words."""
        utterance.done = True
        self._finish_closed()

    def _finish_closed(self) -> None:
        for utterance in self._closing:
            utterance.done = utterance.done or self._knows(utterance.closed_to)
        while self._closing and self._closing[0].done:
            utterance = self._closing.popleft()
            sure = confidence(utterance.words)
            start, to = utterance.start, utterance.closed_to
            self.facts.append(
                Transcript(utterance.text, start, to, settled=True, final=True, confidence=sure)
            )

    def clear(self, at: int) -> None:
        """What was said before `at` is forgotten."""
        self._open, self._asked, self._floor = None, False, max(self._floor, min(at, self._heard))
        self._early.clear()
        self._ear.forget()


def samples(ms: int) -> int:
    """Session samples in so many milliseconds."""
    return ms * SAMPLE_RATE // 1000
