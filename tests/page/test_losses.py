"""The page when things go wrong: a killed web server, a full one, one that went away, one that speaks nonsense."""

from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests import speech
from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES, LOUD, UNGREETED, Open, Visit, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

#: The browser itself writes to the console what it could not load or connect to.
NETWORK = ("WebSocket connection to", "Failed to load resource", "net::ERR")

#: Longer than hiccups are, shorter than a client is taken for gone.
STALL_MS = 10_000

#: Of the null engines: 20 words of 160 ms.
REPLY_MS = 3200

#: Stands between the page and the server.
MEDDLER = """
const Real = WebSocket;
globalThis.meddled = [];
globalThis.WebSocket = class extends Real {
  constructor(...handshake) { super(...handshake); meddled.push(this); }
};
"""


@pytest.fixture(scope="module")
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One that may be damaged, with one place."""
    env = {**ENGINES, "ANTIPHON_STT__SLOTS": "1"}
    with open_house(tmp_path_factory.mktemp("losses"), workers=1, env=env) as house:
        yield house


@pytest.fixture(scope="module")
def quiet(browsers: Callable[..., Any]) -> Any:
    """A browser in a room where nobody says anything."""
    return browsers("quiet", speech.silence(10))


def says(visit: Visit, text: str) -> None:
    visit.page.fill("#typed", text)
    visit.page.press("#typed", "Enter")


def test_a_conversation_goes_on_after_the_web_server_was_killed(
    own_house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    says(visit, "Before")
    visit.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')")
    session = visit.state("conversation.id")
    own_house.kill_web()
    visit.until_phase("reconnecting")
    visit.until("conversation.state.link === 'live'", "the way back")
    assert visit.state("conversation.id") == session
    says(visit, "After")
    visit.page.wait_for_function(LOUD)
    assert said(visit, "you") == ["Before", "After"]
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_a_reply_that_was_cut_off_goes_on_where_it_was(own_house: House, open_page: Open, quiet: Any) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    says(visit, "Go on and on")
    visit.until("conversation.player.heardMs > 800")
    own_house.kill_web()
    visit.until_phase("reconnecting")
    visit.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')")
    visit.until_phase("listening")
    assert visit.state("conversation.player.heardMs") > REPLY_MS * 0.9, "counted from the reply's beginning"
    assert not visit.complaints
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_who_ends_a_conversation_gives_its_place_back(own_house: House, open_page: Open, quiet: Any) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED)
    talks(visit)
    assert own_house.health()["queue"]["sessions"] == 1
    visit.page.click("#talk")
    wait_for(lambda: own_house.health()["queue"]["sessions"] == 0, "the place to be free")


def test_who_comes_to_a_full_server_stands_in_line_and_is_served(
    own_house: House, open_page: Open, quiet: Any
) -> None:
    first = open_page(own_house, browser=quiet, wishes=UNGREETED)
    talks(first)
    second = open_page(own_house, browser=quiet, wishes=UNGREETED)
    second.page.click("#talk")
    second.until_phase("queued")
    assert second.page.inner_text("#phase") == "You are number 1 in the line"
    first.page.click("#talk")
    second.until("conversation.state.link === 'live'", "a place")
    says(second, "At last")
    second.page.wait_for_function(LOUD)
    second.page.click("#talk")


def test_nonsense_from_the_server_leaves_the_conversation_standing(
    house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(
        house,
        browser=quiet,
        wishes=UNGREETED,
        before=lambda page: page.add_init_script(MEDDLER),
        forgives=("antiphon:",),
    )
    talks(visit)
    for message in (
        "{", "[]", "5", "null", '{"type": 5}', '{"type": "of.tomorrow"}', '{"type": "response.done"}',
        '{"type": "response.output_audio.delta", "delta": "%%%", "item_id": "x"}',
        '{"type": "response.output_audio.delta", "delta": "AAAA", "antiphon": {"packets": [9000, -1]}}',
        '{"type": "response.created", "response": {"id": "never"}}', '{"type": "antiphon.output.resumed"}',
        '{"type": "conversation.item.added", "item": {}}', '{"type": "error"}', '{"type": "antiphon.queued"}',
    ):  # fmt: skip
        visit.page.evaluate("(data) => meddled.at(-1).onmessage?.({ data })", message)
    visit.page.evaluate("antiphon.call.wire.again()")
    visit.until("conversation.state.link === 'live' && !conversation.state.reply")
    says(visit, "Still there?")
    visit.page.wait_for_function(LOUD)


def test_who_presses_everything_twice_gets_it_once(house: House, open_page: Open, quiet: Any) -> None:
    visit = open_page(house, browser=quiet, wishes=UNGREETED)
    visit.page.dblclick("#talk")  # talk, and cancel
    visit.until("['idle', 'listening'].includes(conversation.phase)")
    for _ in range(5):
        visit.page.evaluate("document.querySelector('#talk').click()")
    visit.until("['idle', 'listening'].includes(conversation.phase)")
    if visit.state("conversation.phase") == "idle":
        talks(visit)
    says(visit, "Once")
    visit.page.wait_for_function(LOUD)
    assert said(visit, "you") == ["Once"]


def test_a_server_that_is_away_is_asked_again_until_it_is_back(
    open_page: Open, own_house: House, quiet: Any
) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    visit.page.context.set_offline(True)
    visit.page.click("#talk")
    visit.until_phase("reconnecting")
    visit.until("conversation.state.reason === 'away'")
    visit.page.context.set_offline(False)
    visit.until("conversation.state.link === 'live'")
    visit.page.click("#talk")


def test_a_server_that_stalls_is_waited_for(own_house: House, open_page: Open, quiet: Any) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    web = psutil.Process(own_house.web_child())
    web.suspend()
    try:
        says(visit, "Is anybody there?")
        visit.page.wait_for_timeout(STALL_MS)
    finally:
        web.resume()
    visit.page.wait_for_function(LOUD)
    visit.until("conversation.state.link === 'live'")
    assert said(visit, "you") == ["Is anybody there?"]
    visit.page.click("#talk")
    visit.until_phase("idle")
