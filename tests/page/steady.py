"""A long conversation in the browser, measured, where nothing else is done.

python -m tests.page.steady [MINUTES] [--engines embedded]
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from tests import speech
from tests.house import House, open_house
from tests.page import programs
from tests.page.conftest import ARGUMENTS, ENGINES, RATE, voice_at

#: Those that understand and speak, in place of the null ones.
EMBEDDED = {"ANTIPHON_PROFILE": "embedded", "ANTIPHON_LLM__OPTIONS": "{}", "ANTIPHON_TTS__OPTIONS": "{}"}

#: They load in some seconds.
LOADING_S = 150.0

#: How often the page is looked at.
LOOK_MS = 30_000

#: By the page's own clock, from the beginning of the navigation: when the button said something and could be pressed.
INTERACTIVE = """
new MutationObserver((_, observer) => {
  const talk = document.querySelector("#talk");
  if (!talk?.textContent || talk.disabled || !globalThis.antiphon) return;
  performance.mark("usable");
  observer.disconnect();
}).observe(document, { childList: true, subtree: true, characterData: true, attributes: true });
"""

LOADED = """() => {
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return {
    interactive_ms: Math.round(performance.getEntriesByName("usable")[0]?.startTime ?? NaN),
    transferred_kb: Math.round(entries.reduce((sum, one) => sum + one.transferSize, 0) / 102.4) / 10,
    requests: entries.length,
  };
}"""

#: What the page counted, and what the browser did of its sound.
COUNTED = """() => {
  const { call, conversation } = antiphon;
  const { latency, player, transcript } = conversation;
  const round = (value) => Math.round(value * 10) / 10;
  const of = (all) => ({
    p50: round(all.quantile(0.5)), p95: round(all.quantile(0.95)), p99: round(all.quantile(0.99)),
    max: round(all.quantile(1)), count: all.count,
  });
  const { underrunEvents = null, underrunDuration = null } = call.context.playbackStats ?? {};
  return {
    capture_to_socket_ms: of(latency.outward), socket_to_speaker_ms: of(latency.inward),
    muted_after_ms: of(latency.mute),
    underruns: player.last.underruns, buffer_target_ms: player.last.target_ms,
    device: {
      rate: call.context.sampleRate, underruns: underrunEvents, underrun_s: underrunDuration,
      output_latency_ms: round(1000 * call.context.outputLatency),
      base_latency_ms: round(1000 * call.context.baseLatency),
    },
    packets_sent: globalThis.packets.sent, packets_dropped: globalThis.packets.dropped,
    opus: conversation.opus,
    turns: transcript.lines.filter((line) => line.who === "them").length,
    cut: transcript.lines.filter((line) => line.who === "them" && line.state === "cut").length,
  };
}"""

#: Counts the packets of the microphone that left, and those that did not though somebody listened.
PACKETS = """() => {
  const { conversation } = antiphon;
  globalThis.packets = { sent: 0, dropped: 0 };
  const { sendAudio } = conversation.rim;
  conversation.rim.sendAudio = (event) => {
    const left = sendAudio(event);
    packets[left ? "sent" : "dropped"] += 1;
    return left;
  };
}"""


def room(engines: str) -> Any:
    """Twelve seconds in which somebody speaks once, and coughs into the answer."""
    if engines == "embedded":
        return np.concatenate([np.zeros(RATE, np.float32), speech.recording("beckett"), speech.silence(12)])
    return np.maximum(voice_at(1.0, 1.3, 12.0), voice_at(4.5, 0.15, 12.0))


def memory(session: Any) -> dict[str, float]:
    """Of JavaScript, after a collection: megabytes, and elements."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {"heap_mb": round(metrics["JSHeapUsedSize"] / 2**20, 2), "nodes": int(metrics["Nodes"])}


def slope(looks: list[dict[str, float]]) -> float:
    """By how many megabytes the heap grows in an hour, the first look left out."""
    heaps = [one["heap_mb"] for one in looks[1:]]
    if len(heaps) < 2:
        return float("nan")
    return round(float(np.polyfit(np.arange(len(heaps)) * LOOK_MS / 3.6e6, heaps, 1)[0]), 2)


def measure(page: Any, house: House, minutes: float) -> dict[str, Any]:
    """Opens the page, talks, looks."""
    page.add_init_script(INTERACTIVE)
    page.goto(f"http://localhost:{house.port}/")
    page.wait_for_function("() => performance.getEntriesByName('usable').length")
    page.wait_for_load_state("networkidle")
    loaded = page.evaluate(LOADED)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(PACKETS)
    page.click("#talk")
    looks, load = [], []
    for _ in range(max(2, round(minutes * 60_000 / LOOK_MS) + 1)):
        page.wait_for_timeout(LOOK_MS)
        looks.append(memory(session))
        load.append(round(os.getloadavg()[0], 2))
    grown = {"heap_mb": [one["heap_mb"] for one in looks], "heap_mb_per_hour": slope(looks)}
    nodes = [one["nodes"] for one in looks]
    return {**loaded, **grown, "dom_nodes": nodes, **page.evaluate(COUNTED), "load_average": load}


def main(minutes: float, engines: str) -> None:
    """Prints what was measured, as JSON."""
    program = programs.browser()
    if program is None:
        raise SystemExit("a Chromium is needed")
    if engines == "embedded" and not speech.there():
        raise SystemExit("moonshine-voice is needed, whose recordings are spoken")
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "voice.wav"
        soundfile.write(sound, room(engines), RATE, subtype="PCM_16")
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={sound}"]
        env = EMBEDDED if engines == "embedded" else ENGINES
        house = open_house(Path(work), workers=1, env=env, start_deadline_s=LOADING_S)
        with house as standing, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, headless=False, args=arguments)
            print(json.dumps(measure(browser.new_page(), standing, minutes), indent=2))
            browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=5.0)
    parser.add_argument("--engines", choices=["null", "embedded"], default="null")
    chosen = parser.parse_args()
    main(chosen.minutes, chosen.engines)
