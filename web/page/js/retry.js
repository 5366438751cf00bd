/** What a lost connection means, and when to try again. Pure. */

/** The server keeps a conversation that long for who comes back. */
export const RESUME_MS = 120_000;

/** Waits between attempts double from the first to the second of these. */
const FIRST_MS = 300;
const LONGEST_MS = 8_000;

/** Who was told that there is no place asks again after so long. */
const FULL_MS = 10_000;

/** So says the server who closes a connection because a later one brought the same token: who comes back takes it away again. */
export const TAKEN = "this session goes on over another connection";

/**
 * @typedef {object} Verdict
 * @property {"ended"|"failed"|"again"} then
 * @property {string} reason a key of strings.js
 * @property {boolean} forget the resume token is good for nothing any more
 * @property {number} wait_ms before the next attempt
 *
 * @typedef {object} Effort what was tried
 * @property {number} attempt how often since it last stood for a while
 * @property {boolean} resuming there is a token
 * @property {boolean} [queued] it stood in the line
 */

/**
 * What follows from a close, of a connection that stood.
 * @param {{code: number, reason: string}} close
 * @param {Effort} effort
 * @param {number} chance from 0 to 1
 * @returns {Verdict}
 */
export function afterClose({ code, reason }, effort, chance) {
  switch (code) {
    case 1000:
      return { then: "ended", reason: "", forget: true, wait_ms: 0 };
    case 1003: case 1007: case 1008: case 1009:
      return { then: "failed", reason: "dismissed", forget: true, wait_ms: 0 };
    case 1013: // who waited in vain goes to the end of the line, and had nothing to go on with
      return { then: "again", reason: "full", forget: effort.queued === true, wait_ms: effort.queued ? FIRST_MS : FULL_MS };
    case 4404:
      return { then: "again", reason: "forgotten", forget: true, wait_ms: FIRST_MS };
    case 1012:
      if (reason === TAKEN) return { then: "ended", reason: "elsewhere", forget: false, wait_ms: 0 };
  }
  return again(effort.resuming ? "lost" : "broken", effort, chance);
}

/**
 * What follows when the connection could not be made: from what the door answers to plain HTTP.
 * @param {{status: number, code: string}} answer status 0: nobody answered
 * @param {Effort} effort
 * @param {number} chance
 * @returns {Verdict}
 */
export function afterRefusal({ status, code }, effort, chance) {
  if (status === 401) return { then: "failed", reason: "key_", forget: false, wait_ms: 0 };
  if (code === "session_unknown") return { then: "again", reason: "forgotten", forget: true, wait_ms: 0 };
  if (status === 403) return { then: "failed", reason: "refused", forget: false, wait_ms: 0 };
  if (status === 429) return { then: "again", reason: "limited", forget: false, wait_ms: FULL_MS };
  if (status === 0 || status >= 500) return again("away", effort, chance);
  return again(effort.attempt > 0 ? "noSocket" : effort.resuming ? "lost" : "broken", effort, chance);
}

/**
 * What follows when a server took the connection, or seemed to, and did not greet.
 * @param {boolean} stood it was taken
 * @param {Effort} effort
 * @param {number} chance
 */
export function afterSilence(stood, effort, chance) {
  return again(stood && effort.attempt > 0 ? "strange" : "away", effort, chance);
}

/** @param {string} reason @param {Effort} effort @param {number} chance @returns {Verdict} */
function again(reason, { attempt }, chance) {
  return { then: "again", reason, forget: false, wait_ms: backoff(attempt, chance) };
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
