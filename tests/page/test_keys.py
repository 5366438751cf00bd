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


def test_a_key_is_asked_for_tried_and_used(locked: House, open_page: Open) -> None:
    visit = open_page(
        locked, wishes=UNGREETED, forgives=("Failed to load resource", "WebSocket connection to")
    )
    visit.page.wait_for_selector("#key-form:not([hidden])")
    visit.page.click("#talk")
    visit.until_phase("failed")
    assert "API key" in visit.page.inner_text("#hint")
    visit.page.fill("#key", SECRET)
    visit.page.press("#key", "Enter")
    visit.page.wait_for_selector("#key-form", state="hidden")
    talks(visit)
    assert SECRET not in visit.page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    visit.page.click("#talk")
