"""What a user notices when a worker is killed in mid-turn, with a second warm worker and with one alone."""

import asyncio
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from bench import speech
from bench.figures import at_most, percentile, show
from bench.report import Bar, Section, Table
from bench.server import BenchFailed, Server, running
from bench.talker import Answered, Talker
from bench.voice import LENGTHY
from config.redis_keys import STAGES
from tasks import streams
from tasks.leases import Leases

Say = Callable[[str], None]

#: Of each stage, with two workers and with one.
KILLS = 2

#: With a second warm worker; with one, which is started again; until the client is told that nobody works on it.
TAKEN_OVER_S, RESTARTED_S, TOLD_S = 2.5, 12.0, 3.0

#: Long enough to die in the middle of.
TOKENS = 60

#: Turns without a death, to know what is usual.
USUAL_TURNS = 3

#: So long before the end of the user's speech the listener's worker is killed: its successor has to be quick.
BEFORE_END_S = 0.5

WELL_DEADLINE_S = 60.0

QUESTION = "Please tell me a story about a ship that sails around the whole world."


@dataclass(frozen=True)
class Death:
    """A worker killed in a turn, and what became of the turn."""

    stage: str
    workers: int
    answered: Answered
    delay_s: float | None
    """How much later the answer came than usual, or how long its player stalled; None: it never came whole."""
    told_s: float | None
    """From the kill to the first word to the client about it, if there was one."""

    @property
    def bar_s(self) -> float:
        """What is allowed."""
        return TAKEN_OVER_S if self.workers > 1 else RESTARTED_S


def measure(kills: int, say: Say) -> Section:
    """Kills each stage's worker some times, with two workers and with one."""
    utterance = speech.Synthesizer().speak(QUESTION)
    deaths: list[Death] = []
    for workers in (2, 1):
        with running("embedded", workers=dict.fromkeys(STAGES, workers)) as server:
            usual_ms = _usual(server, utterance)
            say(f"recovery: {workers} workers of each stage; an answer usually takes {usual_ms:.0f} ms")
            for stage in STAGES:
                for _ in range(kills):
                    _until_well(server, workers)
                    deaths.append(asyncio.run(_death(server, stage, workers, utterance, usual_ms)))
                    say(f"recovery: {_in_short(deaths[-1])}")
    return _section(deaths)


def _usual(server: Server, utterance: speech.Utterance) -> float:
    async def turns() -> list[Answered]:
        async with Talker.open(server.url, LENGTHY, TOKENS) as talker:
            return [await talker.ask(utterance) for _ in range(USUAL_TURNS)]

    took = [one.voice_to_voice_ms for one in asyncio.run(turns())]
    known = [one for one in took if one is not None]
    if not known:
        raise BenchFailed("nothing is answered even when nobody is killed")
    return percentile(known, 0.5)


async def _death(
    server: Server, stage: str, workers: int, utterance: speech.Utterance, usual_ms: float
) -> Death:
    async with Talker.open(server.url, LENGTHY, TOKENS) as talker:
        asking = asyncio.create_task(talker.ask(utterance))
        await _moment(talker, stage, utterance.clip.seconds)
        pid = await asyncio.to_thread(_worker_of, server, stage, talker)
        os.kill(pid, signal.SIGKILL)
        killed_at = monotonic()
        answered = await asking
        told = [at - killed_at for at in talker.told_at if at > killed_at]
    return Death(stage, workers, answered, _delay_s(answered, stage, usual_ms), told[0] if told else None)


async def _moment(talker: Talker, stage: str, seconds: float) -> None:
    """Just before the user's speech ends, at the end of the turn, or when the first audio has come."""
    if stage == "stt":
        await asyncio.sleep(seconds - BEFORE_END_S)
    elif stage == "llm":
        await talker.until(lambda: bool(talker.book.turns))
    else:
        await talker.until(lambda: any(reply.samples for reply in talker.book.replies.values()))


def _delay_s(answered: Answered, stage: str, usual_ms: float) -> float | None:
    took, late = answered.voice_to_voice_ms, answered.figures.get("late_audio_ms")
    if took is None or not isinstance(late, float | int) or answered.status != "completed":
        return None
    return late / 1000 if stage == "tts" else (max(0.0, took - usual_ms) + late) / 1000


