"""A server that is full, or that does not let everybody in: the line, its end, and what the page says of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests import speech
from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES, LOUD, UNGREETED, Open, Visit, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

NETWORK = ("WebSocket connection to", "Failed to load resource", "net::ERR")

#: What the browser says of plain http.
PLAIN = ("Cross-Origin-Opener-Policy",)


@pytest.fixture(scope="module")
def small_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One place, and two in the line."""
    env = {**ENGINES, "ANTIPHON_STT__SLOTS": "1", "ANTIPHON_ADMISSION__MOST_WAITING": "2"}
    with open_house(tmp_path_factory.mktemp("full"), workers=1, env=env) as house:
        yield house


@pytest.fixture(scope="module")
def quiet(browsers: Any) -> Any:
    """A browser in a room where nobody says anything."""
    return browsers("quiet", speech.silence(10))


def phase_of(visit: Visit) -> str:
    return str(visit.page.inner_text("#phase"))


def test_a_line_counts_down_is_left_and_is_served_with_what_was_typed_in_it(
    small_house: House, open_page: Open, quiet: Any
) -> None:
    first, second, third, fourth = (
        open_page(small_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK) for _ in range(4)
    )
    talks(first)
    for place, visit in ((1, second), (2, third)):
        visit.page.click("#talk")
        visit.until(f"conversation.state.place === {place}")
        assert phase_of(visit) == f"You are number {place} in the line"
    fourth.page.click("#talk")
    fourth.until("conversation.state.reason === 'full'", "the end of the line to be too far")
    assert "All places are taken" in fourth.page.inner_text("#hint")
    fourth.page.click("#talk")
    fourth.until_phase("idle")
    third.page.fill("#typed", "Typed in the line")
    third.page.press("#typed", "Enter")
    second.page.click("#talk")
    second.until_phase("idle")
    third.until("conversation.state.place === 1", "who stood before has left")
    assert phase_of(third) == "You are number 1 in the line"
    first.page.click("#talk")
    third.until("conversation.state.link === 'live'", "a place")
    third.page.wait_for_function(LOUD)
    assert said(third, "you") == ["Typed in the line"]
    third.page.click("#talk")
    third.until_phase("idle")
    wait_for(lambda: small_house.health()["queue"]["sessions"] == 0, "the place to be free")


def test_who_waited_in_vain_stands_in_line_again_and_is_told_of_no_lost_conversation(
    small_house: House, open_page: Open, quiet: Any
) -> None:
    small_house.env.update({"ANTIPHON_ADMISSION__LONGEST_WAIT_S": "1"})
    small_house.kill_web_whole()
    small_house.start_web()
    small_house.ready()
    first, second = (
        open_page(small_house, browser=quiet, wishes=UNGREETED, forgives=NETWORK) for _ in range(2)
    )
    talks(first)
    second.page.click("#talk")
    second.until_phase("queued")
    second.until("conversation.state.reason === 'full'", "to be sent away")
    second.until_phase("queued")
    assert second.lines() == []
    first.page.click("#talk")
    second.until("conversation.state.link === 'live'")
    second.page.click("#talk")
    second.until_phase("idle")


def test_a_page_of_plain_http_and_another_name_says_what_to_do_and_types(
    small_house: House, open_page: Open, browsers: Any
) -> None:
    small_house.env.update({"ANTIPHON_AUTH__OPEN": "true"})
    small_house.kill_web_whole()
    small_house.start_web()
    small_house.ready()
    elsewhere = browsers("elsewhere", speech.silence(4), "--host-resolver-rules=MAP talk.example 127.0.0.1")
    visit = open_page(
        small_house, browser=elsewhere, wishes=UNGREETED, forgives=(*NETWORK, *PLAIN), host="talk.example"
    )
    visit.page.click("#talk")
    visit.until_phase("failed")
    assert "https or of localhost" in visit.page.inner_text("#hint")
    visit.page.click("#anew")
    visit.until_phase("failed")
    assert "does not let you in" in visit.page.inner_text("#hint"), "it is nobody's name"
    small_house.env.update({"ANTIPHON_AUTH__ORIGINS": f"http://talk.example:{small_house.port}"})
    small_house.kill_web_whole()
    small_house.start_web()
    small_house.ready()
    visit.page.reload()
    visit.page.click("#talk")
    visit.until_phase("failed")
    visit.page.click("#anew")
    visit.until("conversation.state.link === 'live'")
    visit.page.fill("#typed", "By hand alone")
    visit.page.press("#typed", "Enter")
    visit.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')")
    visit.until_phase("listening")
    visit.page.click("#talk")
    visit.until_phase("idle")
