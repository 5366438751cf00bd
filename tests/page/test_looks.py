"""How the page fits: narrow and wide, in two languages, by day and by night."""

import json
import re

import pytest

from tests.house import House
from tests.page.conftest import UNGREETED, Open, talks
from tests.page.programs import ROOT

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

#: Elements that reach beyond the window's right edge, where nothing between can be scrolled to show them.
BEYOND = """() => [...document.querySelectorAll('body *')].filter((one) => {
  if (one.closest('.scroll, .sr, svg')) return false;
  return one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1;
}).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_nothing_reaches_beyond_the_window(house: House, open_page: Open, width: int) -> None:
    visit = open_page(house, wishes=UNGREETED, viewport={"width": width, "height": 720})
    visit.page.wait_for_selector("#whom .cast")
    assert visit.page.evaluate(BEYOND) == [], "before the talk"
    talks(visit)
    visit.page.keyboard.press("d")
    assert visit.page.evaluate(BEYOND) == [], "in the talk"
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    assert visit.page.evaluate(BEYOND) == [], "choices"


def test_somebody_who_reads_french_is_met_in_french_and_may_choose(house: House, open_page: Open) -> None:
    visit = open_page(house, locale="fr-FR")
    assert visit.page.inner_text("#talk") == "Parler"
    assert visit.page.get_attribute("html", "lang") == "fr"
    visit.page.click("#show-choices")
    visit.page.select_option("#wish-ui", "en")
    assert visit.page.inner_text("#choices-title") == "Choices"
    visit.page.reload()
    assert visit.page.inner_text("#talk") == "Talk"


def test_a_theme_that_was_chosen_wins_over_the_system_s(house: House, open_page: Open) -> None:
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark, light = (open_page(house, color_scheme=scheme).page.evaluate(paper) for scheme in ("dark", "light"))
    visit = open_page(house, color_scheme="dark", wishes=json.dumps({"theme": "light"}))
    assert visit.page.evaluate(paper) == light != dark


def test_who_wants_no_motion_sees_none(house: House, open_page: Open) -> None:
    visit = open_page(house, reduced_motion="reduce")
    durations = visit.page.evaluate(
        "() => getComputedStyle(document.querySelector('#talk')).transitionDuration"
    )
    assert set(durations.split(", ")) == {"0s"}


#: All pictures of the documentation together: a clone shall stay small.
MOST_BYTES = 1_500_000


def test_the_pictures_of_the_papers_are_there_and_small() -> None:
    folder = ROOT / "docs/img"
    named = {
        (paper.parent / path).resolve()
        for paper in (ROOT / "README.md", ROOT / "docs/page.md")
        for path in re.findall(r"[\w/.-]*img/[\w.-]+", paper.read_text())
    }
    there = {path.resolve() for path in folder.iterdir()}
    assert named == there, "each picture is shown, and each that is shown is there"
    assert sum(path.stat().st_size for path in there) < MOST_BYTES
