/**
 * The state of the page: a pure reducer. What happened goes in, the next state comes out; what is not listed changes
 * nothing. The phase that people see follows from the state, so that no two facts can contradict each other.
 */

/**
 * @typedef {"idle"|"asking"|"connecting"|"queued"|"live"|"reconnecting"|"failed"} Link
 * @typedef {"idle"|"asking"|"connecting"|"queued"|"listening"|"hearing"|"thinking"|"speaking"|"muted"|"reconnecting"|"failed"} Phase
 *
 * @typedef {object} State
 * @property {Link} link how far the way to the server is
 * @property {number} place in the line, while queued
 * @property {string} reason a key of strings.js: why it failed or ended, or why the connection is being made again
 * @property {string} detail the server's own words about it
 * @property {boolean} voice the user speaks
 * @property {boolean} waiting the user's turn is over and nothing is heard of a reply yet
 * @property {string} reply the response under way; empty: none
 * @property {boolean} sounding a reply is heard
 * @property {boolean} held the server holds it, for the user may be barging in
 * @property {boolean} closed the user shut the microphone
 *
 * @typedef {{type: "talk"}|{type: "granted"}|{type: "connected"}|{type: "queued", place: number}|{type: "served"}
 *   |{type: "voice_began"}|{type: "voice_ended"}|{type: "nothing_said"}|{type: "reply_began", id: string}|{type: "reply_sounds"}
 *   |{type: "held"}|{type: "released"}|{type: "reply_ended", id: string, cut: boolean}|{type: "fell_silent"}
 *   |{type: "lost", reason: string, detail?: string}|{type: "failed", reason: string, detail?: string}|{type: "ended", reason?: string}
 *   |{type: "mic", closed: boolean}} Happening
 */

/** @type {Readonly<State>} */
export const BEGINNING = Object.freeze({
  link: "idle", place: 0, reason: "", detail: "",
  voice: false, waiting: false, reply: "", sounding: false, held: false, closed: false,
});

/** Of a turn nothing is left. */
const QUIET = Object.freeze({ voice: false, waiting: false, reply: "", sounding: false, held: false });

/**
 * @param {Readonly<State>} state
 * @param {Happening} happening
 * @returns {Readonly<State>}
 */
export function advance(state, happening) {
  switch (happening.type) {
    case "talk":
      return canTalk(state) ? { ...BEGINNING, link: "asking", closed: state.closed } : state;
    case "ended":
      return { ...BEGINNING, closed: state.closed, reason: happening.reason ?? "" };
    case "failed":
      return { ...BEGINNING, closed: state.closed, link: "failed", reason: happening.reason, detail: happening.detail ?? "" };
    case "mic":
      return { ...state, closed: happening.closed };
    case "granted":
      return state.link === "asking" ? { ...state, link: "connecting" } : state;
    default:
      return underWay(state) ? advanceUnderWay(state, happening) : state;
  }
}

/**
 * @param {Readonly<State>} state
 * @param {Happening} happening
 * @returns {Readonly<State>}
 */
function advanceUnderWay(state, happening) {
  switch (happening.type) {
    case "connected":
      return { ...state, ...QUIET, link: "live", place: 0, reason: "", detail: "" };
    case "queued":
      return { ...state, ...QUIET, link: "queued", place: happening.place };
    case "served":
      return state.link === "queued" ? { ...state, link: "live", place: 0 } : state;
    case "lost":
      return { ...state, ...QUIET, link: "reconnecting", reason: happening.reason, detail: happening.detail ?? "" };
    default:
      return state.link === "live" ? advanceTalk(state, happening) : state;
  }
}

/**
 * @param {Readonly<State>} state
 * @param {Happening} happening
 * @returns {Readonly<State>}
 */
function advanceTalk(state, happening) {
  switch (happening.type) {
    case "voice_began":
      return { ...state, voice: true, waiting: false };
    case "voice_ended":
      return { ...state, voice: false, waiting: true };
    case "nothing_said":
      return { ...state, waiting: false };
    case "reply_began":
      return { ...state, waiting: false, reply: happening.id, sounding: false, held: false };
    case "reply_sounds":
      return state.reply ? { ...state, sounding: true } : state;
    case "held":
      return state.reply ? { ...state, held: true } : state;
    case "released":
      return { ...state, held: false };
    case "reply_ended":
      if (happening.id !== state.reply) return state;
      return { ...state, reply: "", held: false, sounding: state.sounding && !happening.cut };
    case "fell_silent":
      return { ...state, sounding: false };
    default:
      return state;
  }
}

/** @param {Readonly<State>} state @returns {Phase} */
export function phaseOf(state) {
  if (state.link !== "live") return state.link;
  if (state.held) return "muted";
  if (state.voice) return "hearing";
  if (state.sounding) return "speaking";
  return state.waiting || state.reply ? "thinking" : "listening";
}

/** Whether the button says "Talk". @param {Readonly<State>} state */
export function canTalk(state) {
  return state.link === "idle" || state.link === "failed";
}

/** A connection stands, or is being made. @param {Readonly<State>} state */
export function underWay(state) {
  return !canTalk(state) && state.link !== "asking";
}
