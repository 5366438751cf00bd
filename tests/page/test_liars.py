"""A server that says what no server should, and a user who does everything at once: there is a way back to Talk."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests import speech
from tests.house import House
from tests.page.conftest import LOUD, UNGREETED, Open, Visit, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

LIAR = (Path(__file__).parent / "liar.js").read_text()

#: Conversations with a liar, each of up to 35 messages and deeds.
WALKS = 300

#: Of the user who presses everything: deeds, and how often what came of them is looked at.
PRESSES = 150
LOOKS = 3

#: What the page itself says of odd events, and what the browser says of what it could not load.
FORGIVEN = ("antiphon:", "Failed to load resource", "WebSocket connection to", "net::ERR")

#: Everything that can be pressed, and some things beside it.
DEEDS = (
    "document.querySelector('#talk').click()",
    "document.querySelector('#talk').click(); document.querySelector('#talk').click()",
    "document.querySelector('#anew').click()",
    "document.querySelector('#mute').click()",
    "document.querySelector('#interrupt').click()",
    "document.querySelector('#show-subtitles').click()",
    "document.querySelector('#show-debug').click()",
    "document.querySelector('#show-choices').click()",
    "document.querySelector('#choices').close()",
    "document.querySelector('#wish-push')?.click()",
    "document.querySelector('#wish-greet')?.click()",
    "document.querySelector('#wish-keepsake')?.click()",
    "document.querySelector('#wish-words')?.click()",
    "document.querySelector('#typed').value = 'Hello'; document.querySelector('#composer').requestSubmit()",
    "document.querySelector('#composer').requestSubmit()",
    "antiphon.call.hold()",
    "antiphon.call.letGo()",
    "antiphon.call.wakeUp()",
    "antiphon.call.wire.socket?.close(4001)",
    "void antiphon.call.changeMicrophone()",
    "dispatchEvent(new Event('online'))",
    "dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))",
    "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
    "document.dispatchEvent(new Event('visibilitychange'))",
    "navigator.mediaDevices.dispatchEvent(new Event('devicechange'))",
)

#: Single keys, and those of push to talk.
KEYS = ("s", "d", "m", "i", "Space", "Escape", "Enter", "Tab")


@pytest.fixture(scope="module")
def quiet(browsers: Any) -> Any:
    """A browser in a room where nobody says anything."""
    return browsers("quiet", speech.silence(10))


def lied_to(page: Any) -> None:
    page.add_init_script(LIAR)


def comes_back(visit: Visit) -> None:
    """To the button; and then a real conversation works."""
    page = visit.page
    page.evaluate("() => { document.querySelector('#choices').close(); antiphon.wishes.push = false; }")
    if visit.state("conversation.state.link") not in ("idle", "failed"):
        page.evaluate("document.querySelector('#talk').click()")
    assert visit.state("conversation.state.link") in ("idle", "failed")
    page.evaluate("() => { antiphon.call.anew(); antiphon.wishes.greet = false; }")
    page.evaluate("() => antiphon.conversation.state.closed && antiphon.call.toggleMute()")
    talks(visit)
    page.fill("#typed", "Still there?")
    page.press("#typed", "Enter")
    page.wait_for_function(LOUD)
    assert said(visit, "you") == ["Still there?"]
    page.click("#talk")
    visit.until_phase("idle")


def test_whatever_a_server_says_in_whatever_order_there_is_a_way_back(
    house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(house, browser=quiet, wishes=UNGREETED, before=lied_to, forgives=FORGIVEN)
    visit.page.click("#show-debug")
    stuck = visit.page.evaluate(
        """async (walks) => {
          const stuck = [];
          for (let seed = 0; seed < walks; seed += 1) stuck.push(await liar.converse(seed));
          liar.lies = false;
          return stuck.filter(Boolean);
        }""",
        WALKS,
    )
    assert stuck == []
    assert not visit.complaints
    comes_back(visit)


@pytest.mark.parametrize("seed", range(2))
def test_who_presses_everything_at_once_comes_back_to_the_button(
    house: House, open_page: Open, quiet: Any, seed: int
) -> None:
    visit = open_page(house, browser=quiet, forgives=FORGIVEN)
    dice = random.Random(seed)
    for _ in range(PRESSES):
        if dice.random() < 0.2:
            visit.page.keyboard.press(dice.choice(KEYS))
            continue
        deeds = ";".join(f"void (() => {{ {dice.choice(DEEDS)} }})()" for _ in range(dice.randint(1, LOOKS)))
        visit.page.evaluate(f"() => {{ {deeds} }}")
        if dice.random() < 0.3:
            visit.page.wait_for_timeout(dice.choice((0, 10, 100)))
    comes_back(visit)
