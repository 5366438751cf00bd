"""The page in WebKit, tried by hand: python -m tests.page.webkit [--without-codecs].

Not among the tests, for it takes 36 s to install and comes from Debian's WebKitGTK, not from Safari:
apt-get install webkit2gtk-driver xvfb pulseaudio gstreamer1.0-plugins-good gstreamer1.0-pulseaudio
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.house import House, open_house, wait_for
from tests.page.conftest import ENGINES
from tests.page.loudspeaker import loudspeaker
from tests.ports import free_port

#: WebKitGTK's own small browser; its microphone beeps if it is told to.
BROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"), Path("MiniBrowser"))

#: A screen that nobody sees.
DISPLAY = ":77"

#: Where it listens once it is there.
SCREEN = Path("/tmp/.X11-unix/X77")

#: The driver is up after a moment.
START_S = 20.0

#: For each step of the talk.
PATIENCE_S = 40.0

#: Notes what is complained of; nobody is greeted.
BEFORE = """
globalThis.complaints = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => complaints.push(words.map(String).join(" "));
addEventListener("error", (event) => complaints.push(event.message));
addEventListener("unhandledrejection", (event) => complaints.push(String(event.reason)));
antiphon.wishes.greet = false;
"""

#: What is shown at the end.
FOUND = """
const { call, conversation } = antiphon;
return {
  complaints, browser: navigator.userAgent, travels: conversation.opus ? "Opus" : "pcm16",
  rate: call.context?.sampleRate, underruns: conversation.player?.last.underruns, phase: conversation.phase,
  said: conversation.transcript.lines.map((line) => `${line.who}: ${line.text}`),
};
"""

ENDED = "conversation.transcript.lines.filter((line) => line.who === 'them' && line.state === 'done').length"


class Driver:
    """A session of W3C WebDriver."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)
        options = {"binary": str(BROWSER), "args": ["--automation", "--features=+MockCaptureDevices"]}
        capabilities = {"alwaysMatch": {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}}
        self.session = ""
        self.session = f"/session/{self.ask('/session', capabilities=capabilities)['sessionId']}"

    def ask(self, path: str, **body: Any) -> Any:
        answer = self.http.post(self.session + path, json=body)
        return answer.raise_for_status().json()["value"]

    def run(self, script: str) -> Any:
        return self.ask("/execute/sync", script=script, args=[])

    def element(self, selector: str) -> str:
        found = self.ask("/element", using="css selector", value=selector)
        return f"/element/{next(iter(found.values()))}"

    def until(self, true: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(f"const {{ conversation }} = globalThis.antiphon ?? {{}}; return {true};"):
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {true}: {self.run(FOUND)}")
            time.sleep(0.1)


@contextmanager
def driven() -> Iterator[Driver]:
    """A browser with a screen and a loudspeaker of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, loudspeaker("pulseaudio") as there:
        env = {**os.environ, **there, "DISPLAY": DISPLAY, "HOME": home, "LIBGL_ALWAYS_SOFTWARE": "1"}
        with (
            subprocess.Popen(["Xvfb", DISPLAY], stderr=subprocess.DEVNULL) as screen,
            subprocess.Popen(["WebKitWebDriver", f"--port={port}"], env=env) as process,
        ):
            try:
                wait_for(SCREEN.exists, "a screen")
                yield connected(port)
            finally:
                process.terminate()
                screen.terminate()


def connected(port: int) -> Driver:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return Driver(port)
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def talk(driver: Driver, house: House, before: str) -> dict[str, Any]:
    """Heard and answered, by voice and by keys."""
    driver.ask("/url", url=f"http://localhost:{house.port}/")
    driver.until("Boolean(conversation)")
    driver.run(BEFORE + before)
    driver.ask(driver.element("#talk") + "/click")
    driver.until("conversation.sent_ms > 2000")
    driver.ask(driver.element("#mute") + "/click")
    driver.until(f"{ENDED} === 1")
    driver.ask(driver.element("#typed") + "/value", text="Good day\ue007")
    driver.until(f"{ENDED} === 2")
    found: dict[str, Any] = driver.run(FOUND)
    driver.http.delete(driver.session)
    return found


def main() -> None:
    before = "delete globalThis.AudioEncoder;" if "--without-codecs" in sys.argv else ""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_house(Path(folder), workers=1, env=ENGINES) as house,
        driven() as driver,
    ):
        print(json.dumps(talk(driver, house, before), indent=2))


if __name__ == "__main__":
    main()
