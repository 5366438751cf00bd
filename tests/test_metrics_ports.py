"""Which ports the workers of `antiphon up` show their metrics at."""

import socket
from collections.abc import Iterator

import pytest

from cli import metrics_ports
from config.errors import ConfigError

HOST = "127.0.0.1"


@pytest.fixture
def held() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        yield other.getsockname()[1]


def test_who_wants_none_gets_none() -> None:
    assert metrics_ports.first_of_row(0, HOST, 3, 8000) == 0


def test_a_row_is_found_by_the_webs_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_ports, "taken", lambda *_: "")
    assert metrics_ports.first_of_row(None, HOST, 3, 8000) == 9400
    assert metrics_ports.first_of_row(None, HOST, 3, 8001) == 9420


def test_a_row_with_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_ports, "taken", lambda _, port: "is in use" if port == 9402 else "")
    assert metrics_ports.first_of_row(None, HOST, 3, 8000) == 9420
    assert metrics_ports.first_of_row(None, HOST, 2, 8000) == 9400


def test_without_a_free_row_the_operator_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_ports, "taken", lambda *_: "is in use")
    with pytest.raises(ConfigError, match=r"no 3 ports in a row from 9400 on are free at 127\.0\.0\.1"):
        metrics_ports.first_of_row(None, HOST, 3, 8000)


def test_a_port_that_was_chosen_and_is_taken_is_named(held: int) -> None:
    with pytest.raises(ConfigError, match=f"port {held} of 127.0.0.1, for a worker's metrics, is in use"):
        metrics_ports.first_of_row(held, HOST, 1, 8000)


def test_an_address_of_another_machine_cannot_be_had() -> None:
    with pytest.raises(ConfigError, match="cannot be had"):
        metrics_ports.first_of_row(9400, "192.0.2.1", 1, 8000)


def test_a_row_that_ends_beyond_the_last_port_is_none() -> None:
    with pytest.raises(ConfigError, match=r"port 65536 of 127\.0\.0\.1, for a worker's metrics, is none"):
        metrics_ports.first_of_row(65_535, HOST, 2, 8000)
