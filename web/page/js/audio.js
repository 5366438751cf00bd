/** The one AudioContext of the page, with its worklets. Browsers want it begun by a click. */

import { backoff } from "./retry.js";

/** A browser that was pressed for sound gives it at once, or never says so. */
const SOUND_MS = 3_000;

/** What a user does that a browser takes for "sound is wanted". */
const GESTURES = ["pointerup", "keydown"];

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
  void resume(context); // before anything is awaited: Safari takes no later moment for that of the press
  context.addEventListener("statechange", () => void resume(context));
  try {
    await Promise.all(["capture", "playback"].map((name) => context.audioWorklet.addModule(new URL(`./${name}_worklet.js`, import.meta.url))));
  } catch (error) {
    await context.close(); // a browser has few of them
    throw error;
  }
  for (const gesture of GESTURES) addEventListener(gesture, () => void resume(context), { passive: true });
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

/**
 * A context that the system stopped goes on as soon as it may: after a telephone call ("interrupted", in Safari alone),
 * or with the next gesture where a browser wants one.
 * @param {AudioContext} context
 */
async function resume(context) {
  if (context.state === "running" || context.state === "closed") return;
  await context.resume().catch(() => undefined); // not yet
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
