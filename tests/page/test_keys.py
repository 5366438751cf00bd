"""The page of a server that wants keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config import api_keys
from tests.house import House, open_house
from tests.page.conftest import ENGINES, UNGREETED, Open, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]

SECRET = "sk-antiphon-of-the-page"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("keys")
    env = {**ENGINES, "ANTIPHON_AUTH__KEYS": f"page:sha256:{api_keys.digest(SECRET)}"}
    with open_house(folder, workers=1, env=env) as house:
        yield house


FORGIVEN = ("Failed to load resource", "WebSocket connection to")


def test_a_key_is_asked_for_tried_and_used(locked: House, open_page: Open) -> None:
    visit = open_page(locked, wishes=UNGREETED, forgives=FORGIVEN)
    visit.page.wait_for_selector("#key-form:not([hidden])")
    visit.page.click("#talk")
    assert visit.page.evaluate("document.activeElement.id") == "key"
    visit.page.fill("#key", "sk-antiphon-of-somebody-else")
    visit.page.click("#talk")
    visit.page.wait_for_function("() => document.querySelector('#key-says').textContent.includes('key')")
    visit.page.fill("#key", SECRET)
    visit.page.press("#key", "Enter")
    visit.page.wait_for_selector("#key-form", state="hidden")
    talks(visit)
    assert SECRET not in visit.page.evaluate("JSON.stringify(localStorage)")
    visit.page.click("#talk")
    visit.page.reload()
    visit.page.wait_for_selector("#whom .cast")


def test_a_key_is_kept_in_the_browser_for_who_wants_that(locked: House, open_page: Open) -> None:
    visit = open_page(locked, forgives=FORGIVEN)
    visit.page.fill("#key", SECRET)
    visit.page.check("#key-keep")
    visit.page.click("#key-form button")
    visit.page.wait_for_selector("#whom .cast")
    another = visit.page.context.new_page()
    another.goto(f"http://localhost:{locked.port}/")
    another.wait_for_selector("#whom .cast")


def test_a_key_in_the_address_opens_and_is_not_left_there(locked: House, open_page: Open) -> None:
    visit = open_page(locked, at=f"#key={SECRET}")
    visit.page.wait_for_selector("#whom .cast")
    assert SECRET not in visit.page.url


def test_a_key_that_is_revoked_is_asked_for_again(locked: House, open_page: Open) -> None:
    visit = open_page(locked, at=f"#key={SECRET}", forgives=FORGIVEN)
    visit.page.wait_for_selector("#whom .cast")
    visit.page.evaluate("antiphon.door.key = 'sk-antiphon-that-was-good-once'")
    visit.page.click("#talk")
    visit.page.wait_for_selector("#key-form:not([hidden])")
    visit.page.fill("#key", SECRET)
    visit.page.press("#key", "Enter")
    visit.until_phase("idle")
