"""A whole load test: one run, judged, or a search of many; and one session first, to see if there is a server."""

import asyncio
import time
from dataclasses import dataclass, replace
from random import Random

import psutil

from cli.call import CallFailed
from cli.loadtest import report as reports
from cli.loadtest import server_metrics as metrics
from cli.loadtest import sounds
from cli.loadtest.capacity import Search, Verdict
from cli.loadtest.crowd import Conversation
from cli.loadtest.gathered import Gathered
from cli.loadtest.generator import RAMP_PER_SESSION_S, Generator, Order
from cli.loadtest.line import LineFailed
from cli.loadtest.plan import Plan
from cli.loadtest.progress import Progress, line
from cli.loadtest.report import Report
from cli.loadtest.talker import Talker
from cli.loadtest.targets import Targets
from cli.loadtest.wires import wire
from config.messages import AudioFormat

#: Between two steps of a search, so that the server is done with the sessions of the first.
SETTLE_S = 2.0


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line, beyond one run's order."""

    order: Order
    targets: Targets
    metrics_urls: tuple[str, ...]
    progress: Progress


def run(wish: Wish) -> Report:
    """One run, judged."""
    order, progress = wish.order, wish.progress
    before = metrics.pages(wish.metrics_urls)
    psutil.cpu_percent()
    with Generator(order) as generator:
        began_s = generator.zero_s
        found = generator.run(
            lambda now: progress.show(line(sum(now.up.values()), order.sessions, now.found))
        )
        took_s = time.monotonic() - began_s
    progress.end()
    if generator.interrupted:
        progress.say(f"interrupted after {took_s:.0f} s; this is what was found until then")
    server = metrics.rows(before, metrics.pages(wish.metrics_urls))
    return reports.report(
        found, wish.targets, server, psutil.cpu_percent() / 100, url=order.url, dialect=order.dialect,
        speech=order.speech.source, sessions=order.sessions, processes=len(order.shares), took_s=took_s,
        interrupted=generator.interrupted,
    )  # fmt: skip


def find_capacity(wish: Wish, search: Search) -> list[Report]:
    """Every run of the search; `search` knows the answer then."""
    found: list[Report] = []
    while (sessions := search.wanted) is not None:
        order = replace(wish.order, sessions=sessions, ramp_s=RAMP_PER_SESSION_S * sessions)
        told = run(replace(wish, order=order))
        if told.interrupted:
            search.interrupted = True
            return [*found, told]
        verdict = Verdict.INVALID if not told.valid else Verdict.HELD if told.judged.held else Verdict.MISSED
        search.tell(sessions, verdict)
        why = told.health.troubles if not told.valid else told.judged.missed
        wish.progress.say(f"{sessions} sessions: {verdict.value}{' – ' + ', '.join(why) if why else ''}")
        found.append(told)
        try:
            time.sleep(SETTLE_S)
        except KeyboardInterrupt:  # as in the middle of a run: what was found is told
            search.interrupted = True
            break
    return found


def probe(url: str, dialect: str, api_key: str | None = None, audio_format: AudioFormat = "pcm16") -> None:
    """One session, opened and closed: who cannot have one need not try many. Raises CallFailed."""
    now_s = time.monotonic()
    speech = sounds.speech("a hum", sounds.hums()[:1], dialect, 20, audio_format)
    plan = Plan(
        url=url, dialect=dialect, speech=speech, sessions=1, first=0, of=1, process=0,
        zero_s=now_s, ramp_s=0, begin_s=now_s, end_s=now_s, api_key=api_key,
    )  # fmt: skip

    async def hold() -> None:
        talker = Talker(plan, wire(dialect, speech), Random(0), Gathered())
        conversation = Conversation(plan, talker, Gathered(), now_s)
        try:
            await conversation.hold()
        finally:
            conversation.hang_up()

    try:
        asyncio.run(hold())
    except LineFailed as failed:
        detail = f": {failed.detail}" if failed.detail else ""
        raise CallFailed(f"{url}: {failed.cause}{detail}") from None