def _worker_of(server: Server, stage: str, talker: Talker) -> int:
    """The process that works on this stage of the conversation; where one is alone, it is that one."""
    sid = (talker.book.session or "").removeprefix("sess_")
    with streams.connect(_state_url(server)) as state:
        leases = Leases(state, 1)
        for _ in range(100):
            holder = leases.holders([(stage, sid)])[0]
            if holder is not None:
                return int(holder.owner.rpartition("-")[2])
    return int((server.run / f"{stage}.pid").read_text())


def _state_url(server: Server) -> str:
    conf = (server.run / "state.conf").read_text()
    found = dict(re.findall(r"^(port|requirepass) (\S+)$", conf, re.MULTILINE))
    return f"redis://:{found['requirepass']}@127.0.0.1:{found['port']}/0"


def _until_well(server: Server, workers: int) -> None:
    """Until all workers are back. Raises BenchFailed."""
    deadline = monotonic() + WELL_DEADLINE_S
    while monotonic() < deadline:
        if all(count == workers for count in _workers(server).values()):
            return
    raise BenchFailed(f"a killed worker did not come back in {WELL_DEADLINE_S:.0f} s")


def _workers(server: Server) -> dict[str, int]:
    url = f"http://127.0.0.1:{server.port}/v1/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            health = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        health = json.loads(error.read())
    return {stage: int(said["workers"]) for stage, said in health["stages"].items()}


# --- what is told


def _in_short(death: Death) -> str:
    told = "" if death.told_s is None else f", told after {death.told_s:.1f} s"
    return f"{death.stage} of {death.workers} killed: {show(death.delay_s, 1)} s lost{told}"


def _section(deaths: Sequence[Death]) -> Section:
    kinds = list(dict.fromkeys((death.stage, death.workers) for death in deaths))
    rows, bars = [], []
    for stage, workers in kinds:
        mine = [death for death in deaths if (death.stage, death.workers) == (stage, workers)]
        delays = [death.delay_s for death in mine]
        worst = None if None in delays else max(delay for delay in delays if delay is not None)
        told = [death.told_s for death in mine if death.told_s is not None]
        rows.append(
            (
                stage, str(workers), f"{sum(delay is not None for delay in delays)} of {len(mine)}",
                ", ".join(show(delay, 2) for delay in delays), ", ".join(show(one, 2) for one in told) or "–",
            )
        )  # fmt: skip
        bar_s = mine[0].bar_s
        who = f"{stage} killed, {'a second warm worker' if workers > 1 else 'one worker'}"
        bars.append(Bar(f"{who}: lost", f"≤ {bar_s:g} s", f"{show(worst, 1)} s", at_most(worst, bar_s)))
        if workers == 1:
            bars.append(_told(who, mine))
    head = ("stage", "workers", "turns finished", "lost, s", "client told after, s")
    return Section(
        "recovery",
        "Recovery, embedded models",
        bars,
        [Table(head, rows)],
        [
            "A worker is ended by SIGKILL in mid-turn: STT half a second before the user's speech ends, LLM at the end "
            "of the turn, TTS when its first audio has come. Lost: for STT and LLM how much later than usual the "
            "answer's first sound came, plus the stalls of its player; for TTS those stalls.",
            "With one worker the supervisor starts it again and it warms up; the client is told meanwhile, unless the "
            "turn goes on before.",
        ],
        {
            "deaths": [
                {"stage": d.stage, "workers": d.workers, "lost_s": d.delay_s, "told_s": d.told_s}
                for d in deaths
            ]
        },
    )


def _told(who: str, deaths: Sequence[Death]) -> Bar:
    """A turn that went on before the client had to be told needs no word."""
    times = [death.told_s if death.told_s is not None else death.delay_s for death in deaths]
    worst = None if None in times else max(time for time in times if time is not None)
    return Bar(f"{who}: told, or over", f"≤ {TOLD_S:g} s", f"{show(worst, 1)} s", at_most(worst, TOLD_S))
