/** What the user chose, kept in this browser; and the session that follows from it. */

import { speaker } from "./cast.js";

/** @typedef {import("./server.js").Voice} Voice */

/** So the names of cloned voices begin. */
export const CLONED = "custom:";

const KEPT_AS = "antiphon.wishes";

export const DEFAULTS = Object.freeze({
  voice: "", instructions: "", language: "", microphone: "", speaker: "", volume: 1, push: false, greet: true,
  theme: "", ui: "", shortcuts: true, announce: true, subtitles: true,
  /** Consent is asked for each time, so these are not kept. */
  words: false, sound: false, keepsake: false,
});

const ASKED_EACH_TIME = { words: false, sound: false, keepsake: false };

/** @typedef {{-readonly [Name in keyof typeof DEFAULTS]: typeof DEFAULTS[Name] extends boolean ? boolean : typeof DEFAULTS[Name] extends number ? number : string}} Wishes */

/** @returns {Wishes} */
export function kept() {
  /** @type {Record<string, unknown>} */
  let found = {};
  try {
    found = JSON.parse(localStorage.getItem(KEPT_AS) ?? "{}");
  } catch {
    // written by somebody else, or storage is not allowed: the defaults do
  }
  const fits = Object.entries(DEFAULTS).filter(([name, value]) => typeof found[name] === typeof value);
  return { ...DEFAULTS, ...Object.fromEntries(fits.map(([name]) => [name, found[name]])), ...ASKED_EACH_TIME };
}

/** @param {Wishes} wishes */
export function keep(wishes) {
  const rest = { ...wishes, ...ASKED_EACH_TIME };
  if (rest.voice.startsWith(CLONED)) rest.voice = ""; // it lives for an hour
  try {
    localStorage.setItem(KEPT_AS, JSON.stringify(rest));
  } catch {
    // a browser that keeps nothing: the choice holds until the page is left
  }
}

/**
 * A session as the wire has it. The server knows what a character is told; own instructions count instead of that.
 * @param {Wishes} wishes
 * @param {Voice[]} voices
 * @param {boolean} opus
 * @param {boolean} resuming who answers is settled then: the voice is locked, and the server remembers the rest
 */
export function session(wishes, voices, opus, resuming) {
  const voice = speaker(voices, wishes.voice);
  const name = wishes.voice.startsWith(CLONED) ? wishes.voice : voice?.name;
  const format = opus ? { type: "audio/opus" } : { type: "audio/pcm", rate: 24_000 };
  const turn_detection = wishes.push ? null : { type: "semantic_vad" };
  return {
    type: "realtime",
    ...(resuming ? {} : { instructions: wishes.instructions.trim() }),
    audio: {
      input: { format, turn_detection, transcription: { model: "antiphon", language: wishes.language } },
      output: { format, ...(resuming || !name ? {} : { voice: name }) },
    },
    antiphon: {
      allow_recording: wishes.words,
      record_audio: wishes.words && wishes.sound,
      ...(resuming || !voice ? {} : { character: voice.name }),
    },
  };
}
