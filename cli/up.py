"""`antiphon up`: starts everything on this machine, keeps it running, and stops it together."""

import errno
import ipaddress
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from cli import certificate, gpu_plan, keys, metrics_ports, programs, redis_servers, run_processes
from cli.data_dir import DataDir, held
from cli.gpu_plan import Plan
from cli.overseer import Asked, Overseer
from cli.probe import Address, Probe
from cli.programs import Place, Program
from cli.servers import url_option
from config import voices
from config.auth import AuthSettings
from config.errors import ConfigError
from config.redis_keys import STAGES
from config.settings import Settings, load

#: Stopped before it was ready, or told twice.
INTERRUPTED = 130

#: What a killed run leaves ends by itself: the web within its 5 s of goodbye, all else sooner.
LEFTOVER_PATIENCE_S = 7.0

#: Connections of many thousand sessions; most systems start programs with 1024.
OPEN_FILES = 65_536

#: Processes of one stage beyond which it is surely a slip.
MOST_WORKERS = 64


def _counts(_ctx: click.Context, _param: click.Parameter, value: str) -> dict[str, int]:
    """`tts=2,stt=1`. Raises BadParameter."""
    counts: dict[str, int] = {}
    for part in filter(None, value.split(",")):
        stage, _, number = (piece.strip() for piece in part.partition("="))
        if stage not in STAGES:
            raise click.BadParameter(f"{part!r}: no such stage; there are {', '.join(STAGES)}")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MOST_WORKERS:
            raise click.BadParameter(f"{part!r}: give a number from 1 to {MOST_WORKERS}, such as {stage}=2")
        if stage in counts:
            raise click.BadParameter(f"{stage} is named twice")
        counts[stage] = int(number)
    return counts


@click.command()
@click.option("--profile", help="The engines: embedded, gpu, null, or another file of config/profiles.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@click.option(
    "--data-dir",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Holds state, logs and pid files.",
)
@click.option(
    "--workers",
    default="",
    callback=_counts,
    metavar="tts=2,…",
    help="Processes of a stage; one each if not given.",
)
@click.option(
    "--gpu",
    "wanted",
    callback=gpu_plan.gpus_option,
    metavar="0 | 0,1,2 | stt=0,…",
    help="The GPU of all stages, of each, or of some; checked for room before anything starts.",
)
@click.option(
    "--redis-url",
    callback=url_option,
    envvar="ANTIPHON_REDIS_URL",
    show_envvar=True,
    help="A state server that runs already; else one is started.",
)
@click.option(
    "--media-url",
    callback=url_option,
    envvar="ANTIPHON_MEDIA_URL",
    show_envvar=True,
    help="A media server that runs already; else one is started.",
)
@click.option("--tls-self-signed", is_flag=True, help="Serve https and wss, by a certificate made here.")  # fmt: skip
def up(
    profile: str | None,
    host: str,
    port: int,
    data_dir: Path,
    workers: dict[str, int],
    wanted: gpu_plan.Wanted | None,
    redis_url: str | None,
    media_url: str | None,
    tls_self_signed: bool,
) -> None:
    """Start everything on this machine: Redis, the web server and a worker for each stage.

    Ctrl-C stops all of it in order, a second one at once. What dies after it was ready is started again. SIGHUP reads
    voices.yaml again; sessions that run keep their characters.
    """
    settings = load(profile)
    voices.load(settings.voices_file)
    address = Address(host, port, tls_self_signed)
    with _signals() as asked, held(data_dir) as data:
        settings = _with_keys(settings, data)
        _end_run_before(data)
        _check_free(address)
        _raise_open_files()
        plan = _plan(settings, wanted, workers)
        run, urls = _programs(settings, data, address, (workers, plan.places), (redis_url, media_url))
        probe = Probe(run, urls, address)
        _check_given(probe, {"state": redis_url, "media": media_url})
        engines = ", ".join(f"{stage} ({settings.stage(stage).engine})" for stage in STAGES)
        _say(f"starting {engines}; data and logs in {data.root}")
        overseer = Overseer(
            data,
            list(run.values()),
            programs.environment(settings, *urls),
            probe,
            asked,
            lambda: voices.load(settings.voices_file),
            _say,
        )
        sys.exit(_oversee(overseer, address, settings.auth))


def _with_keys(settings: Settings, data: DataDir) -> Settings:
    """With a file of API keys, if an empty one: who adds the first need start nothing again. Raises ConfigError, also
    for a file that was named and is not there."""
    if settings.auth.keys_file is not None:
        keys.read(settings.auth.keys_file)
        return settings
    file = keys.prepared(data.root / keys.FILE)
    return settings.model_copy(update={"auth": settings.auth.model_copy(update={"keys_file": file})})


