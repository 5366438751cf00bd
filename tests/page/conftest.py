"""What the tests in a browser share: a house, a browser for each voice that it hears, pages that may not complain."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from tests.conftest import missing
from tests.house import House, open_house
from tests.page import programs
from tests.talker import hum

try:
    from playwright import sync_api as playwright
except ImportError:  # `make setup-dev` has not seen it yet
    playwright = None  # type: ignore[assignment]

RATE = 24_000

#: What is waited for comes within some seconds; this is for a machine under load.
PATIENCE_MS = 40_000

#: How often it is looked at what the browser told.
LOOK_MS = 20

#: The fake microphone hears a file, over and over; sound starts without a click.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


#: Null engines: a reply of 20 words is written in half a second and takes 3.2 s to hear.
ENGINES = {
    "ANTIPHON_LLM__OPTIONS": '{"first_word_s": 0.1, "word_interval_s": 0.02}',
    "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.05, "word_audio_s": 0.16}',
    "ANTIPHON_TURN__ECHO_SETTLE_S": "0",
}


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For all tests that leave it running."""
    with open_house(tmp_path_factory.mktemp("page"), workers=1, env=ENGINES) as house:
        yield house


@dataclass
class Visit:
    """A page in the browser, and what it complained of."""

    page: Any
    forgives: tuple[str, ...] = ()
    """What it may complain of."""
    complaints: list[str] = field(default_factory=list)

    def state(self, of: str) -> Any:
        """Something of what the page shows to the console: antiphon.…"""
        return self.page.evaluate(f"() => antiphon.{of}")

    def until(self, true: str, what: str = "") -> None:
        """Waits until an expression holds in the page."""
        try:
            self.page.wait_for_function(
                f"() => {{ const {{ call, conversation }} = antiphon; return {true}; }}", timeout=PATIENCE_MS
            )
        except playwright.TimeoutError:
            seen = self.page.evaluate(
                "() => ({ phase: antiphon.conversation.phase, state: antiphon.conversation.state,"
                " said: document.querySelector('#lines').innerText })"
            )
            raise AssertionError(f"waited in vain for {what or true}: {seen}; {self.complaints}") from None

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """The same of what the test itself was told by the browser, which tells only while it is waited for."""
        for _ in range(PATIENCE_MS // LOOK_MS):
            if true():
                return
            self.page.wait_for_timeout(LOOK_MS)
        raise AssertionError(f"waited in vain for {what}; {self.complaints}")

    def until_phase(self, phase: str) -> None:
        self.until(f"conversation.phase === '{phase}'")

    def lines(self) -> list[dict[str, Any]]:
        """What was said, as the page has it."""
        return list(self.state("conversation.transcript.lines"))


Open = Callable[..., Visit]


@pytest.fixture(scope="package")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what microphones hear."""
    return tmp_path_factory.mktemp("sounds")


@pytest.fixture(scope="package")
def browsers(sounds: Path) -> Iterator[Callable[..., Any]]:
    """A browser whose microphone hears something, over and over, with more arguments; the same for the same name."""
    program = programs.browser() or missing("a Chromium (Debian: the package chromium; make setup-dev)")
    if playwright is None:
        missing("playwright (make setup-dev)")
    running: dict[str, Any] = {}
    with ExitStack() as stack:
        driver = stack.enter_context(playwright.sync_playwright())

        def hearing(name: str, pcm: npt.NDArray[np.float32], *more: str) -> Any:
            if name not in running:
                soundfile.write(sounds / f"{name}.wav", pcm, RATE, subtype="PCM_16")
                arguments = [*ARGUMENTS, *more, f"--use-file-for-fake-audio-capture={sounds / name}.wav"]
                running[name] = driver.chromium.launch(
                    executable_path=program, headless=False, args=arguments
                )
                stack.callback(running[name].close)
            return running[name]

        yield hearing


def voice_at(begin_s: float, length_s: float, over_s: float) -> npt.NDArray[np.float32]:
    """A quiet room in which somebody hums once."""
    pcm = np.zeros(int(over_s * RATE), np.float32)
    voice = np.frombuffer(hum(int(length_s * RATE), 0), "<i2").astype(np.float32) / 32768
    pcm[int(begin_s * RATE) : int(begin_s * RATE) + len(voice)] = voice
    return pcm


@pytest.fixture
def open_page(browsers: Any) -> Iterator[Open]:
    """Opens the page in a fresh profile. A page that wrote an error to its console fails the test."""
    with ExitStack() as stack:
        visits: list[Visit] = []

        def opened(
            house: House,
            *,
            browser: Any = None,
            at: str = "",
            wishes: str = "{}",
            before: Callable[[Any], None] = lambda _: None,
            forgives: tuple[str, ...] = (),
            host: str = "localhost",
            **context: Any,
        ) -> Visit:
            hearing = browser or browsers("hum", voice_at(3.0, 1.3, 12.0))
            profile = hearing.new_context(
                **{"viewport": {"width": 1200, "height": 820}, "locale": "en-GB", **context}
            )
            stack.callback(profile.close)
            profile.add_init_script(
                f"localStorage.getItem('antiphon.wishes') ?? localStorage.setItem('antiphon.wishes', '{wishes}')"
            )
            visit = Visit(profile.new_page(), forgives)
            visit.page.set_default_timeout(PATIENCE_MS)
            listen(visit)
            before(visit.page)
            visit.page.goto(f"http://{host}:{house.port}/{at}")
            visits.append(visit)
            return visit

        yield opened
        assert [visit.complaints for visit in visits if visit.complaints] == []


def listen(visit: Visit) -> None:
    """Notes what it complains of."""

    def console(message: Any) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in visit.forgives):
            visit.complaints.append(f"{message.text} {message.location}")

    visit.page.on("console", console)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))


#: So loud is something that is heard, at the AnalyserNode before the loudspeaker.
AUDIBLE = 0.01

#: Nobody is greeted, so that the first turn is the user's.
UNGREETED = json.dumps({"greet": False})

#: How loud the sound is that goes to the loudspeaker.
LOUDNESS = """() => {
  const meter = antiphon.conversation.player?.meter;
  if (!meter) return 0;
  const samples = new Float32Array(meter.fftSize);
  meter.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length);
}"""

LOUD = f"() => ({LOUDNESS})() > {AUDIBLE}"


def talks(visit: Visit) -> None:
    visit.page.click("#talk")
    visit.until("conversation.state.link === 'live'", "a connection")


def said(visit: Visit, who: str) -> list[str]:
    return [line["text"].strip() for line in visit.lines() if line["who"] == who and line["state"] != "open"]
