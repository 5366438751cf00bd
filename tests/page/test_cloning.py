"""A voice of one's own: a sound file is cut and made a voice, and the next conversation speaks with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import speech
from tests.conftest import missing
from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES, LOUD, UNGREETED, Open, Visit, talks
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


#: Notes who listens at the microphone.
LISTENERS = """
globalThis.streams = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wishes) => {
  const stream = await ask(wishes);
  streams.push(stream);
  return stream;
};
"""

#: Whether one of them still does.
LISTENS = "() => streams.some((stream) => stream.getTracks().some((track) => track.readyState === 'live'))"


def opened(cloning: House, open_page: Open, **options: Any) -> Visit:
    """The choices are open."""
    visit = open_page(
        cloning, wishes=UNGREETED, before=lambda page: page.add_init_script(LISTENERS), **options
    )
    visit.page.click("#show-choices")
    visit.page.wait_for_selector("#sample-file")
    return visit


def press(visit: Visit, name: str) -> None:
    visit.page.get_by_role("button", name=name, exact=True).click()


def test_a_recording_is_cut_listened_to_and_made_a_voice(
    cloning: House, open_page: Open, browsers: Any
) -> None:
    visit = opened(cloning, open_page, browser=browsers("reader", talk(8.0)))
    press(visit, "Record")
    visit.page.get_by_text("Recording: 1 s").wait_for()
    visit.page.select_option("#wish-ui", "fr")  # the sheet is built again
    visit.page.select_option("#wish-ui", "en")
    visit.page.get_by_text("Recording: 4 s").wait_for()
    press(visit, "Stop recording")
    assert not visit.page.evaluate(LISTENS)
    length_s = float(visit.page.input_value("#sample-end"))
    assert 4 <= length_s < 15
    visit.page.fill("#sample-begin", str(length_s - 3.2))
    visit.page.get_by_text("3.2 s are chosen.").wait_for()
    press(visit, "Listen")
    press(visit, "Stop")
    visit.page.get_by_role("button", name="Listen", exact=True).wait_for()
    with visit.page.expect_request("**/v1/voices") as asked:
        press(visit, "Make a voice of it")
    sent_bytes = int(asked.value.all_headers()["content-length"])
    assert abs(sent_bytes - 3.2 * 48_000) < 8_000, "16 bits of 3.2 s, and a form around them"
    visit.page.get_by_text("It is there, and speaks in the next conversation.").wait_for()


def test_who_closes_the_sheet_is_not_recorded_any_more(cloning: House, open_page: Open) -> None:
    visit = opened(cloning, open_page)
    press(visit, "Record")
    visit.page.get_by_text("Recording: 0 s").wait_for()
    assert visit.page.evaluate(LISTENS)
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_function(f"() => !({LISTENS})()")
    visit.page.click("#show-choices")
    visit.page.evaluate("""() => {
      const record = [...document.querySelectorAll('#choices button')].find((one) => one.textContent === 'Record');
      record.click();
      record.click();
      document.querySelector('#choices').close();
    }""")
    visit.page.wait_for_function(f"() => streams.length === 3 && !({LISTENS})()")


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg with opus"])
def test_files_of_many_kinds_are_read(cloning: House, open_page: Open, tmp_path: Path, kind: str) -> None:
    (tmp_path / "voice").write_bytes(encoded(talk(5.0), kind, channels=2))
    visit = opened(cloning, open_page)
    visit.page.set_input_files("#sample-file", tmp_path / "voice")
    visit.page.wait_for_function(
        "() => Math.abs(Number(document.querySelector('#sample-end').value) - 5) <= 0.1"
    )


def test_what_cannot_become_a_voice_is_explained(cloning: House, open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(encoded(talk(2.0)))
    (tmp_path / "nonsense").write_bytes(b"no sound at all")
    (tmp_path / "right").write_bytes(encoded(talk(5.0)))
    visit = opened(cloning, open_page, forgives=("Failed to load resource",))
    make = visit.page.get_by_role("button", name="Make a voice of it")
    visit.page.set_input_files("#sample-file", tmp_path / "short")
    visit.page.get_by_text("Choose at least 3 seconds.").wait_for()
    assert make.is_disabled()
    visit.page.set_input_files("#sample-file", tmp_path / "nonsense")
    visit.page.get_by_text("This browser cannot read that file.").wait_for()
    visit.page.set_input_files("#sample-file", tmp_path / "right")
    visit.page.get_by_text("5.0 s are chosen.").wait_for()
    visit.page.context.set_offline(True)
    make.click()
    visit.page.get_by_text("The server does not answer.").wait_for()
    visit.page.context.set_offline(False)
    make.click()
    visit.page.get_by_text("It is there, and speaks in the next conversation.").wait_for()


def test_where_no_voices_are_made_nobody_is_asked_for_one(house: House, open_page: Open) -> None:
    visit = open_page(house)
    with visit.page.expect_response("**/v1/health"):
        visit.page.click("#show-choices")
    visit.page.wait_for_selector("#choices .cast")
    assert not visit.page.query_selector("#sample-file")
