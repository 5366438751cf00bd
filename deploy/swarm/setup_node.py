#!/usr/bin/env python3
"""Makes a machine fit for a node of Antiphon's swarm: mends what it may, says what is left. Run it again freely.

It changes files under /etc/docker, /etc/nvidia-container-runtime, /etc/sysctl.d and /etc/tmpfiles.d, firewall rules
where --peers is given, and labels of this node where it is a manager. It installs nothing and joins no swarm.
Python 3.9, no packages.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

#: The first Docker Engine with `start_interval` in health checks, which the stack uses.
DOCKER_AT_LEAST = (25, 0)

#: What a node can be for; stack.yml places services by these labels.
LABELS = ("state", "edge", "monitor", "gpu")

#: Redis wants fork to succeed whatever is free; listening sockets keep a burst of clients; quiet connections of the
#: overlay are forgotten after 900 s, so they must be heard of before.
SYSCTLS = {
    "vm.overcommit_memory": "1",
    "net.core.somaxconn": "4096",
    "net.ipv4.tcp_keepalive_time": "300",
}

#: Huge pages that nobody asked for make Redis slow when it writes its file. Written at each boot, and now.
HUGE_PAGES = "w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n"

#: Between the nodes of a swarm, and not for anybody else. ESP carries the encrypted overlays.
PORTS = (("2377", "tcp"), ("7946", "tcp"), ("7946", "udp"), ("4789", "udp"), (None, "esp"))

HEAD = "# Written by Antiphon's setup_node.py.\n"

#: `docker info` and the like answer at once or never.
PATIENCE_S = 60


class Node:
    """This machine, or a tree of files that stands for one; and whether it may be changed."""

    def __init__(self, root: Path, dry_run: bool) -> None:
        self._root = root
        self._dry_run = dry_run
        self.changed = False
        self.faults = 0

    def say(self, state: str, what: str) -> None:
        print(f"{state:<8} {what}")

    def fault(self, what: str) -> None:
        """What only a person can mend."""
        self.faults += 1
        self.say("MEND", what)

    def path(self, name: str) -> Path:
        return self._root / name.lstrip("/")

    def read(self, name: str) -> str:
        path = self.path(name)
        return path.read_text() if path.is_file() else ""

    def write(self, name: str, text: str, why: str) -> bool:
        """Whether it was otherwise before."""
        if self.read(name) == text:
            self.say("ok", f"{name}: {why}")
            return False
        self.changed = True
        self.say("would" if self._dry_run else "did", f"write {name}: {why}")
        if not self._dry_run:
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.with_name(f"{path.name}.before-antiphon")
            if path.is_file() and not kept.exists():
                shutil.copy2(path, kept)
            path.write_text(text)
        return True

    def ask(self, *command: str) -> str | None:
        """What a program says; None if it is not there or fails."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def do(self, *command: str) -> None:
        """Runs a program that changes something."""
        self.changed = True
        self.say("would" if self._dry_run else "did", " ".join(command))
        if not self._dry_run and self.ask(*command) is None:
            self.fault(f"that failed: {' '.join(command)}")


def gpus(node: Node) -> list[str]:
    """UUIDs of the GPUs; of a GPU that is cut into MIG slices, those of the slices."""
    listed = node.ask("nvidia-smi", "-L") or ""
    found, slices = [], re.findall(r"^\s+MIG .*\(UUID: (MIG-[^)]+)\)", listed, re.MULTILINE)
    blocks = re.split(r"^(?=GPU \d+:)", listed, flags=re.MULTILINE)
    for block in blocks:
        whole = re.search(r"\(UUID: (GPU-[^)]+)\)", block)
        inside = [uuid for uuid in slices if uuid in block]
        found += inside or ([whole[1]] if whole else [])
    return found


def check_docker(node: Node) -> None:
    """Whether the engine is there and new enough."""
    version = node.ask("docker", "version", "--format", "{{.Server.Version}}")
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers is None:
        node.fault("no Docker Engine answers: install it, or start it")
    elif tuple(map(int, numbers.groups())) < DOCKER_AT_LEAST:
        node.fault(f"Docker Engine {version} is too old: {'.'.join(map(str, DOCKER_AT_LEAST))} or later")
    else:
        node.say("ok", f"Docker Engine {version}")


def check_gpus(node: Node, found: list[str]) -> list[str]:
    """Those that containers can be shown; the runtime is told to heed Swarm's choice. Without that runtime no container
    of a Docker that has it for its default would start."""
    if not found:
        node.say("ok", "no NVIDIA GPU")
        return []
    node.say("ok", f"{len(found)} GPUs: {', '.join(found)}")
    if shutil.which("nvidia-container-runtime") is None:
        node.fault(
            "nvidia-container-runtime is missing: install the NVIDIA Container Toolkit, run this again"
        )
        return []
    name = "/etc/nvidia-container-runtime/config.toml"
    text = node.read(name)
    if not re.search(r"^swarm-resource\s*=", text, re.MULTILINE):
        line = 'swarm-resource = "DOCKER_RESOURCE_GPU"\n'
        text, count = re.subn(r"^#\s*swarm-resource\s*=.*\n", line, text, count=1, flags=re.MULTILINE)
        text = text if count else line + text  # before the first table
    node.write(name, text, "a container sees the GPUs that Swarm gave it")
    return found


