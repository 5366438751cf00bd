/** The one AudioContext of the page, with its worklets. Browsers want it begun by a click. */

import { backoff } from "./retry.js";

/** A browser that was pressed for sound gives it at once, or never says so. */
const SOUND_MS = 3_000;

/** @type {Promise<AudioContext>|null} */
let opened = null;

/** @returns {Promise<AudioContext>} the same each time */
export function openAudio() {
  opened ??= begin().catch((error) => {
    opened = null;
    throw error;
  });
  return opened;
}

async function begin() {
  const context = new AudioContext({ latencyHint: "interactive" });
  try {
    await Promise.all(["capture", "playback"].map((name) => context.audioWorklet.addModule(new URL(`./${name}_worklet.js`, import.meta.url))));
  } catch (error) {
    await context.close(); // a browser has few of them
    throw error;
  }
  return context;
}

/**
 * The same where the server, from which the worklets come, may be away: it is asked until it is back.
 * @param {() => boolean} wanted
 * @param {() => void} away it did not answer, and is asked again
 * @returns {Promise<AudioContext|null>} running; null: it is not wanted any more
 */
export async function patientAudio(wanted, away) {
  for (let attempt = 0; wanted(); attempt += 1) {
    try {
      const context = await openAudio();
      await Promise.race([context.resume(), pause(SOUND_MS)]);
      return context;
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "AbortError") throw error;
      if (wanted()) away();
      await pause(backoff(attempt, Math.random()));
    }
  }
  return null;
}

/** @param {number} ms @returns {Promise<void>} */
function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

/** When a moment of the context is, by the page's clock. @param {AudioContext} context @param {number} at_s */
export function pageTime(context, at_s) {
  return performance.now() + (at_s - context.currentTime) * 1000;
}

/** @param {AudioContext} context @param {string} device empty: the system's */
export async function hearBy(context, device) {
  if ("setSinkId" in context && typeof context.setSinkId === "function") await context.setSinkId(device).catch(() => undefined);
}
