"""What became of a turn: which of its pauses were taken for its end, and how late its end was seen. Pure.

Positions are session samples. Every end of a turn is put where it belongs:

- A decision made after the last phrase ended, on silence after it, is the turn's end; its delay counts from the last
  sample of the phrase. Whatever the system made of earlier parts, this delay counts: it is what the user waits.
- A decision on the silence between two phrases is a cut-off of that pause, also when it was announced a moment after
  the next phrase had begun.
- A decision inside a phrase, or on a pause shorter than 300 ms, is a cut-off too, in a row of its own.
- A second end after the last phrase, or one before the first, belongs to no speech: a phantom.

A turn whose end was not seen 5 s after its last phrase was missed; its delay is not known. Where the only decision on
the last phrase fell inside it, the turn has no delay and was not missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.turns.dialogue import Stretch
from config.settings import SAMPLE_RATE

#: Pauses from here on count; shorter ones are stops between words.
PAUSE_MS = 300

#: An end that is seen later than this was missed.
MISSED_MS = 5000

#: A voice detector's idea of where voice stopped lies so far beyond a phrase's first sample before the phrase can be
#: what the decision was about: shorter sounds are not believed by any detector.
HEARD_OF_PHRASE = SAMPLE_RATE * 50 // 1000


@dataclass(frozen=True)
class Ended:
    """The system took the turn as over at `at`, for silence since `stopped`."""

    at: float
    stopped: int


@dataclass(frozen=True)
class PauseFound:
    """A silence inside a turn."""

    ms: float
    cut_ms: float | None = None
    """When it was taken for the turn's end, from its first sample; None: it was not."""

    @property
    def counts(self) -> bool:
        """Whether it is long enough to count."""
        return self.ms >= PAUSE_MS


@dataclass(frozen=True)
class TurnFound:
    """What became of a turn."""

    pauses: tuple[PauseFound, ...]
    delay_ms: float | None
    missed: bool
    cut_inside: int
    """Ends inside a phrase."""
    phantoms: int

    @property
    def cut_off(self) -> int:
        """Counted pauses that were taken for the end."""
        return sum(pause.counts and pause.cut_ms is not None for pause in self.pauses)

    @property
    def cut_short(self) -> int:
        """Ends in shorter pauses and inside phrases."""
        short = sum(not pause.counts and pause.cut_ms is not None for pause in self.pauses)
        return short + self.cut_inside


def judge(phrases: Sequence[Stretch], ends: Sequence[Ended]) -> TurnFound:
    """A turn of at least one phrase, and all ends from its first sample until the next turn's."""
    last = len(phrases) - 1
    cuts: dict[int, float] = {}
    inside, after, before = 0, [], 0
    ended_last = False
    for end in ends:
        number = _about(phrases, end)
        if number is None:
            before += 1
        elif end.at < phrases[number].end:
            inside += 1
            ended_last = ended_last or number == last
        elif number == last:
            after.append(_ms(end.at - phrases[last].end))
        else:
            cuts.setdefault(number, _ms(end.at - phrases[number].end))
    pauses = tuple(
        PauseFound(_ms(following.begin - phrase.end), cuts.get(number))
        for number, (phrase, following) in enumerate(pairwise(phrases))
    )
    delay_ms = after[0] if after and after[0] <= MISSED_MS else None
    missed = delay_ms is None and not ended_last
    phantoms = before + max(0, len(after) - 1)
    return TurnFound(pauses, delay_ms, missed, inside, phantoms)


def _about(phrases: Sequence[Stretch], end: Ended) -> int | None:
    """The phrase on or after which the decision was made; None: before the first."""
    begun = [number for number, phrase in enumerate(phrases) if phrase.begin <= end.at]
    heard = [number for number in begun if phrases[number].begin + HEARD_OF_PHRASE <= end.stopped]
    if not begun or not heard:
        return None
    return heard[-1]


def _ms(samples: float) -> float:
    return round(samples * 1000 / SAMPLE_RATE, 1)