def set_daemon(node: Node, found: list[str], seats: int) -> bool:
    """Merges what we need into daemon.json; the rest of it stays. Whether Docker must be started again."""
    name = "/etc/docker/daemon.json"
    try:
        daemon = json.loads(node.read(name) or "{}")
    except json.JSONDecodeError as error:
        node.fault(f"{name} is no JSON (line {error.lineno}): mend it first")
        return False
    if daemon.get("live-restore"):
        node.fault(f"{name} has live-restore, with which Docker joins no swarm: take it out")
    if daemon.get("log-driver", "json-file") in ("json-file", "local"):  # with others Docker would not start
        daemon.setdefault("log-opts", {"max-size": "10m", "max-file": "5"})
    ours = ("gpu", "gpu-seat")
    named = daemon.get("node-generic-resources", [])
    others = [entry for entry in named if entry.partition("=")[0].lower() not in ours]
    mine = [f"gpu-seat={seats}"] if found and seats else [f"gpu={uuid}" for uuid in found]
    if mine or others:
        daemon["node-generic-resources"] = others + mine
    else:
        daemon.pop("node-generic-resources", None)
    if found:
        daemon["default-runtime"] = "nvidia"
        daemon.setdefault("runtimes", {}).setdefault(
            "nvidia", {"path": "nvidia-container-runtime", "args": []}
        )
    told = ", ".join(mine) or "no GPU"
    return node.write(
        name, json.dumps(daemon, indent=2) + "\n", f"log sizes, and what the swarm may give: {told}"
    )


def set_kernel(node: Node) -> None:
    """Kernel settings, now and at each boot."""
    text = HEAD + "".join(f"{name} = {value}\n" for name, value in SYSCTLS.items())
    if node.write("/etc/sysctl.d/60-antiphon.conf", text, "memory of Redis, bursts of connections"):
        node.do("sysctl", "--quiet", "--load", "/etc/sysctl.d/60-antiphon.conf")
    if node.write("/etc/tmpfiles.d/antiphon.conf", HEAD + HUGE_PAGES, "no huge pages unasked"):
        node.do("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/antiphon.conf")


def open_ports(node: Node, peers: list[str]) -> None:
    """Lets the other nodes in, where a firewall is at work; else says what it would have to let in."""
    named = ", ".join(f"{port}/{protocol}" if port else protocol for port, protocol in PORTS)
    status = node.ask("ufw", "status") or ""
    if "Status: active" not in status:
        node.say("note", f"no ufw is active; another firewall must let the nodes reach each other on {named}")
    elif not peers:
        node.fault(f"ufw is active: give --peers NETWORK, the network of the nodes, to open {named} to it")
    for peer in peers if "Status: active" in status else []:
        for port, protocol in PORTS:
            if any(peer in line and (port or protocol) in line for line in status.splitlines()):
                continue
            where = ["to", "any", "port", port] if port else ["to", "any"]
            node.do("ufw", "allow", "from", peer, *where, "proto", protocol)


def check_clock(node: Node) -> None:
    """Nothing compares the clocks of two machines; logs, certificates and traces go by them."""
    synchronised = node.ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if synchronised == "yes":
        node.say("ok", "the clock is kept by NTP")
    else:
        node.fault("the clock is not known to be kept by NTP: timedatectl set-ntp true, or install chrony")


def set_labels(node: Node, labels: list[str]) -> None:
    """Says what this node is for; only a manager can."""
    if not labels:
        return
    arguments = [part for label in labels for part in ("--label-add", f"antiphon.{label}=true")]
    swarm = json.loads(node.ask("docker", "info", "--format", "{{json .Swarm}}") or "{}")
    identity, manages = swarm.get("NodeID") or "NODE", swarm.get("ControlAvailable")
    command = ["docker", "node", "update", *arguments, identity]
    if swarm.get("LocalNodeState") != "active":
        node.say("note", f"this machine is in no swarm yet; afterwards, on a manager: {' '.join(command)}")
    elif not manages:
        node.say("note", f"on a manager: {' '.join(command)}")
    else:
        told = node.ask("docker", "node", "inspect", identity, "--format", "{{json .Spec.Labels}}")
        said = json.loads(told or "{}")
        if all(said.get(f"antiphon.{label}") == "true" for label in labels):
            node.say("ok", f"labels: {', '.join(labels)}")
        else:
            node.do(*command)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 all is well, 1 something is left for you (the lines that begin with MEND).",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--label", action="append", default=[], metavar="NAME", choices=LABELS,
                        help=f"what this node is for: {', '.join(LABELS)}; may be given several times")  # fmt: skip
    parser.add_argument("--gpu-seats", type=int, default=0, metavar="N",
                        help="let N workers share the node's one GPU (GPU_KIND=gpu-seat)")  # fmt: skip
    parser.add_argument("--peers", action="append", default=[], metavar="NETWORK",
                        help="a network of other nodes, to which ufw is opened: 10.0.0.0/24")  # fmt: skip
    parser.add_argument("--restart-docker", action="store_true",
                        help="start Docker again if its file changed; its containers stop meanwhile")  # fmt: skip
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    said = arguments()
    node = Node(said.root, said.dry_run)
    found = gpus(node)
    if said.gpu_seats and len(found) != 1:
        node.fault(f"--gpu-seats is for a node with one GPU (or slice); here are {len(found)}")
        return 1
    check_docker(node)
    found = check_gpus(node, found)
    if set_daemon(node, found, said.gpu_seats):
        if said.restart_docker:
            node.do("systemctl", "restart", "docker")
        else:
            node.say(
                "note", "Docker reads it when it starts again: systemctl restart docker (its containers stop)"
            )
    set_kernel(node)
    open_ports(node, said.peers)
    check_clock(node)
    set_labels(node, [*said.label, *(["gpu"] if found and "gpu" not in said.label else [])])
    return 1 if node.faults else 0


if __name__ == "__main__":
    sys.exit(main())
