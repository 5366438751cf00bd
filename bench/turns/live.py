"""Plays sounds over the replies of a whole server, in real time, and measures voice to voice on plain questions."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import soxr

from bench.server import BenchFailed, Server, running
from bench.speech import Utterance
from bench.talker import Answered, Talker
from bench.turns import live_score
from bench.turns.dialogue import Dialogue, Rendered, Sound
from bench.turns.live_score import Observed, OverlayFound
from bench.turns.live_user import LiveUser
from bench.turns.virtual import bed
from bench.voice import BRIEF, BRIEF_TOKENS, LENGTHY
from cli import sound
from gpu_workers.engine import Pcm
from gpu_workers.moonshine import RATE as MOONSHINE_RATE
from gpu_workers.moonshine import Moonshine

Say = Callable[[str], None]

#: A reply that has not begun by then is none.
REPLY_S = 20.0

#: How long is watched after a sound: longer than an interruption may take.
WATCH_S = live_score.MISSED_S + 0.5

#: An echo has no end of its own; so much of the reply leaks.
ECHO_S = 8.0

#: Replies too short to be spoken over are asked for again.
TRIES = 3

#: The loop of a room's tone.
ROOM_SAMPLES = 10 * sound.RATE

#: After what was cut in the middle of a word: without it a recogniser goes on by itself.
QUIET_SAMPLES = sound.RATE // 2

LOOK_S = 0.01

EXTENDED = "?extensions=antiphon"


def overlays(dialogues: Iterable[Rendered], say: Say) -> Iterator[OverlayFound]:
    """Each over a reply of one server; every other one as a client with our extensions. Raises BenchFailed."""
    with running("embedded") as server:
        for number, rendered in enumerate(dialogues):
            one = asyncio.run(_tried(server, rendered, extended=number % 2 == 1, say=say))
            if one is not None:
                found = live_score.found(one, transcribe)
                say(f"turns: {number + 1} {_line(found)}")
                yield found


def _line(one: OverlayFound) -> str:
    what = "not cancelled" if one.cancelled_ms is None else f"cancelled after {one.cancelled_ms:.0f} ms"
    last = "" if one.last_packet_ms is None else f", last packet after {one.last_packet_ms:.0f} ms"
    off = "" if one.history_off is None else f", history off by {one.history_off} words"
    back = "" if one.resumed_ms is None else f", silent, back {one.resumed_ms:.0f} ms after the sound"
    return f"{one.name}{' (extended)' if one.extended else ''}: {what}{last}{off}{back}"


async def _tried(server: Server, rendered: Rendered, *, extended: bool, say: Say) -> Observed | None:
    for _ in range(TRIES):
        try:
            seen = await _observe(server.url + (EXTENDED if extended else ""), rendered, extended=extended)
        except BenchFailed as error:
            say(f"turns: {rendered.dialogue.name}: {error}")
            continue
        if seen is not None:
            return seen
    say(f"turns: {rendered.dialogue.name}: no reply was long enough to speak over")
    return None


async def _observe(url: str, rendered: Rendered, *, extended: bool) -> Observed | None:
    """One session; None where the reply was over before the sound over it began."""
    async with LiveUser.open(url, LENGTHY) as user:
        user.room = bed(rendered, len(rendered.noise) if rendered.noise is not None else ROOM_SAMPLES)
        known: list[str] = []
        for turn in rendered.turns:
            known = list(user.replies)
            reply = await _ask(user, turn, known)
        if reply is None:
            return None
        return await _speak_over(user, rendered, reply, extended=extended)


async def _ask(user: LiveUser, turn: Sound, known: Sequence[str]) -> str | None:
    """Says a turn and waits for the first audio of its answer."""
    end = user.begin(turn) + turn.phrases[-1].end
    await _until(lambda: user.passed(end), len(turn.pcm) / sound.RATE + REPLY_S)
    await _until(lambda: user.newest(known) is not None, REPLY_S)
    return user.newest(known)


async def _speak_over(user: LiveUser, rendered: Rendered, reply: str, *, extended: bool) -> Observed | None:
    log, overlay = user.replies[reply], rendered.dialogue.overlay
    began = log.player.pieces[0].t
    if overlay is None or rendered.overlay is None:
        user.leaks = True
        onset, ends = began, began + ECHO_S
    else:
        await asyncio.sleep(max(0.0, began + overlay.after_ms / 1000 - user.now))
        if log.status is not None and user.now > log.player.runs_out:
            return None
        onset, ends = await _make(user, rendered.overlay)
        if log.done_at is not None and log.done_at < onset:
            return None
    await _until(lambda: log.status is not None, ends - user.now + WATCH_S)
    if log.status is None or log.status == "cancelled":
        await asyncio.sleep(0.2)  # audio that was on its way
    over = log.done_at is not None and log.status != "cancelled" and log.player.runs_out < ends
    told = [t for t in user.speech_started_at if t >= onset]
    if over and overlay is not None:
        return None
    return Observed(
        rendered.dialogue.name,
        rendered.dialogue.category,
        extended,
        onset,
        ends,
        log,
        told[0] if told else None,
    )


async def _make(user: LiveUser, overlay: Sound) -> tuple[float, float]:
    """Makes the sound; the moments of its first and last sample that can be heard."""
    begin = user.begin(overlay)
    stretches = overlay.phrases
    first = begin + (stretches[0].begin if stretches else 0)
    last = begin + (stretches[-1].end if stretches else len(overlay.pcm)) - 1
    await _until(lambda: user.passed(last), len(overlay.pcm) / sound.RATE + REPLY_S)
    return user.moment(first), user.moment(last)


async def _until(true: Callable[[], bool], longest_s: float) -> None:
    """Waits for it, but not for ever."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + longest_s
    while not true() and loop.time() < deadline:
        await asyncio.sleep(LOOK_S)


@cache
def _ear() -> Moonshine:
    return Moonshine(1)


def transcribe(pcm: Pcm) -> str:
    """What an ear makes of audio of 24 kHz."""
    if not len(pcm):
        return ""
    heard = np.concatenate([pcm, np.zeros(QUIET_SAMPLES, np.float32)])
    return _ear().transcribe(np.asarray(soxr.resample(heard, sound.RATE, MOONSHINE_RATE), np.float32))


# --- voice to voice


def voice_to_voice(dialogues: Sequence[Rendered], say: Say) -> dict[str, list[Answered]]:
    """Each first turn asked of a server that begins replies early and of one that does not, one after another."""
    with (
        running("embedded", {"ANTIPHON_TURN__PREEMPT": "on"}) as early,
        running("embedded", {"ANTIPHON_TURN__PREEMPT": "off"}) as late,
    ):
        servers = {"on": early, "off": late}
        found: dict[str, list[Answered]] = {name: [] for name in servers}
        for rendered in dialogues:
            for name, server in servers.items():
                answered = asyncio.run(_answered(server, _utterance(rendered.dialogue, rendered.turns[0])))
                found[name].append(answered)
                took = answered.voice_to_voice_ms
                say(f"turns: {rendered.dialogue.name}, pre-emptive {name}: {took} ms, {answered.turns} turns")
    return found


async def _answered(server: Server, utterance: Utterance) -> Answered:
    async with Talker.open(server.url, BRIEF, BRIEF_TOKENS) as talker:
        return await talker.ask(utterance)


def _utterance(dialogue: Dialogue, turn: Sound) -> Utterance:
    text = " ".join(phrase.text for phrase in dialogue.turns[0])
    samples = np.asarray(np.clip(turn.pcm, -1, 1) * 32767, "<i2")
    return Utterance(text, sound.cut(samples), human=dialogue.category == "human")
