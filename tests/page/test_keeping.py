"""What people may keep of a conversation: the transcript, the sound of both, and what the server may."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import speech
from tests.house import House
from tests.page.conftest import LOUD, UNGREETED, Open, Visit, talks, voice_at

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


#: The file that was kept, as it sounds: how loud it is, every 10 ms.
DECODED = """async () => {
  const { blob } = antiphon.call.keepsake.file;
  const sound = await new OfflineAudioContext(1, 1, 24000).decodeAudioData(await blob.arrayBuffer());
  const samples = sound.getChannelData(0);
  const loud = [];
  for (let at = 0; at + 240 <= samples.length; at += 240) {
    loud.push(Math.sqrt(samples.subarray(at, at + 240).reduce((sum, one) => sum + one * one, 0) / 240));
  }
  return loud;
}"""

#: Notes when the file begins, and when a reply is heard, by the clock of the sound.
CLOCKED = """() => {
  const { call, conversation } = antiphon;
  globalThis.heard = { begins_s: call.context.currentTime, replies_s: [] };
  const played = conversation.played.bind(conversation);
  conversation.played = (report, at_ms) => {
    if (report.what === "sounds") heard.replies_s.push(report.at_s);
    played(report, at_ms);
  };
}"""

#: Louder than this somebody speaks; he fell silent when nothing was for so long.
SPOKEN = 0.02
SILENT_S = 0.4


def spells(loud: list[float]) -> list[tuple[float, float]]:
    """From when to when somebody spoke, in seconds."""
    spoken = np.flatnonzero(np.array(loud) > SPOKEN) / 100
    breaks = np.flatnonzero(np.diff(spoken) > SILENT_S)
    begins = [spoken[0], *spoken[breaks + 1]]
    return list(zip(begins, [*spoken[breaks], spoken[-1]], strict=True))


def keeps(visit: Visit, kept: bool = True) -> None:
    visit.page.click("#show-choices")
    visit.page.get_by_label("Keep both voices").set_checked(kept)
    visit.page.keyboard.press("Escape")


def test_the_kept_file_has_both_voices_at_their_times(
    house: House, open_page: Open, browsers: Callable[..., Any]
) -> None:
    visit = open_page(house, browser=browsers("once", voice_at(3.0, 1.3, 14.0)), wishes=UNGREETED)
    visit.page.evaluate("antiphon.wishes.volume = 0")  # nobody need hear what is kept
    talks(visit)
    keeps(visit)
    visit.page.evaluate(CLOCKED)
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.state === 'done')",
        "an answer",
    )
    visit.until_phase("listening")
    heard = visit.state("conversation.latency.turns[0]")
    told = visit.page.evaluate("heard")
    visit.page.click("#talk")
    visit.until("!call.keepsake.runs && call.keepsake.file")
    visit.wait_until(lambda: len(spells(visit.page.evaluate(DECODED))) >= 2, "the last piece")
    loud = visit.page.evaluate(DECODED)
    you, them, *_ = spells(loud)  # a machine under load may have gaps in it
    assert 1.0 < you[1] - you[0] < 1.8, "a hum of 1.3 s"
    assert 2.9 < np.count_nonzero(np.array(loud[int(them[0] * 100) :]) > SPOKEN) / 100 < 3.4, (
        "a reply of 3.2 s"
    )
    assert abs(them[0] - (told["replies_s"][0] - told["begins_s"])) < 0.25, "when the loudspeaker got it"
    answered_s = (heard["sound_ms"] - heard["voice_end_ms"]) / 1000
    assert abs(them[0] - you[1] - answered_s) < 0.3, "so long after the user"


def test_without_a_wish_nothing_is_recorded_and_an_end_of_it_is_one(house: House, open_page: Open) -> None:
    made = "globalThis.recorders = 0; const Real = MediaRecorder; globalThis.MediaRecorder = class extends Real {"
    made += " constructor(...all) { super(...all); recorders += 1; } };"
    visit = open_page(house, wishes=UNGREETED, before=lambda page: page.add_init_script(made))
    talks(visit)
    assert visit.page.evaluate("recorders") == 0
    keeps(visit)
    visit.until("call.keepsake.runs")
    keeps(visit, False)
    visit.until("!call.keepsake.runs && call.keepsake.both === null")
    keeps(visit)
    visit.until(
        "call.keepsake.runs && call.keepsake.pieces.length === 0", "another file, with nothing of the first"
    )
    visit.page.click("#talk")
    visit.page.reload()
    talks(visit)
    assert visit.page.evaluate("recorders") == 0, "it is asked each time"


def test_a_browser_that_records_nothing_talks_all_the_same(
    house: House, open_page: Open, browsers: Callable[..., Any]
) -> None:
    visit = open_page(
        house,
        browser=browsers("quiet", speech.silence(10)),
        wishes=UNGREETED,
        before=lambda page: page.add_init_script("delete globalThis.MediaRecorder"),
        forgives=("antiphon:",),
    )
    talks(visit)
    keeps(visit)
    visit.page.locator(".line.note", has_text="This browser could not go on").wait_for()
    visit.page.fill("#typed", "Good day")
    visit.page.press("#typed", "Enter")
    visit.page.wait_for_function(LOUD)


def test_a_recorder_that_fails_leaves_the_talk_and_what_was_kept(house: House, open_page: Open) -> None:
    visit = open_page(house, wishes=UNGREETED)
    talks(visit)
    keeps(visit)
    visit.until(
        f"call.context.currentTime > {visit.state('call.context.currentTime') + 0.5}", "something to keep"
    )
    visit.page.evaluate("antiphon.call.keepsake.recorder.dispatchEvent(new Event('error'))")
    visit.page.locator(".line.note", has_text="This browser could not go on").wait_for()
    visit.until("!call.keepsake.runs && conversation.state.link === 'live'")
    visit.until("call.keepsake.file", "what was kept until then")
