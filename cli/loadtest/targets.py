"""What a load test is judged by: targets, and whether a run holds them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.loadtest.figures import Spread, spread, spread_down
from cli.loadtest.gathered import Gathered


@dataclass(frozen=True)
class Targets:
    """Times are held by 95 % of all values. The defaults are those of the README's promise."""

    stt_ms: float = 50
    llm_ms: float = 200
    tts_ms: float = 450
    ping_ms: float = 100
    realtime_factor: float = 1
    voice_to_voice_ms: float | None = None
    """Depends on the end-of-turn rules of a profile, so there is none unless it is asked for."""
    late_replies: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Row:
    """One measured figure: its name, unit and spread; `target` in words, and whether it is held (None: no target)."""

    name: str
    unit: str
    spread: Spread
    target: str = ""
    held: bool | None = None


@dataclass(frozen=True)
class Judged:
    """A run against its targets."""

    rows: Sequence[Row]
    counts: Sequence[tuple[str, int, int | None]]
    """What is counted rather than measured: name, number, the most there may be."""

    @property
    def missed(self) -> list[str]:
        """Names of the targets that are not held."""
        rows = [row.name for row in self.rows if row.held is False]
        return rows + [name for name, number, most in self.counts if most is not None and number > most]

    @property
    def held(self) -> bool:
        """All of them."""
        return not self.missed


def judge(found: Gathered, targets: Targets) -> Judged:
    """What was never measured holds no target."""
    turns = found.answered()
    rows = (
        _row("STT", spread(turn.stt_ms for turn in turns), targets.stt_ms),
        _row("end of turn (VAD)", spread(turn.end_of_turn_ms for turn in turns), None),
        _row("LLM", spread(turn.llm_ms for turn in turns), targets.llm_ms),
        _row("TTS start", spread(turn.tts_ms for turn in turns), targets.tts_ms),
        _row("voice to voice", spread(turn.voice_to_voice_ms for turn in turns), targets.voice_to_voice_ms),
        _factor(spread_down(turn.factor for turn in turns), targets.realtime_factor),
        _row("ping", spread(ms for _, ms in found.pings), targets.ping_ms),
        _row("jitter of audio", spread(turn.jitter_ms for turn in turns), None),
        _row("late audio", spread(turn.late_ms for turn in turns), None),
        _row("first words heard", spread(turn.first_words_ms for turn in turns), None),
        _row("session opened", spread(ms for _, ms in found.openings), None),
        _row("greeting", spread(found.greetings_ms), None),
    )
    late = sum(turn.late_ms > 0 for turn in turns) + found.late_greetings
    counts = (("late replies", late, targets.late_replies), ("failures", found.failed, targets.failures))
    judged = [row for row in rows if row.spread.count or row.held is not None]
    return Judged(judged, counts)


def _row(name: str, values: Spread, most: float | None) -> Row:
    if most is None:
        return Row(name, "ms", values)
    return Row(name, "ms", values, f"p95 < {most:g}", values.p95 is not None and values.p95 < most)


def _factor(values: Spread, least: float) -> Row:
    held = values.p95 is not None and values.p95 > least
    return Row("realtime factor", "×", values, f"p95 > {least:g}", held)
