"""Microphones that are denied, missing, busy, pulled out, forbidden, silent: each says what to do, and who types is
answered all the same.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests import speech
from tests.house import House
from tests.page.conftest import UNGREETED, Open, Visit, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

#: As a device that is pulled out ends.
LOSE = """() => {
  const [track] = antiphon.call.microphone.stream.getAudioTracks();
  track.stop();
  track.dispatchEvent(new Event("ended"));
}"""

#: Notes all that is recorded from.
NOTES = """
const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
globalThis.given = [];
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await real(wish);
  given.push(...stream.getTracks());
  return stream;
};
"""


@pytest.fixture(scope="module")
def quiet(browsers: Callable[..., Any]) -> Any:
    """A browser in a room where nobody says anything."""
    return browsers("quiet", speech.silence(10))


def answers(visit: Visit, text: str) -> None:
    visit.page.fill("#typed", text)
    visit.page.press("#typed", "Enter")
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')",
        "an answer",
    )
    assert said(visit, "you")[-1] == text


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("NotAllowedError", "not allowed"),
        ("NotFoundError", "No microphone was found"),
        ("NotReadableError", "Another program"),
        ("TypeError", "could not be opened"),
    ],
)
def test_a_microphone_that_cannot_be_had_says_why_and_typing_works(
    house: House, open_page: Open, quiet: Any, error: str, hint: str
) -> None:
    thrown = f"new {error}('no')" if error == "TypeError" else f"new DOMException('no', '{error}')"
    visit = open_page(
        house,
        browser=quiet,
        wishes=UNGREETED,
        before=lambda page: page.add_init_script(
            f"navigator.mediaDevices.getUserMedia = async () => {{ throw {thrown}; }}"
        ),
    )
    visit.page.click("#talk")
    visit.until_phase("failed")
    assert hint in visit.page.inner_text("#hint")
    assert visit.page.inner_text("#anew") == "Type instead"
    visit.page.click("#anew")
    visit.until("conversation.state.link === 'live'")
    answers(visit, "Without a microphone")
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_a_microphone_that_is_pulled_out_is_missed_and_one_that_is_plugged_in_is_heard(
    house: House, open_page: Open
) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    visit.page.evaluate(LOSE)
    visit.page.wait_for_function("() => document.querySelector('#hint').textContent.includes('is gone')")
    visit.page.evaluate("antiphon.call.ears.troubled('silent')")
    assert "is gone" in visit.page.inner_text("#hint"), "what is gone is silent, too"
    answers(visit, "Without it")
    visit.page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    visit.page.wait_for_function("() => !document.querySelector('#hint').textContent.includes('is gone')")
    visit.until("conversation.state.voice", "a voice to be heard again")
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_a_microphone_that_is_forbidden_in_the_middle_says_so(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    allow(visit, "denied")
    visit.page.wait_for_function(
        "() => document.querySelector('#hint').textContent.includes('no longer allowed')"
    )
    answers(visit, "By hand")
    allow(visit, "granted")
    visit.until("conversation.state.voice", "a voice to be heard again")
    visit.page.click("#talk")
    visit.until_phase("idle")


def allow(visit: Visit, setting: str) -> None:
    """As the user does by the symbol beside the address."""
    page = visit.page.context.new_cdp_session(visit.page)
    profile = page.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    browser = visit.page.context.browser.new_browser_cdp_session()
    browser.send(
        "Browser.setPermission",
        {
            "permission": {"name": "microphone"},
            "setting": setting,
            "origin": visit.page.evaluate("location.origin"),
            "browserContextId": profile,
        },
    )


def test_no_microphone_is_left_open_by_who_changes_it_and_ends(
    house: House, open_page: Open, quiet: Any
) -> None:
    visit = open_page(
        house,
        browser=quiet,
        wishes=UNGREETED,
        before=lambda page: page.add_init_script(NOTES),
    )
    talks(visit)
    visit.page.evaluate(
        """async () => {
          const changes = [antiphon.call.changeMicrophone(), antiphon.call.changeMicrophone()];
          antiphon.call.end();
          await Promise.all(changes);
          void antiphon.call.begin(); antiphon.call.end(); void antiphon.call.begin(); antiphon.call.end();
        }"""
    )
    visit.until("given.length === 5", "all that were asked for")
    visit.until("given.every((track) => track.readyState === 'ended')", "all to be given back")
    assert visit.state("conversation.phase") == "idle"


def test_a_microphone_that_gives_nothing_for_10_s_is_named(
    house: House, open_page: Open, browsers: Callable[..., Any]
) -> None:
    dead = browsers("dead", speech.silence(4) * 0)
    visit = open_page(house, browser=dead, wishes=UNGREETED)
    talks(visit)
    visit.page.evaluate("antiphon.call.microphone.dead += 450")  # 9 s of it were heard
    visit.page.wait_for_function(
        "() => document.querySelector('#hint').textContent.includes('Nothing comes')"
    )
    answers(visit, "By hand")
    visit.page.click("#talk")
    visit.until_phase("idle")
