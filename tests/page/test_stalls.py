"""The page on bad lines: one that stalls for 10 s, one that dies without a word; and the page that sleeps meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import speech
from tests.house import House
from tests.page.conftest import LOUD, UNGREETED, Open, Visit, said, talks
from tests.page.slow_line import SlowLine, slow_line

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

LIAR = (Path(__file__).parent / "liar.js").read_text()

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


@pytest.fixture
def other_line(house: House) -> Iterator[SlowLine]:
    with slow_line(house.port) as line:
        yield line


class Behind:
    """A house at the end of a line."""

    def __init__(self, line: SlowLine) -> None:
        self.port = line.port


def says(visit: Visit, text: str) -> None:
    visit.page.fill("#typed", text)
    visit.page.press("#typed", "Enter")


def test_a_stall_of_10_s_is_waited_out_a_dead_line_noticed_and_a_server_that_does_not_greet_named(
    line: SlowLine, other_line: SlowLine, house: House, open_page: Open, quiet: Any
) -> None:
    """Three pages at once: each waits for seconds."""
    stalled, lost = (
        open_page(Behind(one), browser=quiet, wishes=UNGREETED, forgives=NETWORK)
        for one in (line, other_line)
    )
    for visit in (stalled, lost):
        talks(visit)
    connections = [visit.state("call.wire.turn") for visit in (stalled, lost)]
    session = lost.state("conversation.id")
    other_line.go_dead()
    died_s = time.monotonic()
    line.flows.clear()
    stalled_s = time.monotonic()
    says(stalled, "Is anybody there?")
    strange = open_page(house, browser=quiet, before=lambda page: page.add_init_script(LIAR))
    strange.page.evaluate("() => { liar.lies = true; liar.greets = false; }")
    strange.page.click("#talk")

    stalled.page.wait_for_timeout(max(0, STALL_MS - 1000 * (time.monotonic() - stalled_s)))
    assert stalled.page.inner_text(".line.you").endswith("Is anybody there?"), (
        "what was typed is seen at once"
    )
    line.flows.set()
    stalled.page.wait_for_function(LOUD)
    assert stalled.state("call.wire.turn") == connections[0], "it is still the same connection"
    assert said(stalled, "you") == ["Is anybody there?"]

    lost.until(f"call.wire.turn !== {connections[1]}", "the page to notice")
    assert time.monotonic() - died_s < NOTICED_S + BUSY_S
    lost.until("conversation.state.link === 'live'", "the way back")
    assert lost.state("conversation.id") == session

    strange.until("conversation.state.reason === 'away'", "the page to give up")
    strange.page.evaluate("liar.lies = false")
    strange.until("conversation.state.link === 'live'", "another attempt")
    for visit in (stalled, lost, strange):
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
    says(visit, "Into a dead line")
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
