"""Machines as Linux knows them: network and UTS namespaces on one wire, with nothing of the host's network in them.

Namespaces carry the process that made them in their names, so that those of a killed one are found and removed.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from bench.machine import ROOT
from bench.machines.wire import DEVICE, NAMESPACES, Counted, Link, Order, Quality, enter
from bench.server import BenchFailed
from cli import leash

T = TypeVar("T")

#: Of our namespaces: `antiphon-PID-MACHINE`.
PREFIX = "antiphon"

#: All machines are on one network, which nobody outside them sees.
NETWORK, BITS = "10.77.0.", 24

#: Answers of the wire, and commands of iproute2, take milliseconds; this is for a machine under load.
DEADLINE_S = 20.0

#: Every packet between these and everybody else is dropped.
EVERYONE = "*"


def lacks() -> str | None:
    """What this machine needs for it and has not; None: nothing."""
    if not sys.platform.startswith("linux"):
        return "Linux"
    if os.geteuid():
        return "root, to make network namespaces"
    if shutil.which("ip") is None:
        return "iproute2"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun"
    probe = subprocess.run(["unshare", "--net", "--uts", "true"], check=False, capture_output=True, text=True)
    return f"network namespaces ({probe.stderr.strip()})" if probe.returncode else None


def remove_leftovers() -> None:
    """Namespaces of processes that are not there any more, and what still runs in them."""
    for path in NAMESPACES.glob(f"{PREFIX}-*-*"):
        _, pid, _ = path.name.split("-", 2)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            _remove(path.name)


def _remove(namespace: str) -> None:
    for pid in _ip("netns", "pids", namespace).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _ip("netns", "del", namespace)


def _ip(*arguments: str) -> str:
    """Raises BenchFailed."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode:
        raise BenchFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Layout:
    """Machines by name, and the wire between them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.links = {
            name: Link(name, f"{PREFIX}-{os.getpid()}-{name}", f"{NETWORK}{number}")
            for number, name in enumerate(names, 1)
        }
        self._wire: subprocess.Popen[bytes] | None = None
        self._cuts: set[tuple[str, str]] = set()
        namespace = next(iter(self.links.values())).namespace
        # the leash of a process is held by the thread that started it: this one is there as long as all of them
        self._starter = ThreadPoolExecutor(1, "starter")
        self._there = ThreadPoolExecutor(1, "on the first machine", enter, (namespace,))

    def address(self, machine: str) -> str:
        """Of the one machine, as all others know it."""
        return self.links[machine].address

    def up(self) -> None:
        """Makes everything. Raises BenchFailed."""
        remove_leftovers()
        for link in self.links.values():
            _ip("netns", "add", link.namespace)
        links = msgspec.json.encode(list(self.links.values())).decode()
        self._wire = subprocess.Popen(
            [sys.executable, "-m", "bench.machines.wire", links],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()
        for link in self.links.values():
            at = ("-n", link.namespace)
            _ip(*at, "addr", "add", f"{link.address}/{BITS}", "dev", DEVICE)
            _ip(*at, "link", "set", DEVICE, "up")
            _ip(*at, "link", "set", "lo", "up")

    def down(self) -> None:
        """Removes everything, whatever is there of it."""
        self._there.shutdown()
        self._starter.shutdown()
        for link in self.links.values():
            with suppress(BenchFailed):
                _remove(link.namespace)
        if self._wire is not None:
            self._wire.kill()
            self._wire.communicate()

    # --- what happens to the wire

    def worsen(self, quality: Quality, machines: Sequence[str]) -> None:
        """Packets that leave these machines are so from now on, those of all others undisturbed."""
        self._say(Order(quality=dict.fromkeys(machines, quality)))

    def cut(self, one: str, other: str = EVERYONE) -> None:
        """Nothing passes between them any more, and nobody is told."""
        self._cuts.add((one, other))
        self._say(Order(cut=sorted(self._cuts)))

    def mend(self) -> None:
        """All cuts are over."""
        self._cuts.clear()
        self._say(Order(cut=[]))

    def count(self) -> Counted:
        """What the wire did so far."""
        return self._say(Order())

    def _say(self, order: Order) -> Counted:
        assert self._wire is not None and self._wire.stdin is not None
        self._wire.stdin.write(msgspec.json.encode(order) + b"\n")
        self._wire.stdin.flush()
        return msgspec.json.decode(self._answer(), type=Counted)

    def _answer(self) -> bytes:
        assert self._wire is not None and self._wire.stdout is not None
        line = self._wire.stdout.readline()
        if not line:
            raise BenchFailed("the wire between the machines broke: see stderr")
        return line

    # --- what runs on the machines

    def start(
        self, machine: str, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """A process on a machine, whose host name is the machine's; it does not outlive us."""
        inside = ["ip", "netns", "exec", self.links[machine].namespace, "unshare", "--uts"]
        named = ["sh", "-c", 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"', machine]
        leashed = [sys.executable, "-I", "-S", leash.__file__, "SIGKILL", str(log.with_suffix(".pid"))]
        with log.open("ab") as out:
            return self._starter.submit(
                subprocess.Popen[bytes],
                [*inside, *named, *leashed, *command],
                cwd=ROOT,
                env={**env, leash.HOLDER: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            ).result()

    def inside(self, what: Callable[[], T]) -> T:
        """Runs a function on the first machine, always in the same thread; its sockets and threads are there, too."""
        return self._there.submit(what).result()


@contextmanager
def laid_out(names: Sequence[str]) -> Iterator[Layout]:
    """Machines, as long as the context lasts. Raises BenchFailed."""
    layout = Layout(names)
    try:
        layout.up()
        yield layout
    finally:
        layout.down()
