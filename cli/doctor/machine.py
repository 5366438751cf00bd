"""The machine: Python and packages, file limits, the kernel's memory settings, disks, the folder of metrics, ports."""

import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import psutil

from cli import columns, metrics_ports
from cli.doctor.finding import Finding, fail, ok, warn

#: As pyproject.toml says.
OLDEST_PYTHON = (3, 11)

#: Connections of a full web process (`worker_connections` in web/gunicorn.py), and what it has open besides.
WEB_FILES = 4000 + 500

#: What a process of ours has open besides its sessions.
OTHER_FILES = 200

#: The append-only file of a full state server, while it is rewritten: twice its maxmemory.
DATA_BYTES = 1 << 30

#: Below, not even logs have room.
LEAST_BYTES = 200 << 20

#: Metrics of a web process take some 6 MB; twice that while it is replaced, and some replicas.
METRICS_BYTES = 32 << 20

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def python() -> Iterator[Finding]:
    """The interpreter, and whether our packages are of the versions that were measured."""
    name = "python"
    said = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield fail(name, f"Python {said}", f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed")
        return
    try:
        wanted = metadata.requires("antiphon") or []
    except metadata.PackageNotFoundError:
        yield ok(name, f"Python {said}; antiphon itself is not installed, so its packages are not compared")
        return
    others = list(unlike(pins(wanted)))
    if others:
        yield warn(name, f"Python {said}, but {', '.join(others)}", "make setup installs the pinned versions")
    else:
        yield ok(name, f"Python {said}; {len(pins(wanted))} packages as pinned")


def pins(requirements: Iterable[str]) -> dict[str, str]:
    """Exact versions by package; without those of extras."""
    found = (re.fullmatch(r"([\w.-]+)==([\w.]+)", one.replace(" ", "")) for one in requirements)
    return {one[1]: one[2] for one in found if one}


def unlike(pinned: Mapping[str, str]) -> Iterator[str]:
    """Packages that are missing or of another version, each as a few words."""
    for package, version in pinned.items():
        try:
            there = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield f"{package} is missing"
            continue
        if there != version:
            yield f"{package} is {there}, not {version}"


def files(sessions: int) -> Finding:
    """Whether a process may open enough files. sessions: that the profile's slots allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_files(soft, hard, sessions)


def judge_files(soft: int, hard: int, sessions: int) -> Finding:
    """By the limits as getrlimit gives them. `antiphon up` raises the soft one as far as it may."""
    name, mend = (
        "files",
        "raise the hard limit (ulimit -Hn 65536, LimitNOFILE=65536, or ulimits in a compose file)",
    )
    soft, hard = (2**63 if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))
    said = f"{_limit(soft)} open files, at most {_limit(hard)}"
    if hard < sessions + OTHER_FILES:
        return fail(name, f"{said}: too few for {sessions} sessions", mend)
    if hard < WEB_FILES:
        return warn(name, f"{said}: a web process is full at {hard - OTHER_FILES} sessions", mend)
    if soft < sessions + OTHER_FILES:
        return warn(
            name, f"{said}: too few for {sessions} sessions, unless `antiphon up` raises them",
            "ulimit -n 65536 before processes are started by other means",
        )  # fmt: skip
    return ok(name, said)


def _limit(count: int) -> str:
    return str(count) if count < 2**62 else "unlimited"


def kernel(local_redis: bool) -> Iterator[Finding]:
    """What Redis wants of Linux, where it runs on this machine."""
    name = "kernel"
    if not local_redis:
        yield ok(name, "Redis runs on another machine: run the doctor there for its kernel")
        return
    yield from judge_kernel(_read(THP), _read(OVERCOMMIT))


def judge_kernel(huge_pages: str, overcommit: str) -> Iterator[Finding]:
    """By the files' contents; empty where there is none."""
    name, wrong = "kernel", False
    if "[always]" in huge_pages:
        wrong = True
        yield warn(
            name, "transparent huge pages are always on: Redis stands still for moments when it writes its file",
            f"echo madvise > {THP} (as root, at each start of the machine)",
        )  # fmt: skip
    if overcommit == "0":
        wrong = True
        yield warn(
            name, "vm.overcommit_memory is 0: Redis may find no memory to rewrite its append-only file",
            "sysctl vm.overcommit_memory=1 (and in /etc/sysctl.d)",
        )  # fmt: skip
    if not wrong:
        yield ok(
            name,
            "huge pages and overcommit as Redis wants them" if huge_pages else "no settings of Linux' here",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def disk(check: str, folder: Path, needed: int, least: int, mend: str) -> Finding:
    """Whether there is room where `folder` lies or will lie. needed: below it is warned of; least: fails."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    said = f"{columns.megabytes(free)} free at {folder}"
    if free < least:
        return fail(check, f"{said}, {columns.megabytes(least)} are needed", mend)
    if free < needed:
        return warn(check, f"{said}, {columns.megabytes(needed)} may be needed", mend)
    return ok(check, said)


def metrics_folder(memory: Path) -> Finding:
    """Where gunicorn's processes keep their metrics. memory: the folder that is preferred."""
    folder = memory if memory.is_dir() else Path(tempfile.gettempdir())
    try:
        with tempfile.NamedTemporaryFile(prefix="antiphon-doctor-", dir=folder):
            pass
    except OSError as error:
        return fail(
            "metrics",
            f"{folder} cannot be written: {error.strerror}",
            f"make it writable (mount -o remount,rw {folder})",
        )
    mend = "in containers: --shm-size 128m, or shm_size in a compose file"
    return disk("metrics", folder, METRICS_BYTES, METRICS_BYTES // 4, mend)


def ports(wanted: Mapping[int, str], host: str, holders: Iterable[int]) -> Iterator[Finding]:
    """Whether these can be listened on. wanted: port and what for; holders: processes of ours that may have them."""
    ours = set(_listening(holders))
    for port, what in wanted.items():
        if port in ours:
            yield ok("ports", f"{port} ({what}) is the running server's")
            continue
        wrong = metrics_ports.taken(host, port)
        if wrong:
            yield fail(
                "ports",
                f"{port} of {host} ({what}) {wrong}",
                "end what has it (ss -ltnp), or choose another port",
            )
        else:
            yield ok("ports", f"{port} of {host} ({what}) is free")


def _listening(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        yield from (one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN)
