"""What people may keep of a conversation: the transcript, the sound of both, and what the server may."""

import json
from pathlib import Path

import pytest

from tests.house import House
from tests.page.conftest import LOUD, UNGREETED, Open, Visit, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow]


def saved(visit: Visit, button: str, folder: Path) -> bytes:
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name=button, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path.read_bytes()


def test_a_conversation_is_saved_as_text_and_as_sound(house: House, open_page: Open, tmp_path: Path) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    visit.page.click("#show-choices")
    visit.page.get_by_label("Keep both voices").check()
    visit.page.keyboard.press("Escape")
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.page.wait_for_function(LOUD)
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.state !== 'open')"
        " && call.keepsake.pieces.length > 0",
        "an answer that is kept",
    )
    visit.page.click("#show-choices")
    assert b"User: Good day" in saved(visit, "Text", tmp_path)
    assert json.loads(saved(visit, "JSON", tmp_path))["items"][0]["text"] == "Good day"
    assert b"-->" in saved(visit, "SRT", tmp_path)
    sound = saved(visit, "Save the sound file", tmp_path)
    assert sound.startswith(b"\x1a\x45\xdf\xa3"), "Matroska, of which WebM is a kind"
    assert len(sound) > 2000


def test_nothing_may_be_kept_by_the_server_before_somebody_says_so(house: House, open_page: Open) -> None:
    updates: list[dict[str, object]] = []

    def watch(socket) -> None:
        socket.on("framesent", lambda frame: "session.update" in frame and updates.append(json.loads(frame)))

    visit = open_page(house, wishes=UNGREETED, before=lambda page: page.on("websocket", watch))
    talks(visit)
    visit.page.click("#show-choices")
    visit.page.get_by_label("what was said, as text").check()
    visit.page.get_by_label("and my voice, as sound").check()
    visit.page.get_by_label("what was said, as text").uncheck()
    visit.wait_until(lambda: len(updates) == 4, "what was asked for")
    asked = [update["session"]["antiphon"] for update in updates]
    both = ("allow_recording", "record_audio")
    assert [tuple(one[name] for name in both) for one in asked] == [
        (False, False),
        (True, False),
        (True, True),
        (False, False),
    ]
    visit.page.reload()
    assert not visit.state("wishes.words")
