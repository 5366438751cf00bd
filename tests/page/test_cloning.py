"""A voice of one's own: a sound file is cut and made a voice, and the next conversation speaks with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import speech
from tests.conftest import missing
from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES, LOUD, UNGREETED, Open, talks
from tests.voice_files import encoded, talk

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow, pytest.mark.model]


@pytest.fixture(scope="module")
def cloning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not speech.there():
        missing("moonshine-voice, whose recordings the tests use")
    env = {**ENGINES, "ANTIPHON_VOICES__ENCODER": "null"}
    with open_house(tmp_path_factory.mktemp("cloning"), workers=1, env=env) as house:
        house.workers["voices"] = []
        child = house.start_worker("voices")
        wait_for(lambda: house.health().get("voice_cloning_up", False), "voices to be cloned", child)
        yield house


def test_a_sound_file_becomes_the_voice_of_the_next_conversation(
    cloning: House, open_page: Open, tmp_path: Path
) -> None:
    (tmp_path / "me.flac").write_bytes(encoded(talk(8.0), "flac"))
    visit = open_page(cloning, wishes=UNGREETED)
    visit.page.click("#show-choices")
    visit.page.set_input_files("#sample-file", tmp_path / "me.flac")
    visit.page.wait_for_function("() => Number(document.querySelector('#sample-end').value) === 8")
    visit.page.fill("#sample-begin", "1")
    assert visit.page.get_by_text("7.0 s are chosen.").is_visible()
    visit.page.get_by_role("button", name="Make a voice of it").click()
    visit.page.get_by_text("It is there, and speaks in the next conversation.").wait_for()
    visit.page.keyboard.press("Escape")
    asked: list[str] = []
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
    talks(visit)
    assert any('"voice":"custom:' in frame for frame in asked)
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.page.wait_for_function(LOUD)
    visit.page.click("#talk")


def test_where_no_voices_are_made_nobody_is_asked_for_one(house: House, open_page: Open) -> None:
    visit = open_page(house)
    with visit.page.expect_response("**/v1/health"):
        visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    assert not visit.page.query_selector("#sample-file")
