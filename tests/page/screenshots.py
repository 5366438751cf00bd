"""Pictures of the page in its states, for the documentation: python -m tests.page.screenshots [FOLDER].

Its words are those of a conversation that somebody has with the page first: by voice with the embedded engines, where
they are installed. They look best where a font of Palatino's kind is (Debian: fonts-urw-base35).
"""

import base64
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, sync_playwright

from tests import speech
from tests.house import House, open_house
from tests.page import programs
from tests.page.conftest import ARGUMENTS, ENGINES, RATE, voice_at
from tests.page.states import FEED, Said, show

#: Name: the size, and what the browser is told of its user's taste.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 780}, "color_scheme": "light", "has_touch": True, "is_mobile": True,
        "device_scale_factor": 1.5,
    },
}  # fmt: skip

#: Each is a picture in each look.
PICTURES = (
    "idle", "queued", "listening", "hearing", "thinking", "speaking", "muted", "closed", "reconnecting", "ended",
    "failed micDenied",
)  # fmt: skip

EMBEDDED = {"ANTIPHON_PROFILE": "embedded", "ANTIPHON_LLM__OPTIONS": "{}", "ANTIPHON_TTS__OPTIONS": "{}"}

#: A talk of real engines on two cores takes this long at most, and their loading.
TALK_MS = 120_000
LOADING_S = 150.0

#: The arcs have travelled some way by then.
SETTLE_MS = 1_100

#: WebP of this quality is a tenth of a PNG, and letters stay sharp.
QUALITY = 0.86

PACK = """async ([picture, quality]) => {
  const image = new Image();
  image.src = `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/webp", quality });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""

TALK = """() => antiphon.conversation.transcript.lines.filter(({ who }) => who !== "note")
  .map(({ who, text, heard, state }) => [who, text.trim(), state === "cut" ? heard / text.length : 1])"""

Talk = tuple[list[Said], list[dict[str, Any]]]


def main(folder: Path) -> None:
    """Takes all of them."""
    program = programs.browser()
    if program is None:
        raise SystemExit("a Chromium is needed")
    folder.mkdir(parents=True, exist_ok=True)
    real = speech.there()
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "voice.wav"
        soundfile.write(sound, voice(real), RATE, subtype="PCM_16")
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={sound}"]
        env = EMBEDDED if real else ENGINES
        with (
            open_house(Path(work), workers=1, env=env, start_deadline_s=LOADING_S) as house,
            sync_playwright() as driver,
        ):
            browser = driver.chromium.launch(executable_path=program, headless=False, args=arguments)
            talk = have_talk(browser, house)
            packer = browser.new_page()
            for look, context in LOOKS.items():
                profile = browser.new_context(locale="en-GB", **context)
                take(profile.new_page(), house, talk, keeper(packer, folder, look))
                profile.close()
            browser.close()


def voice(real: bool) -> Any:
    """What the microphone hears."""
    if not real:
        return voice_at(3.0, 1.3, 12.0)
    silence = np.zeros(RATE, np.float32)
    return np.concatenate([np.tile(silence, 6), speech.recording("beckett"), np.tile(silence, 60)])


def have_talk(browser: Browser, house: House) -> Talk:
    """A greeting, something said, and an answer that is interrupted: its lines and its times."""
    profile = browser.new_context(locale="en-GB")
    page = profile.new_page()
    page.set_default_timeout(TALK_MS)
    page.goto(f"http://localhost:{house.port}/")
    page.click("#talk")
    lines = "antiphon.conversation.transcript.lines"
    page.wait_for_function(f"() => {lines}.some(({{ who, state }}) => who === 'you' && state === 'done')")
    page.wait_for_function(f"() => {lines}.at(-1).who === 'them' && {lines}.at(-1).heard > 40")
    page.click("#interrupt")
    page.wait_for_function(f"() => {lines}.at(-1).state !== 'open'")
    said, turns = page.evaluate(TALK), page.evaluate("() => antiphon.conversation.latency.turns")
    profile.close()
    return said, turns


def keeper(packer: Page, folder: Path, look: str) -> Callable[[Page, str], None]:
    """Keeps what a page shows, as WebP, for which the browser itself has an encoder."""

    def keep(page: Page, name: str) -> None:
        picture = base64.b64encode(page.screenshot()).decode()
        packed = base64.b64decode(packer.evaluate(PACK, [picture, QUALITY]))
        (folder / f"page-{name}-{look}.webp").write_bytes(packed)

    return keep


def take(page: Page, house: House, talk: Talk, keep: Callable[[Page, str], None]) -> None:
    """All states in one look."""
    page.goto(f"http://localhost:{house.port}/")
    page.wait_for_selector("#whom .cast")
    page.evaluate(FEED)
    for state in PICTURES:
        show(page, state, *talk)
        page.wait_for_timeout(SETTLE_MS)
        keep(page, state.partition(" ")[0])
    show(page, "speaking", *talk)
    page.click("#show-debug")
    page.wait_for_selector("#facts dl:nth-of-type(2) > :nth-child(3)")
    page.wait_for_timeout(SETTLE_MS)
    keep(page, "debug")
    page.click("#close-debug")
    page.click("#show-choices")
    page.wait_for_selector("#choices .cast")
    keep(page, "choices")
    page.click("#choices-jump button:nth-child(3)")
    keep(page, "keeping")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else programs.ROOT / "docs/img"))
