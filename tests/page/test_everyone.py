"""The page for everyone: by keys alone, read aloud, with little motion, little room, and colours to be told apart."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import missing
from tests.house import House
from tests.page import programs
from tests.page.conftest import UNGREETED, Open, Visit, talks
from tests.page.states import FEED, STATES, show

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

#: Least sides of what is pressed, in CSS pixels: by a mouse (WCAG 2.2, 2.5.8), by a finger (2.5.5).
MOUSE_PX = 24
FINGER_PX = 44

SMALL = """(least) => [
  ...document.querySelectorAll('button, input, select, textarea, a, summary, .character, .key-keep'),
].filter((one) => {
  if (!one.checkVisibility() || one.closest('.skip')) return false;
  if (one.matches('.character input, .row input, .key-keep input')) return false;
  const { width, height } = one.getBoundingClientRect();
  return width < least || height < least;
}).map((one) => one.outerHTML.slice(0, 90))"""

#: Of every text the contrast with the nearest paper behind it, after WCAG 2; those below 4.5.
PALE = """() => {
  const parts = (colour) => [...colour.matchAll(/[\\d.]+/g)].map(Number);
  const light = (colour) => parts(colour).slice(0, 3).reduce((sum, one, at) => {
    const value = one / 255;
    return sum + [0.2126, 0.7152, 0.0722][at] * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
  const paper = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
  };
  return [...document.querySelectorAll('body *')].flatMap((one) => {
    const written = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!written || !one.checkVisibility() || one.closest('.sr, noscript')) return [];
    const style = getComputedStyle(one);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    const [dark, bright] = [light(ink), light(paper(one))].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dark + 0.05);
    return contrast < 4.5 ? [`${contrast.toFixed(2)} ${one.outerHTML.slice(0, 90)}`] : [];
  });
}"""

SIDEWAYS = """() => [document.documentElement, ...document.querySelectorAll('main, .whom, .said, .debug, .choices')]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.className || one.tagName)"""

#: What a screen reader would say by itself: whatever is added to a live region.
LISTEN = """() => {
  globalThis.told = [];
  new MutationObserver((changes) => {
    for (const change of changes) for (const node of change.addedNodes) told.push(node.textContent);
  }).observe(document.querySelector('#announcer'), { childList: true });
}"""


def focused(visit: Visit) -> str:
    return str(visit.page.evaluate("document.activeElement.id"))


def tab_to(visit: Visit, wanted: str, back: bool = False) -> None:
    for _ in range(60):
        if focused(visit) == wanted:
            return
        visit.page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"no key leads to {wanted}")


def test_by_keys_alone_a_whole_conversation(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=UNGREETED)
    keys = visit.page.keyboard
    visit.page.wait_for_selector("#whom .cast")
    tab_to(visit, "voice-Nora")
    keys.press("ArrowRight")
    assert visit.state("wishes.voice") == "Rufus"
    tab_to(visit, "talk", back=True)
    keys.press("Enter")
    visit.until("conversation.state.link === 'live'")
    assert focused(visit) == "talk"
    tab_to(visit, "typed")
    keys.type("Good day")
    keys.press("Enter")
    visit.until_phase("speaking")
    visit.until("conversation.player.heardMs > 300")
    tab_to(visit, "interrupt")
    keys.press("Enter")
    visit.until("conversation.transcript.lines.some((line) => line.state === 'cut')")
    assert focused(visit) == "interrupt", "a button that has nothing to do keeps who stands on it"
    tab_to(visit, "mute", back=True)
    keys.press("Space")
    visit.until("conversation.state.closed")
    tab_to(visit, "show-choices", back=True)
    keys.press("Enter")
    visit.page.wait_for_selector("#choices .cast")
    tab_to(visit, "wish-language")
    keys.press("Escape")
    assert focused(visit) == "show-choices", "the sheet gives back what it took"
    keys.press("d")
    tab_to(visit, "close-debug")
    keys.press("Enter")
    assert focused(visit) == "show-debug"
    tab_to(visit, "typed")
    visit.page.evaluate("antiphon.call.end()")
    visit.until_phase("idle")
    visit.page.wait_for_function("() => document.activeElement.id === 'talk'")
    with visit.page.expect_download() as download:
        keys.press("Tab")  # what was said, which is scrolled by keys
        keys.press("Tab")
        keys.press("Enter")
    assert download.value.suggested_filename.endswith(".txt")


def test_the_sheet_keeps_who_stands_at_a_field_while_it_changes(house: House, open_page: Open) -> None:
    visit = open_page(house)
    visit.page.wait_for_selector("#whom .cast")
    visit.page.click("#show-choices")
    visit.page.focus("#wish-words")
    visit.page.keyboard.press("Space")
    assert focused(visit) == "wish-words"
    assert visit.page.is_enabled("#wish-sound"), "the voice only along with the words"
    visit.page.focus("#wish-ui")
    visit.page.select_option("#wish-ui", "fr")
    assert focused(visit) == "wish-ui" and visit.page.inner_text("#choices-title") == "Réglages"


def test_who_listens_to_the_page_is_told_each_line_once_and_no_chatter(house: House, open_page: Open) -> None:
    visit = open_page(house)
    visit.page.wait_for_selector("#whom .cast")
    visit.page.evaluate(LISTEN)
    talks(visit)
    visit.until(
        "conversation.transcript.lines.filter((line) => line.who === 'them' && line.state !== 'open').length > 1",
        "an answer after an interruption",
    )
    visit.page.evaluate("document.activeElement.blur()")
    visit.page.keyboard.press("s")
    visit.page.keyboard.press("m")
    visit.page.click("#talk")
    visit.until_phase("idle")
    told: list[str] = visit.page.evaluate("told")
    lines = {line["id"]: line for line in visit.lines()}
    cut, mine, answer = list(lines.values())[:3]
    heard = cut["text"][: cut["heard"]].strip()
    assert told[0] == "Connected"
    assert told[1] == f"Nora, interrupted: {heard}"
    assert told[2] == f"You: {mine['text'].strip()}"
    assert told[3].startswith("Nora") and told[3].endswith(answer["text"][: answer["heard"]].strip())
    assert told[-1] == "The conversation is over"
    assert "Subtitles hidden" in told and "Microphone muted" in told
    assert not any("Hearing" in one or "Thinking" in one for one in told)
    assert len(told) == len(set(told)), "nothing twice"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_machines_and_eyes_find_nothing_wrong_in_any_state(house: House, open_page: Open, theme: str) -> None:
    axe = programs.package("axe-core/axe.min.js")
    if axe is None:
        missing("axe-core (make setup-sdks)")
    visit = open_page(house, color_scheme=theme, reduced_motion="reduce")
    visit.page.wait_for_selector("#whom .cast")
    visit.page.evaluate(axe.read_text())

    def check(what: str) -> None:
        found = visit.page.evaluate(
            "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
        )
        wrong = [
            (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"]]) for one in found
        ]
        assert wrong == [], what
        assert visit.page.evaluate(PALE) == [], what

    for state in STATES:
        show(visit.page, state)
        check(state)
    show(visit.page, "idle")
    visit.page.evaluate("antiphon.door.key = 'another'; antiphon.door.ask()")
    check("a key is wanted")
    visit.page.evaluate("antiphon.door.form.hidden = true")
    show(visit.page, "speaking")
    visit.page.click("#show-debug")
    visit.page.evaluate("document.querySelector('.turns').open = true")
    visit.page.wait_for_selector("#facts dl:nth-of-type(2) > :nth-child(3)")
    check("debug")
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    visit.page.evaluate("document.querySelector('#choices details').open = true")
    check("choices")


@pytest.mark.parametrize("hand", ["mouse", "finger"])
def test_what_is_pressed_is_large_enough(house: House, open_page: Open, hand: str) -> None:
    finger = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}
    visit = open_page(house, **(finger if hand == "finger" else {}))
    visit.page.wait_for_selector("#whom .cast")
    least = FINGER_PX if hand == "finger" else MOUSE_PX
    for state in STATES:
        show(visit.page, state)
        assert visit.page.evaluate(SMALL, least) == [], state
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    assert visit.page.evaluate(SMALL, least) == [], "choices"


@pytest.mark.parametrize("language", ["en-GB", "fr-FR"])
@pytest.mark.parametrize("height", [256, 640])
def test_at_four_hundred_percent_nothing_is_scrolled_sideways(
    house: House, open_page: Open, language: str, height: int
) -> None:
    visit = open_page(house, locale=language, viewport={"width": 320, "height": height})
    visit.page.wait_for_selector("#whom .cast")
    for state in STATES:
        show(visit.page, state)
        assert visit.page.evaluate(SIDEWAYS) == [], state
    visit.page.click("#show-debug")
    assert visit.page.evaluate(SIDEWAYS) == [], "debug"
    visit.page.click("#close-debug")
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    assert visit.page.evaluate(SIDEWAYS) == [], "choices"


def drawn(visit: Visit, state: str, ms: int = 400) -> int:
    """Pictures that the staff was drawn in some time of a state, after it was shown."""
    show(visit.page, state)
    visit.page.wait_for_timeout(ms // 4)
    before = visit.state("choirs.frames")
    visit.page.wait_for_timeout(ms)
    return int(visit.state("choirs.frames") - before)


def test_the_staff_is_drawn_while_something_moves_and_only_then(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=UNGREETED)
    visit.page.wait_for_selector("#whom .cast")
    assert drawn(visit, "thinking") > 3
    assert drawn(visit, "idle") == drawn(visit, "queued") == drawn(visit, "failed micDenied") == 0


def test_who_wants_no_motion_sees_a_calm_level(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=UNGREETED, reduced_motion="reduce")
    visit.page.wait_for_selector("#whom .cast")
    assert drawn(visit, "thinking") == drawn(visit, "listening") == 0, "nothing moves by itself"
    visit.page.evaluate(FEED)
    show(visit.page, "speaking")
    visit.page.wait_for_function("() => antiphon.choirs.past.them[0] > 0.1")
    levels = visit.page.evaluate("[...antiphon.choirs.past.them]")
    steps = [abs(one - other) for one, other in pairwise(levels)]
    assert max(steps) < 0.07, "it swells and fades, and does not flicker"


def test_lines_say_in_which_language_they_are(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=json.dumps({"greet": False, "voice": "Nora"}), locale="fr-FR")
    visit.page.wait_for_selector("#whom .cast")
    show(visit.page, "speaking")
    tongues: list[Any] = visit.page.evaluate(
        "[...document.querySelectorAll('.line')].map((line) => line.lang)"
    )
    assert visit.page.get_attribute("html", "lang") == "fr" and set(tongues) == {"en"}
    assert visit.page.get_attribute(".line .sr >> nth=0", "lang") == "fr"


def test_a_server_that_does_not_answer_is_asked_again(house: House, open_page: Open) -> None:
    def away(page: Any) -> None:
        page.route("**/v1/voices", lambda route: route.abort())

    visit = open_page(house, before=away, forgives=("Failed to load resource",))
    visit.page.wait_for_selector("text=The server does not answer")
    visit.page.unroute("**/v1/voices")
    visit.page.wait_for_selector("#whom .cast")
