"""A long conversation in the browser, measured, where nothing else is done: python -m tests.page.steady [MINUTES]."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile
from playwright.sync_api import sync_playwright

from tests.house import open_house
from tests.page import programs
from tests.page.conftest import ARGUMENTS, ENGINES, RATE, voice_at

#: What the page counted; the heap after a collection.
COUNTED = """() => {
  const { latency, player, transcript } = antiphon.conversation;
  const of = (all) => ({ p50: all.quantile(0.5), p95: all.quantile(0.95), count: all.values.length });
  return {
    capture_to_socket_ms: of(latency.outward), socket_to_speaker_ms: of(latency.inward),
    underruns: player.last.underruns,
    turns: transcript.lines.filter((line) => line.who === 'them').length,
  };
}"""


def heap_mb(session: Any) -> float:
    """Of JavaScript, what is in use."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return round(metrics["JSHeapUsedSize"] / 2**20, 2)


def main(minutes: float) -> None:
    """Somebody hums every 12 s and is answered."""
    program = programs.browser()
    if program is None:
        raise SystemExit("a Chromium is needed")
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "voice.wav"
        soundfile.write(sound, voice_at(1.0, 1.3, 12.0), RATE, subtype="PCM_16")
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={sound}"]
        with open_house(Path(work), workers=1, env=ENGINES) as house, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, headless=False, args=arguments)
            page = browser.new_page()
            began = time.monotonic()
            page.goto(f"http://localhost:{house.port}/")
            page.wait_for_function("() => globalThis.antiphon && document.querySelector('#talk').textContent")
            interactive_s = round(time.monotonic() - began, 2)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            page.click("#talk")
            page.wait_for_timeout(30_000)
            before = heap_mb(session)
            page.wait_for_timeout(minutes * 60_000)
            after = heap_mb(session)
            told = {"interactive_s": interactive_s, "heap_mb": [before, after], **page.evaluate(COUNTED)}
            print(json.dumps(told, indent=2))
            browser.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
