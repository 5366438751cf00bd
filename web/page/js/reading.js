/** Fields of what a server says, as they must be: one of another version may say anything. Pure. */

/** Errors that tell the user nothing: they follow from two sides acting in the same moment. */
export const HARMLESS = new Set([
  "response_cancel_not_active", "input_audio_buffer_commit_empty", "item_not_found", "conversation_already_has_active_response",
  "item_retrieve_invalid_item_id", "item_create_duplicate_item_id",
]);

/** No text on the wire is longer; a message of ours has 256 KiB at the most. */
const MOST_CHARACTERS = 1 << 18;

/** No place in a reply, or in a conversation, is further away: a day. */
const MOST_MS = 86_400_000;

/** A field is not what it must be; the event is left out. */
export class Unreadable extends Error {}

/** @param {unknown} value @returns {string} */
export function text(value) {
  if (typeof value !== "string" || value.length > MOST_CHARACTERS) throw new Unreadable(`no text: ${typeof value}`);
  return value;
}

/** @param {unknown} value @returns {string} a name, which is never empty */
export function id(value) {
  const found = text(value);
  if (!found || found.length > 200) throw new Unreadable("no id");
  return found;
}

/** @param {unknown} value @returns {number} a duration or a place in time, in ms */
export function ms(value) {
  if (typeof value !== "number" || !(value >= 0 && value <= MOST_MS)) throw new Unreadable(`no time: ${typeof value}`);
  return value;
}

/** @param {unknown} value @returns {number} from 1 */
export function place(value) {
  if (!Number.isSafeInteger(value) || Number(value) < 1) throw new Unreadable("no place");
  return Number(value);
}

/** @param {unknown} value @returns {any[]} */
export function list(value) {
  if (!Array.isArray(value)) throw new Unreadable("no list");
  return value;
}

/** @param {unknown} value @returns {number} NaN: it was not said, or makes no sense */
export function msOrNaN(value) {
  return typeof value === "number" && value >= 0 && value <= MOST_MS ? value : NaN;
}
