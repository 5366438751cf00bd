"""`antiphon loadtest`: simulated talkers against a server, a table, a verdict, and the most sessions it holds."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import click
import msgspec

from cli.credentials import addressed, key_option
from cli.loadtest import html, sounds
from cli.loadtest import report as reports
from cli.loadtest import server_metrics as metrics
from cli.loadtest.capacity import Search
from cli.loadtest.generator import RAMP_PER_SESSION_S, Order
from cli.loadtest.progress import Progress
from cli.loadtest.report import Report
from cli.loadtest.runner import Wish, find_capacity, probe, run
from cli.loadtest.targets import Targets
from config.errors import ConfigError
from config.messages import AudioFormat

#: A target was missed. (2: it could not be found out.)
MISSED, UNKNOWN = 1, 2

#: Of each step of a search, before anything counts: caches fill, voices are cast.
WARM_UP_S = 3.0


# --- the command line


def _url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Raises ConfigError."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            f"{value}: not the address of a WebSocket; it should look like ws://host:8000/v1/realtime"
        )
    return value


def _writable(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Before minutes are spent on what cannot be saved. Raises ConfigError."""
    if value is None:
        return None
    why = None
    if value.is_dir():
        why = "a directory"
    elif not value.parent.is_dir():
        why = "no such directory"
    elif not os.access(value if value.exists() else value.parent, os.W_OK):
        why = "permission denied"
    if why is not None:
        raise ConfigError(f"{value}: cannot be written: {why}")
    return value


def _save(file: Path, content: bytes) -> None:
    """Raises ConfigError."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


Options = Callable[[Callable[..., None]], Callable[..., None]]

POSITIVE = click.FloatRange(min=0, min_open=True)


def _targets(command: Callable[..., None]) -> Callable[..., None]:
    """One option for each target."""
    for name, kind, what in reversed(
        (
            ("stt-ms", POSITIVE, "STT: end of turn to final transcript, p95."),
            ("llm-ms", POSITIVE, "LLM: transcript to first text, p95."),
            ("tts-ms", POSITIVE, "TTS start: first text to first audio, p95."),
            ("ping-ms", POSITIVE, "WebSocket ping, p95."),
            ("realtime-factor", POSITIVE, "Audio received per second, of 95 % of replies."),
            ("voice-to-voice-ms", POSITIVE, "End of the voice to first audio, p95; not judged unless given."),
            ("late-replies", click.IntRange(min=0), "Replies that stalled a player."),
            ("failures", click.IntRange(min=0), "Of any kind."),
        )
    ):
        field = name.replace("-", "_")
        default = getattr(Targets(), field)
        command = click.option(
            f"--target-{name}", f"target_{field}", type=kind, default=default, show_default=default is not None,
            help=f"Target: {what}",
        )(command)  # fmt: skip
    return command


@click.command()
@click.argument("address", required=False, callback=_url, metavar="[URL]")
@click.option("--url", callback=_url, help="The same as URL.  [default: ws://127.0.0.1:8000/v1/realtime]")
@click.option(
    "--sessions",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Talkers at once; where a search begins.",
)
@click.option(
    "--ramp",
    "ramp_s",
    type=click.FloatRange(min=0),
    help="Seconds until all have begun.  [default: 0.05 for each]",
)
@click.option(
    "--conversations",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of each talker, one after the other.",
)
@click.option(
    "--turns", type=click.IntRange(min=1), default=3, show_default=True, help="Of each conversation."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=5),
    help="Talk so long instead; of each step of a search.  [default there: 30]",
)
@click.option(
    "--dialect",
    type=click.Choice(["ga", "unmute"]),
    default="ga",
    show_default=True,
    help="The wire dialect.",
)
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(list(get_args(AudioFormat))),
    help="Of the audio, GA alone.  [default: pcm16]",
)
@click.option(
    "--speech",
    help="What is said: a folder of sound files, 'piper' or 'hum'.  [default: piper, if it is installed]",
)
@click.option(
    "--packet-ms",
    type=click.Choice(["20", "40", "80", "100"]),
    default="80",
    show_default=True,
    help="Length of the packets that talkers send.",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), help="Of the generator.  [default: one for 64 sessions]"
)
@click.option(
    "--metrics",
    "metrics_urls",
    multiple=True,
    help="Pages of the server's metrics, web and workers.  [default: the web's /metrics]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    callback=_writable,
    help="All figures and turns, as JSON.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    callback=_writable,
    help="A report with plots: one file that needs no network.",
)
@click.option(
    "--find-capacity", "search", is_flag=True, help="Search for the most sessions that hold the targets."
)
@click.option(
    "--max-sessions",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="A search tries no more.",
)
@key_option
@_targets
def loadtest(
    address: str | None,
    url: str | None,
    sessions: int,
    ramp_s: float | None,
    conversations: int,
    turns: int,
    seconds: float | None,
    dialect: str,
    audio_format: AudioFormat | None,
    speech: str | None,
    packet_ms: str,
    processes: int | None,
    metrics_urls: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    search: bool,
    max_sessions: int,
    api_key: str | None,
    **targets: float,
) -> None:
    """Simulate people who talk to a server, and judge it.

    Exits 0 if all targets were held, 1 if one was missed, 2 if that could not be found out.
    """
    if address and url:
        raise click.UsageError("give the URL once")
    if audio_format and dialect != "ga":
        raise click.UsageError("--format: Unmute's dialect has Opus in Ogg alone")
    form = audio_format or "pcm16"
    asked = addressed(address or url or "ws://127.0.0.1:8000/v1/realtime", dialect, api_key)
    chosen = None if speech in (None, "piper") else sounds.choose(speech)
    probe(asked, dialect, api_key, form)
    source, clips = chosen or sounds.choose(speech)  # it takes seconds to make speech
    source = f"{source}, in {audio_format}" if audio_format else source
    said = sounds.speech(source, clips, dialect, int(packet_ms), form)
    order = Order(
        url=asked, dialect=dialect, speech=said, sessions=sessions,
        ramp_s=RAMP_PER_SESSION_S * sessions if ramp_s is None else ramp_s, conversations=conversations,
        turns=turns, processes=processes, api_key=api_key,
    )  # fmt: skip
    if search or seconds is not None:
        order = replace(
            order,
            seconds=seconds or 30.0,
            conversations=None,
            turns=None,
            warm_up_s=WARM_UP_S,
            counts_ramp=False,
        )
    pages = _pages(metrics_urls) or tuple(metrics.default_urls(asked))
    judged = Targets(**{name.removeprefix("target_"): value for name, value in targets.items()})  # type: ignore[arg-type]
    wish = Wish(order, judged, pages, Progress())
    _tell(wish, Search(sessions, max_sessions) if search else None, json_file, html_file)


def _pages(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Pages of metrics that somebody named must be there. Raises ConfigError."""
    for url in asked:
        if not metrics.pages([url]):
            raise ConfigError(f"--metrics {url}: no page of metrics there")
    return asked


