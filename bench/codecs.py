"""What audio formats cost: `python -m bench codecs`. A recording of speech, 20 ms at a time, one stream on one thread.

Two places pay: the workers, which decode what users say and encode replies, and the web, which takes audio out of
events and puts it into others. It is CPU time for a second of sound.
"""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec
import numpy as np

from bench.figures import at_most, percentile, show
from bench.report import Bar, Section, Table
from bench.speech import RECORDINGS
from config.messages import AudioFormat
from config.settings import SAMPLE_RATE
from gpu_workers.engine import Pcm
from tasks.codec import PACKET_SAMPLES, decoder, encoder
from web.casting import Part
from web.dialects.base import AudioOut
from web.dialects.ga import GaDialect
from web.dialects.ga_formats import shown
from web.reply_options import ReplyOptions

Say = Callable[[str], None]

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

#: Most CPU time for a second that is heard and one that is said, at the workers: 200 such sessions fill a core.
BAR_MS = 5.0

#: The same at the web.
WEB_BAR_MS = 2.0

#: Packets that leave in one event: those of an 80 ms step.
STEP = 4

#: Of speech, in each run.
SECONDS = 20.0

#: Of each figure the median of so many runs.
RUNS = 7


@dataclass(frozen=True)
class Cost:
    """CPU time in ms for one second of sound; of the packets, how many bytes such a second has."""

    decode: float
    encode: float
    web_in: float
    web_out: float
    bytes: float


def measure(seconds: float, say: Say) -> Section:
    """So much speech each way in every format. Raises EngineMissing without the recording."""
    pcm = speech(seconds)
    found = {}
    for audio_format in FORMATS:
        say(f"codecs: {audio_format}")
        found[audio_format] = _cost(audio_format, pcm)
    return _section(found, seconds)


def speech(seconds: float) -> Pcm:
    clip = RECORDINGS[1].load()
    once = np.frombuffer(b"".join(clip.packets), "<i2").astype(np.float32) / 32768.0
    whole = np.resize(once, int(seconds * SAMPLE_RATE))
    return whole[: len(whole) // (STEP * PACKET_SAMPLES) * STEP * PACKET_SAMPLES]


def _cost(audio_format: AudioFormat, pcm: Pcm) -> Cost:
    seconds = len(pcm) / SAMPLE_RATE
    step = STEP * PACKET_SAMPLES
    coder = encoder(audio_format)
    packets = coder.encode(pcm) + coder.flush()

    def encode() -> None:
        fresh = encoder(audio_format)
        for at in range(0, len(pcm), step):
            fresh.encode(pcm[at : at + step])

    def decode() -> None:
        fresh = decoder(audio_format)
        for packet in packets:
            fresh.decode(packet)

    return Cost(
        cpu_ms(decode) / seconds,
        cpu_ms(encode) / seconds,
        cpu_ms(_hearing(audio_format, packets)) / seconds,
        cpu_ms(_speaking(audio_format, packets)) / seconds,
        sum(map(len, packets)) / seconds,
    )


def nobody(name: str, language: str) -> Part:
    """No character is asked for here."""
    raise LookupError(name)


def ga_dialect(audio_format: AudioFormat) -> GaDialect:
    dialect = GaDialect("bench", 160, lambda voice: voice, nobody, extensions=frozenset(("antiphon",)))
    audio = {way: {"format": shown(audio_format)} for way in ("input", "output")}
    update = {"type": "session.update", "session": {"type": "realtime", "audio": audio}}
    dialect.receive(msgspec.json.encode(update).decode())
    return dialect


def _hearing(audio_format: AudioFormat, packets: Sequence[bytes]) -> Callable[[], None]:
    """A client's events, one for each packet of 20 ms, are read."""
    dialect = ga_dialect(audio_format)
    coded = [base64.b64encode(packet).decode() for packet in packets]
    events = [f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}' for audio in coded]

    def run() -> None:
        for event in events:
            dialect.receive(event)

    return run


def _speaking(audio_format: AudioFormat, packets: Sequence[bytes]) -> Callable[[], None]:
    """Events of a reply are written, one for each step of 80 ms."""
    dialect = ga_dialect(audio_format)
    dialect.reply_started(1, ReplyOptions(dialect.wishes), again=False)
    steps = [list(packets[at : at + STEP]) for at in range(0, len(packets), STEP)]

    def run() -> None:
        for step in steps:
            dialect.reply_audio(AudioOut(1, step, len(step) * PACKET_SAMPLES, []))

    return run


def cpu_ms(work: Callable[[], None]) -> float:
    """The median of some runs, after one that does not count."""
    work()
    took = []
    for _ in range(RUNS):
        began_s = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - began_s))
    return percentile(took, 0.5)


def _section(found: dict[AudioFormat, Cost], seconds: float) -> Section:
    bars = [bar for name, cost in found.items() for bar in _bars(name, cost)]
    rows = [
        (name, *(f"{value:.2f}" for value in (cost.decode, cost.encode, cost.web_in, cost.web_out)),
         show(8 * cost.bytes / 1000))
        for name, cost in found.items()
    ]  # fmt: skip
    head = ("ms of CPU", "worker decodes", "worker encodes", "web reads", "web writes", "kbit/s")
    notes = [
        f"For a second of sound: {seconds:g} s of recorded speech, of each figure the median of {RUNS} runs, on one "
        f"thread. Packets are of 20 ms; one comes in an event, {STEP} leave in one.",
        "Workers: G.711 with its change of rate, 8 to 24 kHz and back. Web: JSON and base64 by the GA dialect; neither "
        "sockets nor Redis nor turn-taking. No codec runs there but where a muted reply goes on: 0.2 ms for Opus.",
        "kbit/s: of packets alone. Base64 makes a third more of them, and each event has some 100 bytes of its own.",
    ]
    data = {str(name): msgspec.to_builtins(cost) for name, cost in found.items()}
    return Section("codecs", "Audio formats", bars, [Table(head, rows)], notes, data)


def _bars(audio_format: AudioFormat, cost: Cost) -> list[Bar]:
    coding, web = cost.decode + cost.encode, cost.web_in + cost.web_out
    return [
        Bar(f"{audio_format}: {what}", f"≤ {bar_ms:g} ms", f"{took_ms:.2f} ms", at_most(took_ms, bar_ms))
        for what, took_ms, bar_ms in (("coded both ways", coding, BAR_MS), ("web both ways", web, WEB_BAR_MS))
    ]
