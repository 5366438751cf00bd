"""The supervisor process: its configuration, its life, and what it says of its programs over its unix socket."""

import contextlib
import http.client
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from cli import leash, run_processes
from cli.data_dir import DataDir, write_private
from cli.programs import ROOT, Program
from config.errors import AntiphonError, ConfigError

#: A supervisor that does not answer for so long is stuck.
ANSWER_DEADLINE_S = 10.0

#: While it starts, while it ends, or when it hangs.
NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.Error)

#: All programs' patience together is less. What is left by then is for `kill`.
STOP_DEADLINE_S = 30.0

#: A program that dies younger than this is started again only after a pause, which grows.
YOUNG_S = 3

#: States in which a program is not there, against its will.
DOWN = ("BACKOFF", "EXITED", "FATAL")

HEAD = """\
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
nodaemon=true
silent=true
nocleanup=true
directory={root}
logfile={log}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={pid_file}
user={user}
"""

PROGRAM = """
[program:{name}]
command={command}
environment={environment}
autorestart=true
startsecs={young_s}
startretries=1000000
stopwaitsecs={stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""

GROUP = """
[group:{name}]
programs={programs}
priority={priority}
"""


@dataclass(frozen=True)
class Standing:
    """A program as the supervisor sees it."""

    pid: int
    """0: not running."""
    down: bool
    """It ended or could not start."""


class SupervisorFailed(AntiphonError):
    """The supervisor itself is not there."""

    code = "supervisor_failed"


def _quoted(value: object) -> str:
    """A value as the configuration file takes it. Raises ConfigError for what it cannot hold."""
    text = str(value)
    if wrong := re.search(r'[;#\n"]', text):
        raise ConfigError(f"{text!r} holds {wrong.group()!r}, which the supervisor's configuration cannot")
    return text.replace("%", "%%")


def configuration(data: DataDir, socket_path: Path, programs: Sequence[Program]) -> str:
    """The text of supervisord.conf. Groups of one rank are stopped together."""
    text = HEAD.format(
        socket=_quoted(socket_path),
        root=_quoted(ROOT),
        log=_quoted(data.log_file("supervisord")),
        pid_file=_quoted(data.pid_file("supervisord")),
        user=pwd.getpwuid(os.getuid()).pw_name,
    )
    for program in programs:
        leashed = _leashed(program.death_signal, data.pid_file(program.name), program.command)
        text += PROGRAM.format(
            name=program.name,
            command=_quoted(shlex.join(leashed)),
            environment=",".join(f'{name}="{_quoted(value)}"' for name, value in program.environment.items()),
            young_s=YOUNG_S,
            stop_wait_s=program.stop_wait_s,
            log=_quoted(data.log_file(program.name)),
        )
    by_rank = sorted(programs, key=lambda program: program.rank)
    for rank, members in groupby(by_rank, key=lambda program: program.rank):
        names = ",".join(member.name for member in members)
        text += GROUP.format(name=rank.name.lower(), programs=names, priority=int(rank))
    return text


def _leashed(death_signal: str, pid_file: Path, command: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-S", leash.__file__, death_signal, str(pid_file), *command]


class Supervisord:
    """Runs from its construction until `stop` or `kill`."""

    def __init__(self, data: DataDir, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        self._data = data
        socket_path = data.socket_path()
        conf = data.run / "supervisord.conf"
        write_private(conf, configuration(data, socket_path, programs))
        self._said = data.log_file("supervisord.start")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
        with self._said.open("wb") as said:
            # In a session of its own: Ctrl-C is for `up`, which stops things in order
            self._process = subprocess.Popen(
                _leashed("SIGTERM", data.pid_file("supervisord"), command),
                env={**environment, run_processes.MARK: data.run_id, leash.HOLDER: str(os.getpid())},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, cwd=ROOT,
            )  # fmt: skip
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(socket_path))
        self._rpc: Any = proxy.supervisor

    def standings(self) -> dict[str, Standing]:
        """How each program stands, by name; empty while the supervisor starts. Raises SupervisorFailed."""
        try:
            infos = self._rpc.getAllProcessInfo()
        except TimeoutError:
            raise SupervisorFailed("the supervisor does not answer") from None
        except NO_ANSWER:
            if (status := self._process.poll()) is not None:
                raise SupervisorFailed(
                    f"the supervisor ended ({_ending(status)}){self._last_words()}"
                ) from None
            return {}
        return {info["name"]: Standing(info["pid"], info["statename"] in DOWN) for info in infos}

    def how_died(self, name: str) -> str:
        """The latest ending of a program, such as `terminated by SIGKILL`."""
        try:
            log = self._rpc.readLog(-65_536, 0)
        except NO_ANSWER:
            return "reason unknown"
        endings = re.findall(rf"exited: {re.escape(name)} \(([^;)]+)", log)
        return endings[-1] if endings else "it could not be started"

    def hang_up(self, name: str) -> None:
        """SIGHUP to a program, if it runs."""
        with contextlib.suppress(*NO_ANSWER):
            (group,) = {info["group"] for info in self._rpc.getAllProcessInfo() if info["name"] == name}
            self._rpc.signalProcess(f"{group}:{name}", "HUP")

    def stop(self) -> None:
        """Web, workers, Redis, each rank when the one before is gone. Programs that hang are killed in the end."""
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        self._process.send_signal(signal.SIGTERM)
        while self._process.poll() is None and time.monotonic() < deadline_s:
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                # Any request makes it look round; by itself it may take a second between two ranks
                with contextlib.suppress(*NO_ANSWER):
                    self._rpc.getState()

    def kill(self) -> bool:
        """Everything of this run, at once. Whether nothing is left."""
        gone = run_processes.kill(self._data.run_id)
        self._process.poll()
        return gone

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        return f": {said[-1].strip()}" if said else ""


def _ending(status: int) -> str:
    return f"terminated by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_DEADLINE_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._kept: _UnixConnection | None = None

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        if self._kept is None:
            self._kept = _UnixConnection(self._path)
        return self._kept

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None
