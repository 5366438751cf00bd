"""That no two tests are given one port."""

import socket
import subprocess
import sys
from secrets import randbelow

import pytest

from tests import ports
from tests.up_run import ROOT

#: Another run of the tests, with the same few ports to choose from.
OTHER_RUN = (
    "from tests import ports; ports.PORTS = range({first}, {first} + {count}); print(ports.free_port())"
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    """As many ports in a row, taken by nobody: tests that run at the same time are given none above the others."""
    start = ports.PORTS.stop + 3 * randbelow(100)
    rows = (range(first, first + 3) for first in range(start, start + 90, 3))
    row = next(row for row in rows if ports._given.isdisjoint(row) and all(map(ports._bindable, row)))
    monkeypatch.setattr(ports, "PORTS", row)
    return row


def other_run(row: range) -> subprocess.CompletedProcess[str]:
    command = OTHER_RUN.format(first=row.start, count=len(row))
    return subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, check=False, capture_output=True, text=True
    )


def test_each_port_is_given_once(few: range) -> None:
    assert {ports.free_port() for _ in few} == set(few)
    with pytest.raises(RuntimeError, match="are free"):
        ports.free_port()


def test_another_run_is_given_none_of_ours(few: range) -> None:
    ours = {ports.free_port(), ports.free_port()}
    assert {int(other_run(few).stdout)} == set(few) - ours
    ports.free_port()  # the other one has ended
    assert "are free" in other_run(few).stderr


def test_ports_in_a_row_are_given_together(few: range) -> None:
    assert ports.free_row(3) == few[0]
    with pytest.raises(RuntimeError, match="are free"):
        ports.free_port()


def test_a_row_has_no_port_of_others(few: range) -> None:
    with socket.create_server(("127.0.0.1", few[1])), pytest.raises(RuntimeError, match="2 ports"):
        ports.free_row(2)


def test_a_port_that_somebody_listens_on_is_passed_over(few: range) -> None:
    with socket.create_server(("127.0.0.1", few[0])), socket.create_server(("127.0.0.1", few[1])):
        assert ports.free_port() == few[2]
