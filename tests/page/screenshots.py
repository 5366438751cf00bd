"""Pictures of the page in its states, for the README: python -m tests.page.screenshots [FOLDER]."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile
from playwright.sync_api import sync_playwright

from tests.house import House, open_house
from tests.page import programs
from tests.page.conftest import ARGUMENTS, ENGINES, RATE, voice_at

#: Name: the size, and what the browser is told of its user's taste.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 780}, "color_scheme": "light", "has_touch": True, "is_mobile": True,
        "device_scale_factor": 2,
    },
}  # fmt: skip

#: States that a healthy server does not bring about by itself.
FORCED = {
    "queued": {"type": "queued", "place": 3},
    "reconnecting": {"type": "lost", "reason": "lost"},
    "failed": {"type": "failed", "reason": "micDenied"},
}


def main(folder: Path) -> None:
    """Takes all of them."""
    program = programs.browser()
    if program is None:
        raise SystemExit("a Chromium is needed")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "voice.wav"
        soundfile.write(sound, voice_at(3.0, 1.3, 12.0), RATE, subtype="PCM_16")
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={sound}"]
        with open_house(Path(work), workers=1, env=ENGINES) as house, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, headless=False, args=arguments)
            for look, context in LOOKS.items():
                profile = browser.new_context(locale="en-GB", **context)
                take(profile.new_page(), house, folder, look)
                profile.close()
            browser.close()


def take(page: Any, house: House, folder: Path, look: str) -> None:
    """All states in one look."""

    def picture(state: str) -> None:
        page.screenshot(path=folder / f"page-{state}-{look}.png")

    page.goto(f"http://localhost:{house.port}/")
    page.wait_for_load_state("networkidle")
    picture("idle")
    page.click("#talk")
    page.wait_for_function("() => antiphon.conversation.player?.heardMs > 1200", timeout=60_000)
    picture("speaking")
    page.wait_for_function("() => document.querySelector('.line s')", timeout=60_000)
    page.wait_for_function("() => antiphon.conversation.phase === 'listening'", timeout=60_000)
    picture("listening")
    page.keyboard.press("d")
    page.wait_for_selector("#facts dt:nth-of-type(9)")
    picture("debug")
    page.keyboard.press("d")
    page.click("#show-choices")
    page.wait_for_selector("#choices .cast")
    picture("choices")
    page.keyboard.press("Escape")
    for state, happening in FORCED.items():
        page.evaluate("(happening) => antiphon.conversation.happen(happening)", happening)
        picture(state)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else programs.ROOT / "docs/img"))
