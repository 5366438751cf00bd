"""The page in a real browser, talking: heard, answered, interrupted, by voice and by keys, and read by machines."""

import json
from typing import Any

import pytest

from tests.conftest import missing
from tests.house import House
from tests.page import programs
from tests.page.conftest import LOUD, UNGREETED, Open, said, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]


def test_it_opens_without_a_complaint_and_asks_nobody_else(open_page: Open, house: House) -> None:
    asked: list[str] = []
    visit = open_page(
        house, before=lambda page: page.on("request", lambda request: asked.append(request.url))
    )
    visit.page.wait_for_load_state("networkidle")
    assert visit.page.inner_text("#talk") == "Talk"
    assert visit.page.inner_text("#their-name") == "Nora"
    assert asked and all(url.startswith(f"http://localhost:{house.port}/") for url in asked)


def test_a_greeting_is_seen_heard_and_interrupted(open_page: Open, house: House) -> None:
    visit = open_page(house)
    talks(visit)
    visit.page.wait_for_function(LOUD)
    visit.until_phase("speaking")
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'cut')",
        "an interruption",
    )
    (reply, *_) = [line for line in visit.lines() if line["who"] == "them"]
    assert 0 < reply["heard"] < len(reply["text"])
    assert visit.page.inner_text(".line.them s").strip() == reply["text"][reply["heard"] :].strip()
    visit.until(
        "conversation.transcript.lines.filter((line) => line.who === 'them').length === 2", "an answer"
    )
    assert said(visit, "you") == ["one two three"]
    visit.page.click("#talk")
    visit.until_phase("idle")


def test_what_is_typed_is_answered_and_the_button_interrupts(open_page: Open, house: House) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.until_phase("speaking")
    visit.until("conversation.player.heardMs > 300")
    visit.page.click("#interrupt")
    visit.until("conversation.transcript.lines.some((line) => line.state === 'cut')")
    assert said(visit, "you")[0] == "Good day"
    visit.page.wait_for_function(f"() => !({LOUD})()")


def test_by_keys_alone_somebody_begins_talks_and_ends(open_page: Open, house: House) -> None:
    visit = open_page(house, wishes=UNGREETED)
    keys = visit.page.keyboard
    visit.page.wait_for_selector("#talk")
    keys.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    keys.press("Enter")
    visit.page.wait_for_function("document.activeElement.id === 'talk' || location.hash === '#talk'")
    while visit.page.evaluate("document.activeElement.id") != "talk":
        keys.press("Tab")
    keys.press("Enter")
    visit.until("conversation.state.link === 'live'")
    keys.press("d")
    visit.page.wait_for_selector("#debug:not([hidden])")
    keys.press("d")
    keys.press("s")
    assert visit.page.get_attribute("#show-subtitles", "aria-pressed") == "false"
    keys.press("m")
    visit.until("conversation.state.closed && call.microphone.closed")
    for _ in range(12):
        keys.press("Tab")
        if visit.page.evaluate("document.activeElement.id") == "typed":
            break
    keys.type("Good day sir")  # d, s and m are letters here
    keys.press("Enter")
    visit.until_phase("speaking")
    assert said(visit, "you") == ["Good day sir"]
    visit.page.focus("#talk")
    keys.press("Space")
    visit.until_phase("idle")


def test_the_next_conversation_is_with_whom_was_chosen(open_page: Open, house: House) -> None:
    asked: list[str] = []

    def watch(socket: Any) -> None:
        socket.on("framesent", lambda frame: "session.update" in frame and asked.append(frame))

    visit = open_page(house, wishes=UNGREETED, before=lambda page: page.on("websocket", watch))
    talks(visit)
    visit.page.click("#show-choices")
    visit.page.get_by_role("radiogroup").get_by_text("Rufus", exact=True).click()
    visit.page.keyboard.press("Escape")
    visit.page.click("#talk")
    visit.until_phase("idle")
    talks(visit)
    visit.wait_until(lambda: len(asked) == 2, "what was asked for")
    first, second = (json.loads(frame)["session"] for frame in asked)
    assert [one["audio"]["output"]["voice"] for one in (first, second)] == ["Nora", "Rufus"]
    assert [one["antiphon"]["character"] for one in (first, second)] == ["Nora", "Rufus"]


def test_push_to_talk_sends_what_is_said_while_the_key_is_down(open_page: Open, house: House) -> None:
    visit = open_page(house, wishes=json.dumps({"push": True}))
    talks(visit)
    visit.page.evaluate("document.activeElement.blur()")
    visit.page.keyboard.down("Space")
    visit.until_phase("hearing")
    visit.until("conversation.sent_ms > 5000")  # the hum is from 3 s to 4.3 s
    visit.page.keyboard.up("Space")
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')",
        "an answer",
    )
    assert said(visit, "you") == ["one two three"]


def test_a_microphone_that_is_denied_is_explained_and_typing_goes_on(open_page: Open, house: House) -> None:
    denied = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    visit = open_page(house, wishes=UNGREETED, before=lambda page: page.add_init_script(denied))
    visit.page.click("#talk")
    visit.until_phase("failed")
    assert "allow the microphone" in visit.page.inner_text("#hint")
    visit.page.click("#anew")
    visit.until("conversation.state.link === 'live'")
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.page.wait_for_function(LOUD)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_machines_that_read_pages_to_people_find_nothing_wrong(
    open_page: Open, house: House, theme: str
) -> None:
    axe = programs.package("axe-core/axe.min.js")
    if axe is None:
        missing("axe-core (make setup-sdks)")
    visit = open_page(house, color_scheme=theme)
    visit.page.evaluate(axe.read_text())

    def check(what: str) -> None:
        found = visit.page.evaluate(
            "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
        )
        told = [
            (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"]]) for one in found
        ]
        assert told == [], what

    visit.page.wait_for_load_state("networkidle")
    check("before the talk")
    talks(visit)
    visit.until("conversation.transcript.lines.some((line) => line.state === 'cut')")
    visit.page.keyboard.press("d")
    check("in the talk")
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    check("choices")


def test_a_page_that_is_loaded_again_goes_on_with_its_conversation(open_page: Open, house: House) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.until("conversation.transcript.lines.some((line) => line.who === 'them' && line.state !== 'open')")
    session = visit.state("conversation.id")
    visit.page.reload()
    assert visit.page.inner_text("#talk") == "Go on"
    talks(visit)
    assert visit.state("conversation.id") == session
    visit.until("conversation.transcript.lines.length >= 2", "what was said before")
    assert said(visit, "you")[0] == "Good day"
    visit.page.click("#talk")
    visit.until_phase("idle")
