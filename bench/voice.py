"""How a conversation with real models feels: time to the answer, stage by stage, for one user and for three at once.

Every utterance goes through the GA WebSocket as `antiphon talk` sends it, in real time, and is measured by its rules.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bench import speech
from bench.figures import Spread, at_most, show, spread
from bench.report import Bar, Section, Table
from bench.server import Server, running
from bench.speech import Utterance
from bench.talker import Answered, BargedIn, Talker
from bench.wer import word_error_rate
from cli.call import Call, CallFailed, Plan
from cli.ga_client import GaClient
from cli.happenings import Happening
from cli.measure import TurnBook

Say = Callable[[str], None]

#: Keeps the run short. The first words of an answer, which are measured, come no sooner for it.
BRIEF = "You are a friendly assistant in a voice call. Answer in English, in one short sentence."
BRIEF_TOKENS = 24

#: An answer that can be interrupted.
LENGTHY = "You are a friendly storyteller in a voice call. Answer at great length, in many sentences."

#: A new session after so many turns: histories of real conversations are of every length, too.
TURNS_PER_SESSION = 10

#: How much of a reply is heard before it is interrupted.
LISTEN_S = 2.5

FIGURES = {
    "voice_to_voice_ms": "voice to voice",
    "end_of_turn_ms": "end of turn",
    "llm_first_token_ms": "LLM first token",
    "tts_first_audio_ms": "TTS first audio",
    "late_audio_ms": "late audio",
}

MEDIAN_MS, P95_MS, TOGETHER_P95_MS, BARGE_IN_MS, WORST_WER = 900, 1400, 4000, 300, 0.15


@dataclass(frozen=True)
class Scope:
    """How much is measured."""

    turns: int = 40
    talkers: Sequence[int] = (1, 3)
    turns_together: int = 8
    """For each of several talkers."""
    interruptions: int = 8
    recordings: bool = True

    @classmethod
    def quick(cls) -> "Scope":
        """A smoke test."""
        return cls(turns=4, turns_together=2, interruptions=1, recordings=False)


def measure(scope: Scope, say: Say) -> Section:
    """The whole part, on a server of its own."""
    say("voice: synthesising the users' speech")
    voice = speech.Synthesizer()
    people, synthetic = speech.human(), voice.all(speech.SENTENCES)
    with running("embedded") as server:
        say(f"voice: server ready after {server.ready_s:.1f} s")
        runs = {
            talkers: asyncio.run(_conversations(server, talkers, scope, people, synthetic, say))
            for talkers in scope.talkers
        }
        wer = _recordings(server, say) if scope.recordings else None
        interruptions = asyncio.run(_interruptions(server, voice, scope.interruptions, say))
    return _section(scope, runs, wer, interruptions)


# --- conversations


async def _conversations(
    server: Server,
    talkers: int,
    scope: Scope,
    people: list[Utterance],
    synthetic: list[Utterance],
    say: Say,
) -> list[Answered]:
    turns = scope.turns if talkers == 1 else scope.turns_together
    together = asyncio.Barrier(talkers)
    scripts = [
        list(islice(speech.mixed(people, synthetic), number * 7, number * 7 + turns))
        for number in range(talkers)
    ]

    def tell(number: int, done: int, answered: Answered) -> None:
        took = show(answered.voice_to_voice_ms)
        say(f"voice: talker {number + 1} of {talkers}, turn {done} of {turns}: {took} ms")

    users = [_user(server.url, script, together, number, tell) for number, script in enumerate(scripts)]
    return [answered for one in await asyncio.gather(*users) for answered in one]


async def _user(
    url: str,
    script: Sequence[Utterance],
    together: asyncio.Barrier,
    number: int,
    tell: Callable[[int, int, Answered], None],
) -> list[Answered]:
    """All talkers begin each utterance at the same moment."""
    answers: list[Answered] = []
    for part in _parts(script):
        async with Talker.open(url, BRIEF, BRIEF_TOKENS) as talker:
            for utterance in part:
                await together.wait()
                answers.append(await talker.ask(utterance))
                tell(number, len(answers), answers[-1])
    return answers


def _parts(script: Sequence[Utterance]) -> Iterator[Sequence[Utterance]]:
    for begin in range(0, len(script), TURNS_PER_SESSION):
        yield script[begin : begin + TURNS_PER_SESSION]


# --- what was understood of people


def _recordings(server: Server, say: Say) -> tuple[float, str]:
    """Word error rate over both recordings, each played whole, and all that was understood."""
    said, understood = [], []
    for recording in speech.RECORDINGS:
        book = TurnBook()
        call = Call(Plan(server.url, recording.load()), GaClient(), book, _noting(book))
        try:
            asyncio.run(call.run())
        except CallFailed as error:
            say(f"voice: {recording.file}: {error}")
        said.append(recording.text)
        understood.append(" ".join(text.text for text in book.texts.values()))
        say(f"voice: {recording.file}: {len(book.turns)} turns, understood: {understood[-1]}")
    return word_error_rate(" ".join(said), " ".join(understood)), " ".join(understood)


def _noting(book: TurnBook) -> Callable[[Happening, float], None]:
    def note(happening: Happening, t: float) -> None:
        book.note(happening, t)

    return note


# --- interruptions


async def _interruptions(server: Server, voice: speech.Synthesizer, count: int, say: Say) -> list[BargedIn]:
    found: list[BargedIn] = []
    questions, words = voice.all(speech.LONG_QUESTIONS), voice.all(speech.INTERRUPTIONS)
    for number in range(count):
        async with Talker.open(server.url, LENGTHY) as talker:
            await talker.say(questions[number % len(questions)])
            reply = await talker.hear(LISTEN_S)
            if reply is None:
                say(f"voice: interruption {number + 1} of {count}: the reply was too short to interrupt")
                continue
            found.append(await talker.interrupt(words[number % len(words)], reply))
            say(f"voice: interruption {number + 1} of {count}: {show(found[-1].stopped_ms)} ms")
    return found


# --- what is told


def _section(
    scope: Scope,
    runs: dict[int, list[Answered]],
    wer: tuple[float, str] | None,
    interruptions: list[BargedIn],
) -> Section:
    stopped = spread(one.stopped_ms for one in interruptions)
    tables = [_table(talkers, answers) for talkers, answers in runs.items()]
    if interruptions:
        tables.append(
            Table(
                ("ms", "count", "median", "p90", "p95", "max"),
                [("onset sent → last audio received", str(stopped.count), *stopped.cells)],
                f"Barge-in: {stopped.count} of {len(interruptions)} interruptions cancelled the reply",
            )
        )
    bars = [bar for talkers, answers in runs.items() for bar in _bars(talkers, answers)]
    if interruptions:
        all_stopped = stopped.count == len(interruptions)
        bars.append(_bar("barge-in, largest", stopped.largest, BARGE_IN_MS, and_also=all_stopped))
    if wer is not None:
        bars.append(
            Bar("WER, both human recordings", f"≤ {WORST_WER}", f"{wer[0]:.3f}", at_most(wer[0], WORST_WER))
        )
    return Section(
        "voice",
        "Voice to voice, embedded models",
        bars,
        tables,
        _notes(runs),
        _data(runs, wer, interruptions),
    )


def _table(talkers: int, answers: list[Answered]) -> Table:
    rows = []
    for name, label in FIGURES.items():
        figure = _figure(answers, name)
        rows.append((label, str(figure.count), *figure.cells))
    who = "one talker" if talkers == 1 else f"{talkers} talkers at once"
    answered = sum(one.voice_to_voice_ms is not None for one in answers)
    early = sum(one.turns > 1 for one in answers)
    title = (
        f"{who.capitalize()}: {answered} of {len(answers)} utterances answered, "
        f"{early} of them taken in more than one turn"
    )
    return Table(("ms", "count", "median", "p90", "p95", "max"), rows, title)


def _figure(answers: list[Answered], name: str) -> Spread:
    values = [one.figures.get(name) for one in answers]
    return spread(float(value) if isinstance(value, float | int) else None for value in values)


def _bars(talkers: int, answers: list[Answered]) -> list[Bar]:
    figure = _figure(answers, "voice_to_voice_ms")
    late = _figure(answers, "late_audio_ms")
    complete = figure.count == len(answers)
    if talkers != 1:
        bars = [_bar(f"{talkers} talkers, p95", figure.p95, TOGETHER_P95_MS)]
        return [*bars, _share(f"{talkers} talkers, answered", figure.count, len(answers))]
    return [
        _bar("voice to voice, median", figure.median, MEDIAN_MS),
        _bar("voice to voice, p95", figure.p95, P95_MS),
        _bar("late audio, largest", late.largest, 0, and_also=complete),
        _share("answered", figure.count, len(answers)),
    ]


def _bar(what: str, measured_ms: float | None, bar_ms: float, *, and_also: bool = True) -> Bar:
    reached = at_most(measured_ms, bar_ms) and and_also
    return Bar(what, f"≤ {bar_ms} ms" if bar_ms else "0 ms", f"{show(measured_ms)} ms", reached)


def _share(what: str, some: int, whole: int) -> Bar:
    return Bar(what, "all", f"{some} of {whole}", some == whole)


def _notes(runs: dict[int, list[Answered]]) -> list[str]:
    people = sum(one.utterance.human for one in next(iter(runs.values()), []))
    return [
        f"Voice to voice: from the last packet sent over −45 dBFS to the first audible 20 ms received, at the client "
        f"(the rule of `antiphon talk`). {people} of the first run's utterances are people's (two recordings, cut into "
        "sentences), the others Piper's at three paces. Percentiles are nearest ranks.",
        f"The users speak in real time over the GA WebSocket, wait for each answer's end and {TURNS_PER_SESSION} turns "
        f"make a session. Instructions ask for one short sentence and {BRIEF_TOKENS} tokens are allowed, to keep the "
        "run short. Where an utterance was taken in more than one turn, the last one's figures count.",
        "Several talkers begin every utterance at the same moment. Client and server share the machine.",
        f"Barge-in: after {LISTEN_S} s of a long reply the user speaks; from the first audible packet sent to the "
        "receipt of the last audio of that reply.",
        "WER: each recording is played whole, pauses and all; all turns' transcripts joined against the text, without "
        "case and punctuation.",
    ]


def _data(
    runs: dict[int, list[Answered]], wer: tuple[float, str] | None, interruptions: list[BargedIn]
) -> dict[str, object]:
    return {
        "talkers": {
            str(talkers): [
                {
                    "text": one.utterance.text,
                    "human": one.utterance.human,
                    "turns": one.turns,
                    "understood": one.understood,
                    **one.figures,
                }
                for one in answers
            ]
            for talkers, answers in runs.items()
        },
        "wer": None if wer is None else {"wer": wer[0], "understood": wer[1]},
        "barge_in_ms": [one.stopped_ms for one in interruptions],
    }
