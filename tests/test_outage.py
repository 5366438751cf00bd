"""What is said of a server that is away: that it is, and that it is back."""

import logging

import pytest

from config.outage import Outage

log = logging.getLogger("tests.outage")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(", after")[0] for record in caplog.records]


def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(log, "input")
    outage.over()
    for _ in range(2):
        for _ in range(50):
            outage.met(ConnectionError("10.0.0.7 refused"))
        for _ in range(50):
            outage.over()
    assert said(caplog) == ["input: waits for Redis: ConnectionError", "input: goes on"] * 2


def test_an_outage_that_changes_its_kind_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(log, "input")
    for error in (ConnectionError(), TimeoutError(), ConnectionError(), TimeoutError()):
        outage.met(error)
    assert said(caplog) == ["input: waits for Redis: ConnectionError", "input: waits for Redis: TimeoutError"]
