"""The wire between the machines of a fleet: it carries packets from one TUN device to another, late, never, or at once.

    python -m bench.machines.wire LINKS

A kernel's netem would do the same where it is built in; this one is the same everywhere that has TUN devices. It is a
process of its own, ends with its stdin, and takes one JSON `Order` a line from there; each is answered by a line.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

#: <linux/if_tun.h>
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

#: <linux/sched.h>
CLONE_NEWNET = 0x40000000

#: Name of the device in every machine.
DEVICE = "wire0"

#: Where iproute2 keeps namespaces.
NAMESPACES = Path("/run/netns")

#: The largest packet of a TUN device.
PACKET_BYTES = 65_536

#: Packets read from one machine before the others are looked at.
READ_AT_ONCE = 64

#: Packets under way; beyond, the newest is dropped, as a switch does.
MOST_UNDER_WAY = 20_000


class Quality(msgspec.Struct, frozen=True):
    """What befalls packets that leave a machine. Their order is kept."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """The delay is as much more or less, evenly spread."""
    loss: float = 0.0
    """Share of the packets that never arrive."""


class Order(msgspec.Struct, frozen=True):
    """How the wire is from now on; None: as before."""

    quality: dict[str, Quality] | None = None
    """By machine; the others have none of it."""
    cut: list[tuple[str, str]] | None = None
    """Pairs of machines that do not reach each other, in neither direction; "*" is everyone."""


class Link(msgspec.Struct, frozen=True):
    """One machine on the wire."""

    name: str
    namespace: str
    address: str


class Counted(msgspec.Struct, frozen=True):
    """What the wire did since it was there."""

    carried: int
    lost: int
    """By chance, by a cut, or by a full queue."""
    cpu_s: float


def enter(namespace: str) -> None:
    """Moves this thread, and what it starts, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
    finally:
        os.close(descriptor)


def open_device(namespace: str) -> int:
    """A new TUN device in the namespace; it is there as long as the descriptor."""
    enter(namespace)
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Wire:
    """All links, and the packets under way."""

    def __init__(self, links: list[Link]) -> None:
        self._names = {open_device(link.namespace): link.name for link in links}
        self._at = {name: descriptor for descriptor, name in self._names.items()}
        self._of_address = {socket.inet_aton(link.address): link.name for link in links}
        self._quality: dict[str, Quality] = {}
        self._cut: set[tuple[str, str]] = set()
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._newest: dict[tuple[str, str], float] = {}
        self._carried = self._lost = 0
        self._sequence = itertools.count()
        self._random = random.Random(1)

    def serve(self) -> None:
        """Until stdin ends."""
        orders = sys.stdin.fileno()
        while True:
            wait_s = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            ready, _, _ = select.select([*self._names, orders], [], [], wait_s)
            for descriptor in ready:
                if descriptor != orders:
                    self._take(descriptor)
                elif not self._obey(sys.stdin.buffer.readline()):
                    return
            self._deliver()

    def _obey(self, line: bytes) -> bool:
        if not line:
            return False
        order = msgspec.json.decode(line, type=Order)
        if order.quality is not None:
            self._quality = order.quality
        if order.cut is not None:
            self._cut = {*order.cut, *((b, a) for a, b in order.cut)}
        counted = Counted(self._carried, self._lost, time.process_time())
        sys.stdout.buffer.write(msgspec.json.encode(counted) + b"\n")
        sys.stdout.buffer.flush()
        return True

    def _take(self, descriptor: int) -> None:
        """What a machine sends."""
        source = self._names[descriptor]
        with suppress(BlockingIOError):
            for _ in range(READ_AT_ONCE):
                packet = os.read(descriptor, PACKET_BYTES)
                if packet[0] >> 4 == 4:  # IPv6 says hello to nobody
                    self._send(source, self._of_address.get(packet[16:20]), packet)

    def _send(self, source: str, to: str | None, packet: bytes) -> None:
        quality = self._quality.get(source)
        if to is None or self._is_cut(source, to) or (quality and self._random.random() < quality.loss):
            self._lost += 1
        elif quality is None or not quality.delay_ms:
            self._write(self._at[to], packet)
        elif len(self._under_way) >= MOST_UNDER_WAY:
            self._lost += 1
        else:
            spread_ms = self._random.uniform(-quality.jitter_ms, quality.jitter_ms)
            due_s = time.monotonic() + max(0.0, quality.delay_ms + spread_ms) / 1e3
            due_s = self._newest[source, to] = max(due_s, self._newest.get((source, to), 0.0))
            heapq.heappush(self._under_way, (due_s, next(self._sequence), self._at[to], packet))

    def _is_cut(self, source: str, to: str) -> bool:
        return bool(self._cut) and not self._cut.isdisjoint(((source, to), (source, "*"), ("*", to)))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now_s:
            _, _, descriptor, packet = heapq.heappop(self._under_way)
            self._write(descriptor, packet)

    def _write(self, descriptor: int, packet: bytes) -> None:
        try:
            os.write(descriptor, packet)
        except OSError:  # the machine takes no more just now
            self._lost += 1
        else:
            self._carried += 1


def main() -> None:
    """Opens the devices, says so by an empty line, and serves."""
    with suppress(OSError):  # a wire is not late because the machines are busy
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    wire = Wire(msgspec.json.decode(sys.argv[1], type=list[Link]))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    with suppress(KeyboardInterrupt):
        wire.serve()


if __name__ == "__main__":
    main()
