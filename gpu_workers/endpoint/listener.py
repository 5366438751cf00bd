"""One speaker: from voice probabilities to facts, and to decodes and judgements that are wanted. Pure, no models.

Whoever owns it runs what it wants wherever it likes and hands the results back; those that come too late are dropped.
Positions are session samples.
"""

from dataclasses import dataclass
from enum import IntEnum

from pydantic import Field

from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.settings import SAMPLE_RATE
from gpu_workers.endpoint import ending
from gpu_workers.endpoint.endpointer import Endpointer, PauseAsked
from gpu_workers.endpoint.levels import Levels, level_db
from gpu_workers.endpoint.tuned import TunedRules
from gpu_workers.endpoint.utterance import TAPE_RATE, Segment, Tape, Utterance
from gpu_workers.engine import Pcm, SttFact

#: What a judgement of the turn's end listens to.
JUDGED = 8 * SAMPLE_RATE

#: Voice is believed this long after its onset at the most; doubtful frames may lie between.
ONSET_KEPT_MS = 300


class Rules(TunedRules, frozen=True):
    """When voice becomes an utterance, and when that is decoded."""

    first_partial_ms: int = Field(600, gt=0)
    """Voice before the first partial; earlier ones are guesses at half a word."""
    segment_ms: int = Field(8000, gt=0)
    """At a pause after this length an utterance goes on in a new segment, so that its last decode stays short (8 s take
    160 ms). The words of short segments are understood worse: WER .03 with 8 s, .06 with 5, .09 with 3."""
    segment_pause_ms: int = Field(300, ge=0)
    """The shortest pause for that: words on both sides of a shorter one are understood from each other."""
    longest_segment_ms: int = Field(15_000, gt=0, le=30_000)
    """Without any pause it is cut here; the model was trained on 30 s at most."""
    late_voice_ms: int = Field(300, ge=0)
    """Voice that began this shortly before a commit, after a pause that was decoded, is the next utterance's: whoever
    committed cannot have known of it."""
    words_wait_ms: int = Field(350, ge=0)
    """A pause so long is judged by its sound alone while its words are not there yet."""
    silence_kept_ms: int = Field(3000, gt=0)
    """Of a longer silence in an open utterance only the end is kept: nobody speaks into a button for an hour."""


class Rank(IntEnum):
    """Which decode goes first."""

    FINAL = 0
    PARTIAL = 1


@dataclass(eq=False)
class Decode:
    """Wanted: the words of `pcm` (16 kHz), which is `segment` of `utterance`; all voice up to `to` is in it."""

    utterance: Utterance
    segment: Segment
    pcm: Pcm
    to: int
    rank: Rank
    abandoned: bool = False
    """Nobody wants it any more; whoever runs it may stop."""


@dataclass(eq=False)
class Judge:
    """Wanted: how probable it is that the turn ended with the voice that ended at `at`."""

    utterance: Utterance
    pcm: Pcm
    at: int
    ms: int
    """Length of the pause that is in `pcm`."""
    abandoned: bool = False
    """A newer one is wanted, or the pause is over."""


@dataclass(frozen=True)
class Verdict:
    """How a pause sounded: Smart Turn's opinion of the voice that ended at `at`, after `ms` of silence."""

    at: int
    ms: int
    sound: float


