/** What a lost connection means, and when to try again. Pure. */

/** The server keeps a conversation that long for who comes back. */
export const RESUME_MS = 120_000;

/** Waits between attempts double from the first to the second of these. */
const FIRST_MS = 300;
const LONGEST_MS = 8_000;

/** Who was told that there is no place asks again after so long. */
const FULL_MS = 10_000;

/**
 * @typedef {object} Verdict
 * @property {"ended"|"failed"|"again"} then
 * @property {string} reason a key of strings.js
 * @property {boolean} forget the resume token is good for nothing any more
 * @property {number} wait_ms before the next attempt
 */

/**
 * What follows from a close code, of a connection that stood.
 * @param {number} code
 * @param {number} attempt how often it was tried since it last stood
 * @param {number} chance from 0 to 1
 * @returns {Verdict}
 */
export function afterClose(code, attempt, chance) {
  switch (code) {
    case 1000:
      return { then: "ended", reason: "ended", forget: true, wait_ms: 0 };
    case 1003: case 1007: case 1008: case 1009:
      return { then: "failed", reason: "dismissed", forget: true, wait_ms: 0 };
    case 1013:
      return { then: "again", reason: "full", forget: false, wait_ms: FULL_MS };
    case 4404:
      return { then: "again", reason: "forgotten", forget: true, wait_ms: FIRST_MS };
    default:
      return { then: "again", reason: "lost", forget: false, wait_ms: backoff(attempt, chance) };
  }
}

/**
 * What follows when the connection could not be made: from what plain HTTP is answered, for a browser does not tell
 * why a WebSocket was refused.
 * @param {number} status of an HTTP request with the same key; 0: nobody answered
 * @param {boolean} resuming a token was shown
 * @param {number} attempt
 * @param {number} chance
 * @returns {Verdict}
 */
export function afterRefusal(status, resuming, attempt, chance) {
  if (status === 401) return { then: "failed", reason: "key", forget: false, wait_ms: 0 };
  if (status === 403) return { then: "failed", reason: "refused", forget: false, wait_ms: 0 };
  if (status === 429) return { then: "again", reason: "limited", forget: false, wait_ms: FULL_MS };
  if (status >= 200 && status < 300 && resuming && attempt > 0) {
    return { then: "again", reason: "forgotten", forget: true, wait_ms: 0 };
  }
  return { then: "again", reason: status ? "lost" : "away", forget: false, wait_ms: backoff(attempt, chance) };
}

/**
 * Doubling, and spread so that not all come back at once.
 * @param {number} attempt
 * @param {number} chance
 */
export function backoff(attempt, chance) {
  const wait = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(wait * (0.7 + 0.6 * chance));
}
