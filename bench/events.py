"""What the wire costs: `python -m bench json`. The events of a conversation read and written by a dialect, base64 and
Ogg pages among them; no socket, no Redis, no turn-taking. CPU time for a second of a session.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from bench.codecs import RUNS, STEP, WEB_BAR_MS, cpu_ms, ga_dialect, speech
from bench.figures import at_most, show
from bench.report import Bar, Section, Table
from config.messages import AudioFormat, SpokenWord, Transcript
from config.settings import SAMPLE_RATE
from tasks.codec import PACKET_SAMPLES, encoder
from web.casting import Part
from web.dialects.base import AudioOut, Dialect, ReplyOutcome
from web.dialects.unmute import UnmuteDialect
from web.ogg import OggOpusWriter
from web.reply_options import ReplyOptions

Say = Callable[[str], None]

#: Of a session, in each run.
SECONDS = 30.0

#: The user speaks, the assistant answers: of each turn so many seconds, in which the microphone is always open.
USER_S, REPLY_S = 4, 6

#: How fast people speak, and the LLM writes ahead of them: words of a turn each way.
WORDS_A_SECOND = 3

#: Packets of 20 ms that one event of a client brings: GA's SDKs send what a microphone gives, Unmute's page two a page.
GA_PACKETS, UNMUTE_PACKETS = (1, 4), 2

OPENING = {"instructions": {"type": "constant", "text": "Be brief."}, "voice": None, "allow_recording": False}


@dataclass(frozen=True)
class Cost:
    """Of a second of a session, both ways."""

    name: str
    read_ms: float
    write_ms: float
    events_in: float
    events_out: float
    kbytes_in: float
    kbytes_out: float


def measure(seconds: float, say: Say) -> Section:
    """Conversations of about so long. Raises EngineMissing without the recording."""
    turns = max(1, round(seconds / (USER_S + REPLY_S)))
    found = []
    for audio_format in ("pcm16", "pcmu", "opus"):
        for each in GA_PACKETS:
            say(f"json: ga, {audio_format}, {each} packets an event")
            found.append(_ga(audio_format, each, turns))
    say("json: unmute")
    found.append(_unmute(turns))
    return _section(found, turns)


def _packets(audio_format: AudioFormat, turns: int) -> list[bytes]:
    coder = encoder(audio_format)
    return coder.encode(speech(float(turns * (USER_S + REPLY_S)))) + coder.flush()


def _ga(audio_format: AudioFormat, each: int, turns: int) -> Cost:
    packets = _packets(audio_format, turns)
    events = []
    for at in range(0, len(packets), each):
        some = packets[at : at + each]
        event: dict[str, object] = {
            "type": "input_audio_buffer.append",
            "audio": base64.b64encode(b"".join(some)).decode(),
        }
        if audio_format == "opus":
            event["antiphon"] = {"packets": [*map(len, some)]}
        events.append(msgspec.json.encode(event).decode())
    name = f"ga, {audio_format}, {20 * each} ms an event"
    return _cost(name, lambda: ga_dialect(audio_format), events, packets, turns)


def _unmute(turns: int) -> Cost:
    packets, writer = _packets("opus", turns), OggOpusWriter(1)
    pages = [writer.pages(packets[at : at + UNMUTE_PACKETS]) for at in range(0, len(packets), UNMUTE_PACKETS)]
    pages[0] = OggOpusWriter(1).head() + pages[0]
    coded = [base64.b64encode(page).decode() for page in pages]
    events = [f'{{"type":"input_audio_buffer.append","audio":"{page}"}}' for page in coded]

    def fresh() -> Dialect:
        dialect = UnmuteDialect("bench", 320, lambda instructions, voice: Part("Be brief.", "", "en"))
        dialect.receive(msgspec.json.encode({"type": "session.update", "session": OPENING}).decode())
        return dialect

    return _cost(f"unmute, {20 * UNMUTE_PACKETS} ms an event", fresh, events, packets, turns)


def _cost(
    name: str, fresh: Callable[[], Dialect], events: Sequence[str], packets: Sequence[bytes], turns: int
) -> Cost:
    def read() -> None:
        dialect = fresh()
        for event in events:
            dialect.receive(event)

    seconds = turns * (USER_S + REPLY_S)
    told = [message for number in range(turns) for message in _turn(fresh(), packets, number)]
    sizes = sum(map(len, events)), sum(map(len, told))
    return Cost(
        name,
        cpu_ms(read) / seconds,
        cpu_ms(lambda: _talk(fresh(), packets, turns)) / seconds,
        len(events) / seconds,
        len(told) / seconds,
        sizes[0] / seconds / 1000,
        sizes[1] / seconds / 1000,
    )


def _talk(dialect: Dialect, packets: Sequence[bytes], turns: int) -> None:
    for number in range(turns):
        _turn(dialect, packets, number)


def _turn(dialect: Dialect, packets: Sequence[bytes], number: int) -> list[str]:
    """All that is told in one: what the user said, as it becomes known, and the answer with its sound."""
    at, said = number * (USER_S + REPLY_S) * SAMPLE_RATE, ["word "] * (WORDS_A_SECOND * USER_S)
    told = dialect.speech_began(at)
    for count in range(1, len(said) + 1):
        told += dialect.partial_text(Transcript("".join(said[:count]), at, at + USER_S * SAMPLE_RATE))
    told += [
        *dialect.speech_stopped(at + USER_S * SAMPLE_RATE),
        *dialect.committed(),
        *dialect.user_text("".join(said)),
    ]
    told += dialect.reply_started(number + 1, ReplyOptions(dialect.wishes), again=False)
    return told + _reply(dialect, packets, number + 1)


def _reply(dialect: Dialect, packets: Sequence[bytes], number: int) -> list[str]:
    told: list[str] = []
    step, words = STEP * PACKET_SAMPLES, WORDS_A_SECOND * REPLY_S
    every = REPLY_S * SAMPLE_RATE // words
    for _ in range(words):
        told += dialect.reply_words(number, ["word "])
    for at in range(0, REPLY_S * SAMPLE_RATE, step):
        begins = [
            (SpokenWord(n, n * every, (n + 1) * every), "word ")
            for n in range(words)
            if at <= n * every < at + step
        ]
        some = packets[at // PACKET_SAMPLES : at // PACKET_SAMPLES + STEP]
        told += dialect.reply_audio(AudioOut(number, [*some], step, begins))
    text = "word " * words
    outcome = ReplyOutcome(
        number, "completed", "", text, text, REPLY_S * SAMPLE_RATE, False, 50, words, 90.0, 60.0
    )
    return told + dialect.reply_ended(outcome)


def _section(found: Sequence[Cost], turns: int) -> Section:
    bars = [
        Bar(
            f"{cost.name}: read and written",
            f"≤ {WEB_BAR_MS:g} ms",
            f"{both:.2f} ms",
            at_most(both, WEB_BAR_MS),
        )
        for cost in found
        for both in [cost.read_ms + cost.write_ms]
    ]
    rows = [
        (cost.name, f"{cost.read_ms:.3f}", f"{cost.write_ms:.3f}", *(show(value, 1) for value in (
            cost.events_in, cost.events_out, cost.kbytes_in, cost.kbytes_out)))
        for cost in found
    ]  # fmt: skip
    head = ("ms of CPU for a second", "read", "written", "events in", "events out", "kB in", "kB out")
    notes = [
        f"A conversation of {turns} turns on one thread: the user speaks {USER_S} s, the assistant answers {REPLY_S}, "
        f"the microphone is open all the time, {WORDS_A_SECOND} words a second each way; of each figure the median of "
        f"{RUNS} runs.",
        "By the dialects themselves, with msgspec as they use it: JSON, base64, Ogg pages and their checksums, and "
        "what is kept of a session's events. Sockets, frames, Redis and turn-taking are in the plumbing's figures.",
    ]
    data = {cost.name: msgspec.to_builtins(cost) for cost in found}
    return Section("json", "JSON", bars, [Table(head, rows)], notes, data)