class Listener:
    """What is wanted gathers in `wanted`, what is to be reported in `facts`; the owner empties both."""

    def __init__(self, rules: Rules, start: int) -> None:
        self._rules = rules
        self._tape = Tape(start)
        self._ear = Endpointer(rules.voice)
        self._levels = Levels(rules.levels)
        self._floor = start
        self._open: Utterance | None = None
        self._closing: list[Utterance] = []
        self._partial: Decode | None = None
        self._judge: Judge | None = None
        self._verdict: Verdict | None = None
        self.wanted: list[Decode | Judge] = []
        self.facts: list[SttFact] = []

    @property
    def voice(self) -> bool:
        """Somebody speaks now."""
        return self._ear.voice

    @property
    def mark(self) -> int:
        """From where a successor must listen to lose nothing."""
        if self._closing:
            return self._closing[0].start
        if self._open is not None:
            return self._open.start
        return max(self._floor, self._tape.end - samples(self._rules.pre_roll_ms))

    # --- what is heard

    def hear(self, pcm: Pcm, probability: float, partial_ms: int | None) -> None:
        """One frame at 16 kHz, voiced with this probability.

        partial_ms: voice after which a new partial is welcome; None: none now.
        """
        begin = self._tape.end
        self._tape.add(pcm)
        speaks = self._levels.hear(level_db(pcm), probability, len(pcm) / TAPE_RATE * 1e3)
        for heard in self._ear.hear(probability if speaks else 0.0, begin, self._tape.end):
            match heard:
                case VoiceEnded(at) if self._open is not None:
                    self._open.paused_at = at
                    self.facts.append(heard)
                case PauseAsked() if self._open is not None:
                    self._ask(self._open, heard)
        if self._ear.voice:
            self._hear_voice(partial_ms)
        elif self._open is None:
            self._tape.forget_before(self._quiet_from)
        else:
            self._forget_silence(self._open)

    @property
    def _quiet_from(self) -> int:
        """What silence is kept from: a pre-roll, and the onset of a voice that is not believed yet."""
        return self._tape.end - samples(self._rules.pre_roll_ms + ONSET_KEPT_MS)

    def _hear_voice(self, partial_ms: int | None) -> None:
        utterance = self._open or self._begin()
        if utterance is None:
            return
        if self._ear.voice_from > utterance.voice_from:
            utterance.voice_from = self._ear.voice_from
            self.facts.append(VoiceStarted(utterance.voice_from))
            self._abandon_judge()
        self._split_if_long(utterance)
        if partial_ms is None or self._partial is not None:
            return
        first = samples(self._rules.first_partial_ms)
        due = max(self._ear.voice_from + first, utterance.partial_at + samples(partial_ms))
        if self._tape.end >= due:
            utterance.partial_at = self._tape.end
            self._partial = self._decode(utterance, self._tape.end, Rank.PARTIAL)

    def _begin(self) -> Utterance | None:
        """Opens an utterance; what is left of the voice of one that was closed must last a while to count."""
        onset = max(self._ear.voice_from, self._floor)
        if self._ear.voice_to - onset < samples(self._rules.voice.onset_ms):
            return None
        start = max(self._floor, self._tape.start, onset - samples(self._rules.pre_roll_ms))
        self._open = Utterance(start, onset)
        self.facts.append(VoiceStarted(onset))
        self._ear.voice_from = onset
        return self._open

    def _split_if_long(self, utterance: Utterance) -> None:
        now, segment, onset = self._tape.end, utterance.newest, self._ear.voice_from
        paused_at = utterance.paused_at
        if now - segment.start >= samples(self._rules.longest_segment_ms):
            self._decode(utterance, now, Rank.FINAL)
            utterance.split(now)
        elif (
            onset - segment.start >= samples(self._rules.segment_ms)
            and segment.start < paused_at <= segment.asked_to
            and onset - paused_at >= samples(self._rules.segment_pause_ms)
            and now - onset > samples(self._rules.late_voice_ms)
        ):
            utterance.split(max(paused_at, onset - samples(self._rules.pre_roll_ms)))
        self._tape.forget_before(min(utterance.newest.start, now - JUDGED))

    def _forget_silence(self, utterance: Utterance) -> None:
        """Nothing but silence since words that are understood: the audio of both is not needed any more."""
        if self._tape.end - self._ear.voice_to < samples(self._rules.silence_kept_ms):
            return
        if utterance.settled(self._ear.voice_to):
            utterance.skip_to(max(self._quiet_from, self._ear.voice_to), self._ear.voice_to)
            self._tape.forget_before(min(utterance.newest.start, self._tape.end - JUDGED))

    def _ask(self, utterance: Utterance, pause: PauseAsked) -> None:
        if utterance.newest.asked_to < pause.at:
            self._decode(utterance, pause.at, Rank.FINAL)
        begin = max(utterance.start, self._tape.end - JUDGED)
        self._abandon_judge()
        self._judge = Judge(utterance, self._tape.read(begin, self._tape.end), pause.at, pause.ms)
        self.wanted.append(self._judge)

    def _decode(self, utterance: Utterance, to: int, rank: Rank, end: int | None = None) -> Decode:
        """Wants the newest segment decoded, with the silence after `to` as far as it was heard."""
        segment = utterance.newest
        if rank is Rank.FINAL:
            segment.asked_to = to
            self._abandon_partial()
        pcm = self._tape.read(segment.start, self._tape.end if end is None else end)
        decode = Decode(utterance, segment, pcm, to, rank)
        self.wanted.append(decode)
        return decode

    def _abandon_partial(self) -> None:
        if self._partial is not None:
            self._partial.abandoned, self._partial = True, None

    def _abandon_judge(self) -> None:
        if self._judge is not None:
            self._judge.abandoned, self._judge = True, None

    # --- what the owner found out

    def decoded(self, decode: Decode, text: str | None, confidence: float = 1.0) -> None:
        """A decode has ended; None: it was given up or failed. confidence: how sure the recogniser is, 0 to 1."""
        if decode is self._partial:
            self._partial = None
        segment = decode.segment
        if decode.rank is Rank.FINAL:
            if decode.to <= segment.settled_to:
                return  # an older one that took longer
            segment.settled_to = decode.to
        elif decode.abandoned:
            return
        if text is not None:
            segment.text, segment.confidence = text, confidence
        if decode.utterance is self._open:
            self._report(decode)
        self._finish_closed()

    def _report(self, decode: Decode) -> None:
        utterance = decode.utterance
        settled = self._settled(utterance)
        self.facts.append(
            Transcript(utterance.text, utterance.start, decode.to, settled, confidence=utterance.confidence)
        )
        verdict = self._verdict
        if settled and verdict is not None and verdict.at == self._ear.voice_to:
            self._weigh(utterance.text, verdict)

    def _settled(self, utterance: Utterance) -> bool:
        return not self._ear.voice and utterance.settled(self._ear.voice_to)

    def judged(self, judge: Judge, sound: float) -> None:
        """A judgement has ended; it counts only if the pause still lasts, and waits a while for the words."""
        if judge.utterance is not self._open or self._ear.voice or judge.at != self._ear.voice_to:
            return
        self._verdict = Verdict(judge.at, judge.ms, sound)
        if self._settled(judge.utterance):
            self._weigh(judge.utterance.text, self._verdict)
        elif self._tape.end - judge.at >= samples(self._rules.words_wait_ms):
            self._weigh(None, self._verdict)

    def _weigh(self, text: str | None, verdict: Verdict) -> None:
        p_end = ending.p_end(verdict.sound, text, verdict.ms)
        self.facts.append(Pause(verdict.at, (self._tape.end - verdict.at) * 1000 // SAMPLE_RATE, p_end))

    # --- what the web decided

    def retune(self, rules: Rules) -> None:
        """These rules hold from the next frame on."""
        self._rules = rules
        self._ear.retune(rules.voice)

    def commit(self, at: int) -> None:
        """The utterance ends at `at`; a final transcript is owed."""
        utterance = self._open
        if utterance is None:
            self._floor = max(self._floor, min(at, self._tape.end))
            self._closing.append(Utterance.empty(at))
            self._finish_closed()
            return
        end, voice_to = self._border(utterance, at)
        utterance.closed_to, self._floor, self._open = voice_to, voice_to, None
        if utterance.newest.asked_to < voice_to:
            self._decode(utterance, voice_to, Rank.FINAL, end)
        self._abandon_partial()
        self._abandon_judge()
        self._ear.forget()
        self._closing.append(utterance)
        self._finish_closed()

    def _border(self, utterance: Utterance, at: int) -> tuple[int, int]:
        """Where the audio of an utterance committed at `at` ends, and where its voice does."""
        onset, paused_at = self._ear.voice_from, utterance.paused_at
        late = self._ear.voice and at - onset < samples(self._rules.late_voice_ms)
        if late and utterance.newest.start < paused_at <= utterance.newest.asked_to:
            return onset, paused_at
        return at, min(at, self._ear.voice_to)

    def _finish_closed(self) -> None:
        while self._closing:
            utterance = self._closing[0]
            to = utterance.closed_to
            assert to is not None
            if not utterance.settled(to):
                return
            del self._closing[0]
            self.facts.append(
                Transcript(
                    utterance.text,
                    utterance.start,
                    to,
                    settled=True,
                    final=True,
                    confidence=utterance.confidence,
                )
            )

    def clear(self, at: int) -> None:
        """What was said before `at` is forgotten."""
        self._abandon_partial()
        self._abandon_judge()
        self._open, self._floor = None, max(self._floor, min(at, self._tape.end))
        self._ear.forget()


def samples(ms: int) -> int:
    """Session samples in so many milliseconds."""
    return ms * SAMPLE_RATE // 1000