def _tell(wish: Wish, search: Search | None, json_file: Path | None, html_file: Path | None) -> None:
    """Runs, tells, and ends the program with its status."""
    steps = [run(wish)] if search is None else find_capacity(wish, search)
    shown = _shown(steps, search)
    click.echo(reports.text(shown))
    answer = None if search is None else search.answer() + _broke(steps, search)
    if answer is not None:
        click.echo(f"\ncapacity: {answer}")
    if json_file is not None:
        told = reports.data(shown) | {"capacity": answer, "steps": [reports.step(one) for one in steps]}
        _save(json_file, msgspec.json.format(msgspec.json.encode(told)))
    if html_file is not None:
        _save(html_file, html.page(shown, steps, answer).encode())
    sys.exit(_status(shown) if search is None else _status_of(search))


def _status(told: Report) -> int:
    """Of one run. Nothing was missed by a target whose figure an interrupted run never measured."""
    if not told.valid or (told.missed == [] and told.unknown):
        return UNKNOWN
    return MISSED if told.missed else 0


def _status_of(search: Search) -> int:
    if search.interrupted:
        return UNKNOWN
    return 0 if search.best else UNKNOWN if search.saturated_at else MISSED


def _broke(steps: list[Report], search: Search) -> str:
    """Which targets the lowest number that was too many missed."""
    missed = [one.judged.missed for one in steps if one.sessions == search.too_many and not one.judged.held]
    return f" ({', '.join(missed[-1])})" if missed else ""


def _shown(steps: list[Report], search: Search | None) -> Report:
    """Of a search, the last run of the answer."""
    best = [one for one in steps if search is not None and one.sessions == search.best]
    return best[-1] if best else steps[-1]
