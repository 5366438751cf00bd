"""What became of a sound made over a reply: did the assistant stop, how fast, and what does it think was heard. Pure.

Times are seconds of the session. "Stopped" means that the reply was cancelled. A mute that was taken back shows as a
wait of the player.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache

from bench.turns.dialogue import Category
from bench.turns.live_user import ReplyLog
from bench.wer import words
from gpu_workers.engine import Pcm

#: An interruption that has not stopped the reply by then was missed.
MISSED_S = 3.0

#: A player that waits less was never silent for a listener.
SILENT_S = 0.05

#: Two words that share more of their letters may be one word misheard.
ALIKE = 0.5

#: After a false alarm the assistant goes on within this time.
RESUME_S = 1.0


@dataclass(frozen=True)
class Observed:
    """A reply, and the sound over it from `onset` to `ends`."""

    name: str
    category: Category
    extended: bool
    """Whether the client asked for our extensions."""
    onset: float
    ends: float
    log: ReplyLog
    told_at: float | None
    """When the client was told that the user speaks; a stock player drops what it holds then."""


@dataclass(frozen=True)
class OverlayFound:
    """Figures of one observation; ms count from the onset unless said otherwise."""

    name: str
    category: Category
    extended: bool
    cancelled_ms: float | None
    """None: the reply was not cancelled."""
    last_packet_ms: float | None = None
    """Receipt of the reply's last audio; only if it was cancelled."""
    last_audible_ms: float | None = None
    """When a player that plays all it received falls silent."""
    muted_ms: float | None = None
    """When the client was told that the reply is held back; only with our extensions."""
    silent_ms: tuple[float, float] | None = None
    """When the player ran dry though the reply went on, and when sound came again."""
    resumed_ms: float | None = None
    """The sound's end to the end of that wait; 0 if it was over before."""
    kept: str | None = None
    """What the server keeps as heard; None: it did not say."""
    sounded: str | None = None
    """What an ear heard of what was played."""
    reply: str = ""
    """The reply's words that were told to the client."""
    kept_words: int = 0
    sounded_words: int = 0
    """Words of the reply, from its first, that were heard."""

    @property
    def interrupted(self) -> bool:
        """In time."""
        return self.cancelled_ms is not None and self.cancelled_ms <= 1000 * MISSED_S

    @property
    def history_off(self) -> int | None:
        """Words kept too many (or, negative, too few); None: not known."""
        return None if self.kept is None or self.sounded is None else self.kept_words - self.sounded_words


def found(seen: Observed, transcribe: Callable[[Pcm], str]) -> OverlayFound:
    """`transcribe` takes audio of 24 kHz."""
    log = seen.log
    cancelled = log.status == "cancelled" and log.done_at is not None
    stall = log.player.stall(seen.onset, seen.ends + RESUME_S)
    silent = stall if stall is not None and stall[1] - stall[0] >= SILENT_S else None
    resumed = None if silent is None else round(1000 * max(0.0, silent[1] - seen.ends), 1)
    told = [t for t in log.muted_at if t >= seen.onset]
    common = OverlayFound(
        seen.name,
        seen.category,
        seen.extended,
        None,
        muted_ms=_ms(seen, told[0]) if told else None,
        silent_ms=_pair(seen, silent),
        resumed_ms=resumed,
    )
    if not cancelled or log.done_at is None:
        return common
    stopped = log.done_at if seen.told_at is None else min(log.done_at, seen.told_at)
    sounded = transcribe(log.player.sounded(stopped))
    return replace(
        common,
        cancelled_ms=_ms(seen, log.done_at),
        last_packet_ms=_ms(seen, max(seen.onset, log.player.pieces[-1].t)),
        last_audible_ms=_ms(seen, max(seen.onset, log.player.runs_out)),
        kept=log.heard,
        sounded=sounded,
        reply=log.words,
        kept_words=heard_of(log.heard or "", log.words),
        sounded_words=heard_of(sounded, log.words),
    )


def heard_of(understood: str, reply: str) -> int:
    """How many words of the reply, from its first, are nearest to what was understood: an ear mishears some.

    The number whose words take the fewest changes to become those understood; of several the largest, for the last
    word may have been cut in its middle. Another word is two changes, one that sounds alike less: a recogniser goes on
    with words of its own where the sound was cut.
    """
    heard, said = words(understood).split(), words(reply).split()
    row = [float(at) for at in range(len(said) + 1)]
    for number, word in enumerate(heard, 1):
        above, row = row, [float(number)]
        for at, other in enumerate(said, 1):
            row.append(min(above[at] + 1, row[-1] + 1, above[at - 1] + _changes(word, other)))
    return max(range(len(row)), key=lambda at: (-row[at], at))


@cache
def _changes(word: str, other: str) -> float:
    """0 for the same word, less than 1 for one that shares more than half of its letters, else 2."""
    alike = SequenceMatcher(None, word, other, autojunk=False).ratio()
    return 2 * (1 - alike) if alike > ALIKE else 2.0


def _ms(seen: Observed, t: float) -> float:
    return round(1000 * (t - seen.onset), 1)


def _pair(seen: Observed, stall: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if stall is None else (_ms(seen, stall[0]), _ms(seen, stall[1]))
