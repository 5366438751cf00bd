/** What people who do not see the page are told of its state: what they must know, once, and no chatter. Pure. */

/** @typedef {import("./session_state.js").Phase} Phase */

/** Who waits in the line is not told of each step forward. */
const PLACES_MS = 15_000;

/** Nothing stands yet. */
const BEFORE = new Set(["asking", "connecting", "queued"]);

/** Told as they are. The turns of a talk are heard anyway, and a browser says itself that it asks for the microphone. */
const TOLD = new Set(["queued", "reconnecting", "failed"]);

export class Announcing {
  constructor() {
    /** @type {Phase} */
    this.phase = "idle";
    this.place = 0;
    this.told_ms = -Infinity;
    this.closed = false;
    this.reason = "";
  }

  /**
   * @param {{phase: Phase, place: number, closed: boolean, reason: string}} now
   * @param {number} now_ms
   * @returns {""|"phase"|"connected"|"ended"|"shut"|"opened"} "phase": its caption and hint
   */
  of({ phase, place, closed, reason }, now_ms) {
    const before = this.phase;
    const moved = phase !== before || (phase !== "queued" && TOLD.has(phase) && reason !== this.reason);
    const toggled = closed !== this.closed;
    Object.assign(this, { phase, closed, reason });
    if (phase === "queued") return this.queued(moved, place, now_ms);
    if (moved && TOLD.has(phase)) return "phase";
    if (moved && phase === "idle") return reason ? "phase" : "ended";
    if (BEFORE.has(before) && !BEFORE.has(phase)) return "connected";
    return toggled ? (closed ? "shut" : "opened") : "";
  }

  /** The first place, the last one, and now and then one between. @param {boolean} moved @param {number} place @param {number} now_ms */
  queued(moved, place, now_ms) {
    const news = moved || (place !== this.place && (place === 1 || now_ms - this.told_ms >= PLACES_MS));
    if (!news) return "";
    this.place = place;
    this.told_ms = now_ms;
    return /** @type {const} */ ("phase");
  }
}
