"""`antiphon talk`: speak a sound file to the server as if live, hear the answer, and measure it."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import cast, get_args
from urllib.parse import urlsplit

import click
import msgspec

from cli import happenings as h
from cli import sound
from cli.call import Call, CallFailed, Plan
from cli.credentials import addressed, key_option
from cli.dialect import Dialect
from cli.measure import Report, TurnBook
from cli.narrator import Narrator, narrator
from cli.url import with_extensions
from config.errors import AntiphonError, ConfigError
from config.messages import AudioFormat

#: A conversation was held, but not every turn was answered. (2 is for what the caller must mend.)
UNANSWERED = 1

#: Imported when asked for: the Unmute dialect needs libopus.
DIALECTS = {"ga": ("cli.ga_client", "GaClient"), "unmute": ("cli.unmute_client", "UnmuteClient")}


class Conversation:
    """One call with all who follow it: the book, the narrator, and what the assistant said."""

    def __init__(self, plan: Plan, dialect: Dialect, narrator: Narrator) -> None:
        self.book = TurnBook()
        self.voice = bytearray()
        self._narrator = narrator
        self._call = Call(plan, dialect, self.book, self._tell)

    def _tell(self, happening: h.Happening, t: float) -> None:
        notices = self.book.note(happening, t)
        if isinstance(happening, h.ReplyAudio):
            self.voice += happening.pcm
        self._narrator.tell(happening, notices)

    def hold(self) -> bool:
        """Talk to the end; whether every turn was answered. Raises CallFailed if the server never listened."""
        failures = []
        try:
            asyncio.run(self._call.run())
        except CallFailed as error:
            if not self._call.began:
                raise
            failures.append(str(error))
        failures += self.book.failures(to_the_end=not self._call.said_enough)
        if not self.book.turns and not failures:
            failures.append("the server heard no turn in this file")
        self.book.errors += failures
        return not failures


@click.command()
@click.option(
    "--in", "source", required=True, type=click.Path(path_type=Path), help="What is said: any sound file."
)
@click.option("--out", type=click.Path(path_type=Path), help="Save the answer here (.wav, .flac, .ogg, …).")
@click.option("--url", default="ws://127.0.0.1:8000/v1/realtime", show_default=True, help="The server.")
@click.option(
    "--dialect",
    type=click.Choice(sorted(DIALECTS)),
    default="ga",
    show_default=True,
    help="The wire dialect.",
)
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(list(get_args(AudioFormat))),
    help="Of the audio, GA alone: µ-law and A-law are telephones'.  [default: pcm16]",
)
@click.option("--turns", type=click.IntRange(min=1), help="Stop after so many turns, not with the file.")
@click.option("--voice", help="Who answers; the server's default if not given.")
@click.option("--events", is_flag=True, help="One JSON line per event on stderr.")
@click.option(
    "--json", "as_json", is_flag=True, help="The figures of each turn as one JSON object on stdout."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
    help="Seconds after the file's end in which the last reply must end.",
)  # fmt: skip
@key_option
def talk(
    source: Path,
    out: Path | None,
    url: str,
    dialect: str,
    audio_format: str | None,
    turns: int | None,
    voice: str | None,
    events: bool,
    as_json: bool,
    timeout_s: float,
    api_key: str | None,
) -> None:
    """Speak a sound file to the server as if live, and hear the answer.

    Exits 0 if every turn was answered, 1 if one was not, 2 if there was no conversation.
    """
    try:
        _check_url(url)
        if out is not None:
            sound.check_writable(out)
        speaker = _dialect(dialect, voice, audio_format)
        url = with_extensions(url) if audio_format == "opus" else url
        plan = Plan(addressed(url, dialect, api_key), sound.load(source), turns, timeout_s, api_key)
        conversation = Conversation(plan, speaker, narrator(events=events, json=as_json))
        answered = conversation.hold()
    except AntiphonError as error:
        if as_json:
            _print_report(None, [], [str(error)])
        raise
    book = conversation.book
    if out is not None:
        answered &= _save(out, conversation)
    if as_json:
        _print_report(book.session, book.report(), book.errors)
    else:
        _print_figures(book)
    if not answered:
        sys.exit(UNANSWERED)


def _check_url(url: str) -> None:
    if urlsplit(url).scheme not in {"ws", "wss"} or not urlsplit(url).hostname:
        raise ConfigError(
            f"{url}: not the address of a WebSocket; it should look like ws://host:8000/v1/realtime"
        )


def _save(out: Path, conversation: Conversation) -> bool:
    """A disk that is full now must not cost the figures."""
    try:
        sound.save(out, bytes(conversation.voice))
    except ConfigError as error:
        conversation.book.errors.append(str(error))
        return False
    return True


def _dialect(name: str, voice: str | None, audio_format: str | None) -> Dialect:
    """Raises ConfigError."""
    module, client = DIALECTS[name]
    make = getattr(importlib.import_module(module), client)
    if audio_format is None:
        return cast(Dialect, make(voice))
    if name != "ga":
        raise ConfigError("--format: Unmute's dialect has Opus in Ogg alone")
    return cast(Dialect, make(voice, importlib.import_module("cli.ga_sound").GaSound(audio_format)))


def _print_report(session: str | None, turns: list[Report], errors: list[str]) -> None:
    click.echo(msgspec.json.encode({"session": session, "turns": turns, "errors": errors}))


def _print_figures(book: TurnBook) -> None:
    for number, turn in enumerate(book.report(), 1):
        figures = ", ".join(
            f"{label} {turn[name]:.0f} ms"
            for label, name in (("voice to voice", "voice_to_voice_ms"), ("end of turn", "end_of_turn_ms"))
            if isinstance(turn[name], float)
        )
        unknown = "the recording went on meanwhile" if turn["reply_audio_s"] else "no answer"
        click.echo(f"turn {number}: {figures or unknown}, {turn['reply_audio_s']} s of answer")
    for error in book.errors:
        click.echo(f"antiphon: {error}", err=True)
