"""The page when connections are lost: to a server that was killed, went away, forgot; or to another tab."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import speech
from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES, LOUD, UNGREETED, Open, Visit, listen, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

#: The browser itself writes to the console what it could not load or connect to.
NETWORK = ("WebSocket connection to", "Failed to load resource", "net::ERR")

#: Of the null engines: 20 words of 160 ms.
REPLY_MS = 3200


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


def test_what_is_typed_while_the_server_is_away_is_answered_when_it_is_back(
    own_house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    session = visit.state("conversation.id")
    late = open_page(
        own_house,
        browser=quiet,
        before=lambda page: page.route("**/v1/voices", lambda route: route.abort()),
        forgives=NETWORK,
    )
    late.page.wait_for_function(
        "() => document.querySelector('#hint').textContent.includes('does not answer')"
    )
    own_house.kill_web_whole()
    visit.until_phase("reconnecting")
    says(visit, "Typed into the dark")
    assert visit.page.input_value("#typed") == "", "it is taken"
    assert visit.page.inner_text(".line.you").endswith("Typed into the dark"), "and seen"
    visit.until("conversation.state.reason === 'away'")
    assert "does not answer" in visit.page.inner_text("#hint")
    late.page.click("#talk")
    late.until("conversation.state.reason === 'away'")
    own_house.start_web()
    visit.until("conversation.state.link === 'live'", "the way back")
    assert visit.state("conversation.id") == session
    visit.page.wait_for_function(LOUD)
    assert said(visit, "you") == ["Typed into the dark"]
    visit.page.click("#talk")
    visit.until_phase("idle")
    late.until("conversation.state.link === 'live'")
    late.page.click("#talk")
    late.until_phase("idle")
    late.page.unroute("**/v1/voices")
    late.page.wait_for_selector("#whom input", state="attached")


def test_who_speaks_while_the_web_server_dies_is_understood_and_answered_once(
    own_house: House, open_page: Open
) -> None:
    visit = open_page(own_house, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    visit.until_phase("hearing")
    own_house.kill_web()
    visit.until_phase("reconnecting")
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.heard > 0)", "an answer"
    )
    ids = [line["id"] for line in visit.lines()]
    assert len(ids) == len(set(ids))
    assert len([line for line in visit.lines() if line["who"] == "them"]) == 1
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_who_is_away_for_too_long_begins_anew_and_is_told(
    own_house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    says(visit, "Before")
    visit.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')")
    session = visit.state("conversation.id")
    visit.page.evaluate(
        """() => {
          antiphon.call.wire.drop(1000);  // the server forgets it, as it does with time
          antiphon.call.wire.again();
        }"""
    )
    visit.until(
        f"conversation.state.link === 'live' && conversation.id !== '{session}'", "a new conversation"
    )
    assert "A new one begins" in visit.page.inner_text("#lines")
    says(visit, "After")
    visit.page.wait_for_function(LOUD)
    visit.page.reload()
    visit.page.evaluate(
        """() => {
          const kept = JSON.parse(sessionStorage.getItem('antiphon.resume'));
          sessionStorage.setItem('antiphon.resume', JSON.stringify({ ...kept, at_ms: kept.at_ms - 121000 }));
        }"""
    )
    visit.page.reload()
    assert visit.page.inner_text("#talk") == "Talk"


def test_two_tabs_with_one_conversation_do_not_fight_for_it(
    own_house: House, open_page: Open, quiet: Any
) -> None:
    first = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(first)
    says(first, "In the first tab")
    first.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')")
    session = first.state("conversation.id")
    second = duplicated(first)
    assert second.page.inner_text("#talk") == "Go on"
    talks(second)
    assert second.state("conversation.id") == session
    first.until_phase("idle")
    assert "another tab" in first.page.inner_text("#hint")
    assert first.page.inner_text("#talk") == "Go on"
    connections = second.state("call.wire.turn")
    says(second, "In the second tab")
    second.page.wait_for_function(LOUD)
    assert second.state("call.wire.turn") == connections, "nobody took it back"
    talks(first)
    second.until_phase("idle")
    first.until(
        "conversation.transcript.lines.some((line) => line.text === 'In the second tab')",
        "what was said there",
    )
    first.page.click("#talk")
    first.until_phase("idle")
    second.page.click("#talk")
    second.until(
        f"conversation.state.link === 'live' && conversation.id !== '{session}'", "a new one: that is over"
    )
    second.page.click("#talk")
    second.until_phase("idle")


def duplicated(visit: Visit) -> Visit:
    """As a browser duplicates a tab: with what its session holds."""
    held = visit.page.evaluate("JSON.stringify({ ...sessionStorage })")
    page = visit.page.context.new_page()
    page.add_init_script(
        f"Object.entries({held}).forEach(([name, value]) => sessionStorage.setItem(name, value))"
    )
    other = Visit(page, visit.forgives, visit.complaints)
    listen(other)
    page.goto(visit.page.url)
    return other


def test_who_ends_while_reconnecting_stays_there(own_house: House, open_page: Open, quiet: Any) -> None:
    visit = open_page(own_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK)
    talks(visit)
    visit.page.context.set_offline(True)
    visit.page.evaluate("antiphon.call.wire.again()")
    visit.until("conversation.state.reason === 'away'")
    says(visit, "Never mind")
    visit.page.click("#talk")
    visit.until_phase("idle")
    assert visit.page.input_value("#typed") == "Never mind", "what did not arrive is given back"
    visit.page.context.set_offline(False)
    talks(visit)
    assert said(visit, "you") == []
    visit.page.click("#talk")
    visit.until_phase("idle")
