"""The page on bad lines: one that stalls for 10 s, one that dies without a word; and the page that sleeps meanwhile."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import speech
from tests.house import House
from tests.page.conftest import LOUD, UNGREETED, Open, Visit, said, talks
from tests.page.slow_line import SlowLine, slow_line

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

NETWORK = ("WebSocket connection to", "Failed to load resource", "net::ERR")

#: Longer than hiccups are, and not yet the end.
STALL_MS = 10_000

#: A dead line is noticed by then, by a page that only listens; with what a busy machine adds.
NOTICED_S = 18.0
BUSY_S = 4.0

#: The same by a page that has just come back from sleep.
DOUBTED_S = 5.0

#: Counts what the page asks of the system to keep the screen on.
LOCKS = """
globalThis.locks = [];
navigator.wakeLock.request = async () => {
  const lock = { released: false, release: async () => { lock.released = true; } };
  locks.push(lock);
  return lock;
};
"""


@pytest.fixture(scope="module")
def quiet(browsers: Any) -> Any:
    """A browser in a room where nobody says anything."""
    return browsers("quiet", speech.silence(10))


@pytest.fixture
def line(house: House) -> Iterator[SlowLine]:
    with slow_line(house.port) as line:
        yield line


class Behind:
    """A house at the end of a line."""

    def __init__(self, line: SlowLine) -> None:
        self.port = line.port


def says(visit: Visit, text: str) -> None:
    visit.page.fill("#typed", text)
    visit.page.press("#typed", "Enter")


def test_a_line_that_stalls_for_10_s_is_waited_for(line: SlowLine, open_page: Open, quiet: Any) -> None:
    visit = open_page(Behind(line), browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    connection = visit.state("call.wire.turn")
    line.flows.clear()
    says(visit, "Is anybody there?")
    visit.page.wait_for_timeout(STALL_MS)
    assert visit.page.inner_text(".line.you").endswith("Is anybody there?"), "what was typed is seen at once"
    line.flows.set()
    visit.page.wait_for_function(LOUD)
    assert visit.state("call.wire.turn") == connection, "it is still the same connection"
    assert said(visit, "you") == ["Is anybody there?"]
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_a_line_that_dies_without_a_word_is_noticed_while_nobody_speaks(
    line: SlowLine, open_page: Open, quiet: Any
) -> None:
    visit = open_page(Behind(line), browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    session = visit.state("conversation.id")
    connection = visit.state("call.wire.turn")
    line.go_dead()
    began = time.monotonic()
    visit.until(f"call.wire.turn !== {connection}", "the page to notice")
    assert time.monotonic() - began < NOTICED_S + BUSY_S
    visit.until("conversation.state.link === 'live'", "the way back")
    assert visit.state("conversation.id") == session
    says(visit, "There again")
    visit.page.wait_for_function(LOUD)
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_a_page_that_comes_back_from_sleep_doubts_its_connection_and_keeps_the_screen_on(
    line: SlowLine, open_page: Open, quiet: Any
) -> None:
    visit = open_page(
        Behind(line),
        browser=quiet,
        wishes=UNGREETED,
        before=lambda page: page.add_init_script(LOCKS),
        forgives=NETWORK,
    )
    talks(visit)
    visit.page.wait_for_function("() => locks.length === 1")
    connection = visit.state("call.wire.turn")
    sleeps = visit.page.context.new_cdp_session(visit.page)
    sleeps.send("Page.setWebLifecycleState", {"state": "frozen"})
    line.go_dead()
    sleeps.send("Page.setWebLifecycleState", {"state": "active"})
    visit.page.evaluate(
        "() => { locks.at(-1).released = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    began = time.monotonic()
    visit.until(f"call.wire.turn !== {connection}", "the page to notice")
    assert time.monotonic() - began < DOUBTED_S + BUSY_S
    visit.until("conversation.state.link === 'live'", "the way back")
    visit.page.evaluate(
        "for (let at = 0; at < 5; at++) document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert visit.page.evaluate("locks.map((lock) => lock.released)") == [True, False], (
        "asked for once each time"
    )
    visit.page.click("#talk")
    visit.until_phase("idle")
    assert visit.page.evaluate("locks.every((lock) => lock.released)")
    visit.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert visit.page.evaluate("locks.length") == 2, "nobody talks"


def test_a_page_that_was_left_and_comes_back_as_it_was_goes_on(
    house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    session = visit.state("conversation.id")
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert visit.state("call.wire.socket") is None
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    visit.until("conversation.state.link === 'live'", "the way back")
    assert visit.state("conversation.id") == session
    visit.page.click("#talk")
    visit.until_phase("idle")
