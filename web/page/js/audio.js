/** The one AudioContext of the page, with its worklets. Browsers want it begun by a click. */

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
  await Promise.all(["capture", "playback"].map((name) => context.audioWorklet.addModule(new URL(`./${name}_worklet.js`, import.meta.url))));
  return context;
}

/** When a moment of the context is, by the page's clock. @param {AudioContext} context @param {number} at_s */
export function pageTime(context, at_s) {
  return performance.now() + (at_s - context.currentTime) * 1000;
}

/** @param {AudioContext} context @param {string} device empty: the system's */
export async function hearBy(context, device) {
  if ("setSinkId" in context && typeof context.setSinkId === "function") await context.setSinkId(device).catch(() => undefined);
}
