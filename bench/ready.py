"""How soon a server is there after `antiphon up`, and how much memory it takes."""

import asyncio
from collections.abc import Callable

from bench import processes, speech
from bench.figures import at_most, show
from bench.processes import Usage
from bench.report import Bar, Section, Table
from bench.server import Server, running
from bench.talker import Answered, Talker
from bench.voice import BRIEF, BRIEF_TOKENS

READY_S, ALL_MB = 20, 1800

#: The last start is the one whose memory is looked at.
STARTS = 3


def measure(starts: int, say: Callable[[str], None]) -> Section:
    """Starts the server some times; the last one holds a conversation of one turn."""
    utterances = speech.human()
    took: list[float] = []
    for number in range(starts):
        with running("embedded") as server:
            took.append(server.ready_s)
            say(f"ready: start {number + 1} of {starts}: {server.ready_s:.1f} s")
            if number == starts - 1:
                answered = asyncio.run(_converse(server, utterances[0]))
                used = processes.of_run(server.run)
    return _section(took, used, answered)


async def _converse(server: Server, utterance: speech.Utterance) -> Answered:
    async with Talker.open(server.url, BRIEF, BRIEF_TOKENS) as talker:
        return await talker.ask(utterance)


def _section(took: list[float], used: dict[str, Usage], answered: Answered) -> Section:
    rss = sum(one.rss_mb for one in used.values())
    rows = [(name, show(used[name].rss_mb), show(used[name].pss_mb)) for name in processes.in_order(used)]
    rows.append(("all", show(rss), show(sum(one.pss_mb for one in used.values()))))
    slowest = max(took)
    bars = [
        Bar("ready, slowest start", f"≤ {READY_S} s", f"{slowest:.1f} s", at_most(slowest, READY_S)),
        Bar("memory of all processes (RSS)", f"≤ {ALL_MB} MB", f"{rss:.0f} MB", at_most(rss, ALL_MB)),
    ]
    notes = [
        "From the start of `antiphon up` to its word that all is ready, on a machine that has run it before; starts in "
        f"order: {', '.join(f'{one:.1f} s' for one in took)}.",
        "Memory after one conversation of one turn"
        + ("" if answered.voice_to_voice_ms is not None else " (which was not answered)")
        + ". RSS counts what processes share once for each; PSS shares it out.",
    ]
    return Section(
        "ready",
        "Start and memory, embedded models",
        bars,
        [Table(("process", "RSS MB", "PSS MB"), rows)],
        notes,
        {"ready_s": took, "rss_mb": {name: one.rss_mb for name, one in used.items()}},
    )
