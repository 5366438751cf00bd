"""Machines in namespaces: what they reach, what cuts do, and that nothing of them stays."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from bench.machines.layout import Layout, lacks, laid_out, remove_leftovers
from bench.machines.wire import NAMESPACES, Quality
from tests.conftest import missing

pytestmark = pytest.mark.server

PORT = 7000


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    if lacking := lacks():
        missing(lacking)
    with laid_out(("a", "b", "c")) as layout:
        yield layout


def answers(layout: Layout, machine: str) -> bool:
    """Whether a machine's kernel refuses us, which is an answer, within half a second."""
    probe = socket.socket()
    probe.settimeout(0.5)
    try:
        probe.connect((layout.address(machine), PORT))
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    finally:
        probe.close()
    return True


def test_machines_reach_each_other_and_see_only_their_own_address(layout: Layout) -> None:
    assert layout.inside(lambda: [answers(layout, machine) for machine in "abc"]) == [True] * 3
    said = subprocess.run(
        ["ip", "-n", layout.links["b"].namespace, "-4", "-o", "addr"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert {line.split()[3] for line in said.stdout.splitlines()} == {
        "127.0.0.1/8",
        f"{layout.address('b')}/24",
    }


def test_a_cut_separates_those_it_names_and_is_over_when_mended(layout: Layout) -> None:
    layout.cut("a", "b")
    assert layout.inside(lambda: (answers(layout, "b"), answers(layout, "c"))) == (False, True)
    layout.cut("c")
    assert not layout.inside(lambda: answers(layout, "c"))
    layout.mend()
    assert layout.inside(lambda: (answers(layout, "b"), answers(layout, "c"))) == (True, True)


def test_packets_are_lost_by_their_share(layout: Layout) -> None:
    layout.worsen(Quality(loss=1.0), ["b"])
    assert layout.inside(lambda: (answers(layout, "b"), answers(layout, "c"))) == (False, True)
    layout.worsen(Quality(), ())


def test_namespaces_of_a_process_that_is_gone_are_removed_and_those_of_others_stay(layout: Layout) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = f"antiphon-{gone.pid}-x"
    subprocess.run(["ip", "netns", "add", left], check=True)
    sleeper = subprocess.Popen(["ip", "netns", "exec", left, "sleep", "600"])
    try:
        while sleeper.pid not in pids(left):
            assert sleeper.poll() is None
        remove_leftovers()
        assert sleeper.wait(20) < 0
        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / f"antiphon-{os.getpid()}-a").exists()
    finally:
        sleeper.kill()
        sleeper.wait()


def pids(namespace: str) -> list[int]:
    said = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True)
    return [int(pid) for pid in said.stdout.split()]
