"""The findings of the turn-taking bench as a section of the document. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.figures import Spread, at_most, show, spread
from bench.report import Bar, Section, Table
from bench.talker import Answered
from bench.turns import overlay_tally
from bench.turns.live_score import OverlayFound
from bench.turns.overlay_tally import OverlayTally, share
from bench.turns.tally import Tallies, Tally, tallies
from bench.turns.virtual_run import DialogueSeen, TurnSeen

#: What must be reached, embedded profile.
CUT_OFF_PERCENT, DELAY_MS, DELAY_P95_MS = 5, 350, 1200
FALSE_PERCENT, MISSED_PERCENT, MUTE_MS, HISTORY_PERCENT, VOICE_TO_VOICE_MS = 3, 3, 250, 5, 700
DIALOGUES, PAUSES = 200, 400


@dataclass(frozen=True)
class Found:
    """All that was measured; empty where a part was left out."""

    seed: str
    rules: Sequence[str]
    """Names of the sets of rules; the first is the one in force."""
    lead_ms: int
    """Audio ahead of playback at a GA client."""
    dialogues: Sequence[DialogueSeen] = ()
    overlays: Sequence[OverlayFound] = ()
    overlays_asked: int = 0
    """Those of the corpus; the others found no reply to be spoken over."""
    voice_to_voice: Mapping[str, Sequence[Answered]] | None = None


def section(found: Found) -> Section:
    """Everything that was measured."""
    bars: list[Bar] = []
    tables: list[Table] = []
    if found.dialogues:
        whole = tallies(found.dialogues)
        bars += _endpoint_bars(whole.all)
        tables.append(_endpoint_table(whole))
        if len(found.rules) > 1:
            tables.append(_curve(found))
    if found.overlays_asked:
        bars += _overlay_bars(found)
        tables += _overlay_tables(found)
    if found.voice_to_voice:
        bars.append(_voice_bar(found.voice_to_voice))
        tables.append(_voice_table(found.voice_to_voice))
    if found.dialogues and found.overlays_asked:
        bars.append(_at_least("dialogues", len(found.dialogues) + len(found.overlays), DIALOGUES))
    title = f"Turn-taking, embedded models, seed {found.seed}"
    return Section("turns", title, bars, tables, _notes(found), data(found))


# --- the ends of turns


def _endpoint_bars(tally: Tally) -> list[Bar]:
    delay = tally.delay
    return [
        _percent("cut-offs, of pauses ≥ 300 ms", tally.share, CUT_OFF_PERCENT),
        _ms("end-of-turn delay, median", delay.median, DELAY_MS),
        _ms("end-of-turn delay, p95", delay.p95, DELAY_P95_MS),
        _at_least("pauses ≥ 300 ms", tally.pauses, PAUSES),
    ]


def _endpoint_table(whole: Tallies) -> Table:
    head = (
        "category", "dialogues", "turns", "pauses", "cut off", "%", "cut in shorter ones", "delay p50", "p90", "p95",
        "max", "missed", "phantoms", "WER",
    )  # fmt: skip
    rows = [_row(name, tally) for name, tally in [*whole.by_category.items(), ("all", whole.all)]]
    return Table(head, rows, "Ends of turns by category, the worst first (delays in ms)")


def _row(name: str, tally: Tally) -> list[str]:
    wer = "–" if tally.wer is None else f"{tally.wer:.2f}"
    counts = [tally.dialogues, tally.turns, tally.pauses, tally.cut_off]
    return [
        name,
        *map(str, counts),
        show(tally.share, 1),
        str(tally.cut_short),
        *tally.delay.cells,
        str(tally.missed),
        str(tally.phantoms),
        wer,
    ]


def _curve(found: Found) -> Table:
    rows = []
    for number, name in enumerate(found.rules):
        tally = tallies(found.dialogues, number).all
        delay = tally.delay
        figures = [show(tally.share, 1), show(delay.median), show(delay.p90), show(delay.p95)]
        rows.append([name, *figures, str(tally.missed)])
    head = ("rules", "cut off, %", "delay p50", "p90", "p95", "missed")
    return Table(head, rows, "Delay against cut-offs (ms); the first row is in force")


# --- sounds over replies


def _overlay_bars(found: Found) -> list[Bar]:
    wanted = overlay_tally.of(found.overlays, "interruption")
    unwanted = [one for one in found.overlays if one.category != "interruption"]
    false = sum(one.cancelled_ms is not None for one in unwanted)
    known, wrong = len(wanted.histories), wanted.history_wrong
    return [
        _percent("false interruptions", share(false, len(unwanted)), FALSE_PERCENT),
        _percent("missed interruptions", share(wanted.missed, wanted.count), MISSED_PERCENT),
        _ms("onset → last packet, p95", wanted.last_packet.p95, MUTE_MS),
        _ms(
            f"onset → last audible sample, p95 (lead {found.lead_ms} ms)",
            wanted.last_audible.p95,
            MUTE_MS + found.lead_ms,
        ),
        _percent(f"history wrong by more than one word, of {known}", share(wrong, known), HISTORY_PERCENT),
    ]


def _overlay_tables(found: Found) -> list[Table]:
    wanted = [
        (name, overlay_tally.of(found.overlays, "interruption", extended))
        for name, extended in (("stock client", False), ("with our extensions", True), ("all", None))
    ]
    head = (
        "interruptions", "count", "missed", "last packet p50", "p95", "last audible p50", "p95", "told of the mute p50",
        "p95", "cancelled p50", "p95", "history known", "wrong by > 1 word",
    )  # fmt: skip
    rows = [_interruption(name, tally) for name, tally in wanted]
    false = [_false(name, tally) for name, tally in overlay_tally.others(found.overlays)]
    return [
        Table(head, rows, "Interruptions (ms from the user's first sound)"),
        Table(
            ("sound", "count", "cancelled", "%", "silent for a moment", "back later than 1 s"),
            false,
            "What must not interrupt, the worst first",
        ),
    ]


def _interruption(name: str, tally: OverlayTally) -> list[str]:
    spreads = (tally.last_packet, tally.last_audible, tally.told, tally.confirmed)
    figures = [show(value) for one in spreads for value in (one.median, one.p95)]
    history = [str(len(tally.histories)), str(tally.history_wrong)]
    return [name, str(tally.count), str(tally.missed), *figures, *history]


def _false(name: str, tally: OverlayTally) -> list[str]:
    percent = show(share(tally.cancelled, tally.count), 1)
    return [
        name,
        str(tally.count),
        str(tally.cancelled),
        percent,
        str(tally.silent),
        str(tally.back_late),
    ]


# --- voice to voice


def _took(answers: Sequence[Answered]) -> Spread:
    return spread(one.voice_to_voice_ms for one in answers)


def _voice_bar(runs: Mapping[str, Sequence[Answered]]) -> Bar:
    return _ms("voice to voice, pre-emptive replies, median", _took(runs["on"]).median, VOICE_TO_VOICE_MS)


def _voice_table(runs: Mapping[str, Sequence[Answered]]) -> Table:
    rows = []
    for name, answers in runs.items():
        took = _took(answers)
        early = sum(one.turns > 1 for one in answers)
        ended = spread(_number(one.figures.get("end_of_turn_ms")) for one in answers)
        count = f"{took.count} of {len(answers)}"
        rows.append([name, count, *took.cells, show(ended.median), str(early)])
    head = (
        "pre-emptive replies",
        "answered",
        "p50",
        "p90",
        "p95",
        "max",
        "end of turn p50",
        "in more than one turn",
    )
    return Table(head, rows, "Voice to voice, ms")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) else None


# --- words for figures


def _percent(what: str, value: float | None, bar: float) -> Bar:
    return Bar(what, f"≤ {bar} %", f"{show(value, 1)} %", at_most(value, bar))


def _ms(what: str, value: float | None, bar: float) -> Bar:
    return Bar(what, f"≤ {bar} ms", f"{show(value)} ms", at_most(value, bar))


def _at_least(what: str, value: int, bar: int) -> Bar:
    return Bar(what, f"≥ {bar}", str(value), value >= bar)


def _notes(found: Found) -> list[str]:
    notes = []
    if found.dialogues:
        notes += [
            "Ends of turns: the real STT engine and turn-taking over the sound in virtual time. Packets of 20 ms; a "
            "decode or judgement takes the CPU time that it took its thread when it was first run, as if each of the "
            "engine's threads had a core of its own; 4 ms are added for frame wait and the way of a result (Plumbing, "
            "one session, medians).",
            "Cut off: the turn was ended on a pause of at least 300 ms after which the user went on. Delay: from the "
            "last sample of the last phrase that sounds to the turn's end, of all turns whose end was seen, also of "
            "those of which an earlier part was cut off. Missed: not ended 5 s after the last word. Phantoms: ends "
            "without speech. WER: all that was taken of a turn against the script; spelt letters and digits differ in "
            "writing.",
        ]
    if found.overlays_asked:
        left_out = found.overlays_asked - len(found.overlays)
        notes += [
            "Sounds over replies: a whole server, real time, GA over WebSocket, the microphone always on. Counted from "
            "the overlay's first sample that sounds. Last audible: a player that starts with the first audio and plays "
            f"all it received. Missed: not cancelled in 3 s. {left_out} found no reply long enough to be spoken over.",
            "History: what the server keeps as heard against what a recogniser hears in the audio a client had played "
            "when it was told of the speech, both as a number of words of the reply.",
            "Echo: the reply as it is played, 60 ms later and 20 dB softer, in the microphone for 8 s.",
        ]
    if found.voice_to_voice:
        notes.append(
            "Voice to voice: two servers on this machine, asked by turns; the rules of the voice section."
        )
    return notes


# --- JSON


def data(found: Found) -> dict[str, Any]:
    """Every pause, turn and overlay."""
    return {
        "seed": found.seed,
        "rules": list(found.rules),
        "dialogues": [_dialogue(one) for one in found.dialogues],
        "curve": [_point(found, number) for number in range(len(found.rules))] if found.dialogues else [],
        "overlays": [asdict(one) for one in found.overlays],
        "voice_to_voice": {
            name: [{"text": one.utterance.text, "turns": one.turns, **one.figures} for one in answers]
            for name, answers in (found.voice_to_voice or {}).items()
        },
    }


def _point(found: Found, number: int) -> dict[str, Any]:
    whole = tallies(found.dialogues, number)
    named = [("all", whole.all), *whole.by_category.items()]
    points = {
        name: {"pauses": one.pauses, "cut_off": one.cut_off, "delay_ms": one.delay.data, "missed": one.missed}
        for name, one in named
    }
    return {"rules": found.rules[number], **points}


def _dialogue(seen: DialogueSeen) -> dict[str, Any]:
    return {
        "name": seen.name,
        "category": seen.category,
        "voice": seen.voice,
        "noise_db": seen.noise_db,
        "turns": [_turn(turn) for turn in seen.by_rules[0]],
    }


def _turn(turn: TurnSeen) -> dict[str, Any]:
    pauses = [
        {"after": text, "from_ms": end, **asdict(pause)}
        for text, (_, end), pause in zip(turn.script, turn.spans_ms, turn.found.pauses, strict=False)
    ]
    return {
        "said": turn.said,
        "understood": list(turn.understood),
        "ends_at_ms": turn.spans_ms[-1][1],
        "delay_ms": turn.found.delay_ms,
        "missed": turn.found.missed,
        "cut_inside": turn.found.cut_inside,
        "phantoms": turn.found.phantoms,
        "pauses": pauses,
        "known": [
            {name: value for name, value in asdict(one).items() if value is not None} for one in turn.known
        ],
    }