def _plan(settings: Settings, wanted: gpu_plan.Wanted | None, counts: Mapping[str, int]) -> Plan:
    """Where workers run, told to the operator. Raises ConfigError before anything is started."""
    if wanted is None:
        return Plan()
    plan = gpu_plan.plan(settings, wanted, counts, gpu_plan.environment_of(settings))
    for line in plan.table:
        _say(line)
    return plan


def _oversee(overseer: Overseer, address: Address, auth: AuthSettings) -> int:
    """The exit status."""
    try:
        took_s = overseer.wait_until_ready()
        if took_s is None:
            return INTERRUPTED
        _say(f"ready after {took_s:.1f} s: {address.url()}")
        _explain(address)
        _tell_who_is_let_in(address, auth)
        overseer.watch()
        _say("stopping: web, workers, Redis (again Ctrl-C: at once)")
        overseer.stop()
        _say("stopped")
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        overseer.close()


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def _explain(address: Address) -> None:
    """Browsers give a page the microphone only over https, or from localhost."""
    if _loopback(address.host):
        return
    elsewhere = address.url(socket.gethostname() if address.near != address.host else None)
    if address.tls:
        _say(
            f"from other machines: {elsewhere} (the browser warns of the self-signed certificate: accept it once)"
        )
    else:
        _say(
            f"from other machines: {elsewhere}, but browsers allow microphones only over https or from localhost:"
        )
        _say("  start with --tls-self-signed, or put a proxy with a certificate in front")


def _tell_who_is_let_in(address: Address, auth: AuthSettings) -> None:
    """Of a server that others can reach, for they would wonder."""
    if _loopback(address.host) or keys.any_in(auth):
        return
    if auth.open:
        _say("there are no API keys, and auth.open is set: whoever can reach this server can use it")
    else:
        _say("there are no API keys, so only this machine is let in, as localhost:")
        _say(
            f"  antiphon keys new NAME --file {auth.keys_file} makes one; ANTIPHON_AUTH__OPEN=true lets all in"
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _signals() -> Iterator[Asked]:
    """The first signal asks to stop; the second raises KeyboardInterrupt, wherever we are.

    SIGHUP asks to reload, unless it tells that our terminal is gone.
    """
    asked = Asked(threading.Event(), threading.Event())
    had_terminal = _terminal()

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and _terminal() == had_terminal:
            asked.to_reload.set()
            return
        if asked.to_stop.is_set():
            raise KeyboardInterrupt
        asked.to_stop.set()

    before = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminal() -> bool:
    """Whether we have one, and it is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end_run_before(data: DataDir) -> None:
    """After a kill -9 of `up` its programs stop by themselves; we wait, and see to it."""
    if not data.run_before or not run_processes.of_run(data.run_before):
        return
    _say("waiting for the processes of a killed run to end")
    if not run_processes.outlast(data.run_before, LEFTOVER_PATIENCE_S) and not run_processes.kill(
        data.run_before
    ):
        raise ConfigError(f"processes of a run before on {data.root} do not end, even by SIGKILL")


def _check_free(address: Address) -> None:
    """Raises ConfigError where the web could not listen: before anything is started, for a clear reason."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        raise ConfigError(f"--host {address.host}: no such address") from None
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = f"port {address.port} of {address.host} is in use; choose another with --port"
            else:
                reason = f"cannot listen on {address.bind}: {error.strerror}"
            raise ConfigError(reason) from None


def _raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _programs(
    settings: Settings,
    data: DataDir,
    address: Address,
    workers: tuple[Mapping[str, int], Mapping[str, Place]],
    given: tuple[str | None, str | None],
) -> tuple[dict[str, Program], tuple[str, str]]:
    """All programs by name, and the URLs of the state and media servers. workers: how many of each stage, and where."""
    found, urls = [], []
    for name, url in zip(("state", "media"), given, strict=True):
        if url is not None:
            urls.append(url)
            continue
        server = redis_servers.prepare(name, data)
        found.append(programs.redis(server))
        urls.append(server.url)
    tls = certificate.self_signed(data.tls, address.host) if address.tls else None
    found.append(programs.web(address.bind, tls))
    names = list(programs.serving(settings, workers[0]))
    first = metrics_ports.first_of_row(settings.metrics_port, settings.metrics_host, len(names), address.port)
    found += programs.workers(settings, workers[0], data.run_id, workers[1], first)
    _say(metrics_ports.told(f"{address.url()}/metrics", names, settings.metrics_host, first))
    return {program.name: program for program in found}, (urls[0], urls[1])


def _check_given(probe: Probe, given: Mapping[str, str | None]) -> None:
    """Raises ConfigError for a given server that does not answer. Its URL may hold a password: it is not shown."""
    options = {"state": "--redis-url", "media": "--media-url"}
    for name in probe.unreachable():
        if given[name] is not None:
            raise ConfigError(f"no Redis server answers at {options[name]} (or it refuses our password)")
