/**
 * Whether the far side is still there. A browser answers the server's pings by itself and tells the page nothing, so a
 * page that only listens would wait for ever where a connection died without a word. Pure: moments are handed in.
 */

/** Nothing was heard for so long: the server is asked something. */
export const ASK_MS = 6_000;

/** No answer takes longer. Stalls of 10 s are waited out; a server that is gone is noticed within 18 s. */
export const ANSWER_MS = 11_000;

/** The same where the page has just come back from sleep, or the network: most connections are dead then. */
export const DOUBT_MS = 4_000;

/** In the line nothing is answered, and only changes are told. */
export const LINE_MS = 120_000;

/** How often it is looked at. */
export const LOOK_MS = 1_000;

/** Between two looks so far apart the page slept, and what has come since waits to be read. */
const SLEPT_MS = 5_000;

export class Pulse {
  /** @param {number} now_ms */
  constructor(now_ms) {
    this.heard_ms = now_ms;
    this.looked_ms = now_ms;
    this.asked_ms = NaN;
    this.patience_ms = ANSWER_MS;
    /** It stands in the line. */
    this.queued = false;
  }

  /** Something came, whatever it says. @param {number} now_ms */
  heard(now_ms) {
    this.heard_ms = now_ms;
    this.asked_ms = NaN;
  }

  /** It may be dead: it is to be asked now, and has less time. @param {number} now_ms */
  doubt(now_ms) {
    this.asked_ms = now_ms;
    this.looked_ms = now_ms;
    this.patience_ms = DOUBT_MS;
  }

  /** @param {number} now_ms @returns {"well"|"ask"|"gone"} */
  look(now_ms) {
    const slept = now_ms - this.looked_ms > SLEPT_MS;
    this.looked_ms = now_ms;
    if (this.queued) return !slept && now_ms - this.heard_ms > LINE_MS ? "gone" : "well";
    if (!slept && now_ms - this.asked_ms >= this.patience_ms) return "gone";
    const asks = slept || (Number.isNaN(this.asked_ms) && now_ms - this.heard_ms >= ASK_MS);
    if (!asks) return "well";
    this.asked_ms = now_ms;
    this.patience_ms = ANSWER_MS;
    return "ask";
  }
}
