/** A recording of somebody's voice: cut to what is wanted, and written as a WAV file. Pure. */

import { toPcm16 } from "./audio_bytes.js";

/** Of recordings here. */
export const RATE = 24_000;

/** What the server takes, in seconds. */
export const SHORTEST_S = 3;
export const LONGEST_S = 30;

/**
 * From `begin_s` to `end_s`, as far as there is something.
 * @param {Float32Array} samples @param {number} begin_s @param {number} end_s
 */
export function cut(samples, begin_s, end_s) {
  return samples.slice(Math.max(0, Math.round(begin_s * RATE)), Math.max(0, Math.round(end_s * RATE)));
}

/** Why it cannot become a voice: a key of strings.js; empty: it can. @param {number} length_s */
export function unfit(length_s) {
  if (length_s < SHORTEST_S) return "sampleShort";
  return length_s > LONGEST_S ? "sampleLong" : "";
}

/** One after the other. @param {Float32Array[]} pieces */
export function joined(pieces) {
  const whole = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A WAV file of 16 bits, mono. @param {Float32Array} samples @returns {Uint8Array<ArrayBuffer>} */
export function wav(samples) {
  const pcm = toPcm16(samples);
  const file = new Uint8Array(44 + pcm.length);
  const view = new DataView(file.buffer);
  const name = (/** @type {number} */ at, /** @type {string} */ text) => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  name(0, "RIFF");
  view.setUint32(4, 36 + pcm.length, true);
  name(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // length of what describes the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  name(36, "data");
  view.setUint32(40, pcm.length, true);
  file.set(pcm, 44);
  return file;
}
