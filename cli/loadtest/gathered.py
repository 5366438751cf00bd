"""What talkers measured: turns, pings, failures, and the generator's own tardiness. Values that add up; no clock.

A process of talkers writes one `Gathered` a second, with what is new since the one before. Their sum is the run.
Moments are seconds since the run's zero, durations milliseconds.
"""

from collections.abc import Iterable

import msgspec

from cli.loadtest import figures
from cli.loadtest.figures import Tally

#: How a turn ended. `early`: the server took the turn before the user had finished, so its times mean nothing.
OK, EARLY, UNANSWERED, FAILED = "ok", "early", "unanswered", "failed"

#: Failures are kept one by one up to here; beyond, a run has failed and only their number matters.
MOST_FAILURES = 10_000


class Turn(msgspec.Struct, array_like=True, omit_defaults=True):
    """One turn of a talker and the answer to it. None: the event never came."""

    at_s: float
    """When the voice ended."""
    outcome: str
    end_of_turn_ms: float | None = None
    """From the end of the voice to the server's word that the turn is over."""
    stt_ms: float | None = None
    """From there to the final transcript."""
    llm_ms: float | None = None
    """From turn and transcript, whichever is later, to the first text of the answer."""
    tts_ms: float | None = None
    """From there to its first audio."""
    voice_to_voice_ms: float | None = None
    first_words_ms: float | None = None
    """From the onset of the voice to the first words of a partial transcript, where the dialect has them."""
    audio_s: float = 0.0
    factor: float | None = None
    """Audio received per second of receiving it."""
    late_ms: float = 0.0
    """How long a player would have been silent in the middle."""
    jitter_ms: float | None = None


class Busy(msgspec.Struct, array_like=True):
    """A second of one process of the generator: which, when, its share of a core, sessions up."""

    process: int
    at_s: float
    share: float
    up: int


class Failure(msgspec.Struct, array_like=True):
    """What went wrong, in a few words that many failures share."""

    at_s: float
    cause: str
    detail: str = ""


class Gathered(msgspec.Struct, omit_defaults=True):
    """What one process, or all of them, found; the parts of a run add up."""

    turns: list[Turn] = []
    pings: list[tuple[float, float]] = []
    """(when, ms)"""
    openings: list[tuple[float, float]] = []
    """(when, ms from the first packet to a session that is ready)"""
    greetings_ms: list[float] = []
    """From a ready session to the first audio of an assistant that speaks first."""
    late_greetings: int = 0
    """Of these, with late audio."""
    sent_late: Tally = {}
    """How late packets left."""
    loop_lag: Tally = {}
    """How late the generator's event loops were."""
    failures: list[Failure] = []
    more_failures: int = 0
    queued: int = 0
    """Sessions that were told to wait for a place."""
    warnings: dict[str, int] = {}
    conversations: int = 0
    """That were held to their end: the assistant answered, once at least."""
    unheard: int = 0
    """That ended without an answer, though the line held."""
    waited_to_the_end: int = 0
    """Of these, told to wait for a place that they did not get before the run was over."""
    received_bytes: int = 0
    busy: list[Busy] = []

    @property
    def failed(self) -> int:
        """All failures."""
        return len(self.failures) + self.more_failures

    def fail(self, at_s: float, cause: str, detail: str = "") -> None:
        """One more."""
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(Failure(round(at_s, 3), cause, detail[:200]))
        else:
            self.more_failures += 1

    def warn(self, code: str) -> None:
        """The server said something that is no failure."""
        self.warnings[code] = self.warnings.get(code, 0) + 1

    def take(self, part: "Gathered") -> None:
        """Adds what another found."""
        self.turns += part.turns
        self.pings += part.pings
        self.openings += part.openings
        self.greetings_ms += part.greetings_ms
        self.late_greetings += part.late_greetings
        figures.add(self.sent_late, part.sent_late)
        figures.add(self.loop_lag, part.loop_lag)
        for failure in part.failures:
            self.fail(failure.at_s, failure.cause, failure.detail)
        self.more_failures += part.more_failures
        self.queued += part.queued
        _add_words(self.warnings, part.warnings)
        self.conversations += part.conversations
        self.unheard += part.unheard
        self.waited_to_the_end += part.waited_to_the_end
        self.received_bytes += part.received_bytes
        self.busy += part.busy

    def causes(self) -> dict[str, int]:
        """How often each cause made something fail, the most frequent first."""
        counted: dict[str, int] = {}
        for failure in self.failures:
            counted[failure.cause] = counted.get(failure.cause, 0) + 1
        return dict(sorted(counted.items(), key=lambda item: -item[1]))

    def detail(self, cause: str) -> str:
        """What the first of these failures said."""
        return next((failure.detail for failure in self.failures if failure.cause == cause), "")

    def answered(self) -> list[Turn]:
        """The turns whose times mean something."""
        return [turn for turn in self.turns if turn.outcome == OK]


def _add_words(counts: dict[str, int], more: dict[str, int]) -> None:
    """Counts by word, added."""
    for word, number in more.items():
        counts[word] = counts.get(word, 0) + number


def joined(parts: Iterable[Gathered]) -> Gathered:
    """What several found, together."""
    whole = Gathered()
    for part in parts:
        whole.take(part)
    return whole
