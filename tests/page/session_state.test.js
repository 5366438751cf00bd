/** The reducer: what happened, and the phase that people see then. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Announcing } from "../../web/page/js/announcing.js";
import { advance, BEGINNING, canTalk, phaseOf } from "../../web/page/js/session_state.js";

/** @typedef {import("../../web/page/js/session_state.js").Happening} Happening */

/** @param {...(Happening|Happening["type"])} happenings */
const after = (...happenings) =>
  happenings.reduce((state, one) => advance(state, /** @type {Happening} */ (typeof one === "string" ? { type: one } : one)), BEGINNING);

const LIVE = /** @type {const} */ (["talk", "granted", "connected"]);
const REPLY = /** @type {const} */ ({ type: "reply_began", id: "r1" });

/** @type {[string, (Happening|Happening["type"])[], string][]} */
const TABLE = [
  ["the button asks for the microphone", ["talk"], "asking"],
  ["pressed twice it is as pressed once", ["talk", "talk"], "asking"],
  ["with the microphone the connection is made", ["talk", "granted"], "connecting"],
  ["a connection listens", [...LIVE], "listening"],
  ["a full server gives a place in the line", [...LIVE, { type: "queued", place: 3 }], "queued"],
  ["who was served is listened to", [...LIVE, { type: "queued", place: 1 }, "served"], "listening"],
  ["a voice is heard", [...LIVE, "voice_began"], "hearing"],
  ["a turn that is over is thought about", [...LIVE, "voice_began", "voice_ended"], "thinking"],
  ["a cough is not thought about for ever", [...LIVE, "voice_began", "voice_ended", "nothing_said"], "listening"],
  ["a reply is thought about until it sounds", [...LIVE, "voice_ended", REPLY], "thinking"],
  ["a reply that sounds is spoken", [...LIVE, REPLY, "reply_sounds"], "speaking"],
  ["a reply is held while the user may be barging in", [...LIVE, REPLY, "reply_sounds", "held"], "muted"],
  ["and goes on if nobody did", [...LIVE, REPLY, "reply_sounds", "held", "released"], "speaking"],
  ["an interruption is heard", [...LIVE, REPLY, "reply_sounds", "held", "voice_began", { type: "reply_ended", id: "r1", cut: true }], "hearing"],
  ["the end of a reply is still heard", [...LIVE, REPLY, "reply_sounds", { type: "reply_ended", id: "r1", cut: false }], "speaking"],
  ["until it falls silent", [...LIVE, REPLY, "reply_sounds", { type: "reply_ended", id: "r1", cut: false }, "fell_silent"], "listening"],
  ["the end of another reply changes nothing", [...LIVE, REPLY, "reply_sounds", { type: "reply_ended", id: "r0", cut: true }], "speaking"],
  ["a lost connection is made again", [...LIVE, REPLY, { type: "lost", reason: "lost" }], "reconnecting"],
  ["and what was said before is no business of the next", [...LIVE, "voice_began", { type: "lost", reason: "lost" }, "connected"], "listening"],
  ["a failure says so", [...LIVE, { type: "failed", reason: "key_" }], "failed"],
  ["and leads back to the button", ["talk", { type: "failed", reason: "micDenied" }, "talk"], "asking"],
  ["late news of a call that is over change nothing", [...LIVE, "ended", REPLY, "reply_sounds", "voice_began", "connected"], "idle"],
  ["sound of no reply is nobody's", [...LIVE, "reply_sounds"], "listening"],
];

for (const [name, happenings, phase] of TABLE) {
  test(name, () => assert.equal(phaseOf(after(...happenings)), phase));
}

test("from every state there is a way back to the button", () => {
  for (const [, happenings] of TABLE) assert.ok(canTalk(advance(after(...happenings), { type: "ended" })));
});

test("whatever happens in whatever order, the phase is one that has a name", () => {
  /** @type {Happening[]} */
  const all = [
    { type: "talk" }, { type: "granted" }, { type: "connected" }, { type: "queued", place: 1 }, { type: "served" }, { type: "voice_began" },
    { type: "voice_ended" }, { type: "nothing_said" }, REPLY, { type: "reply_sounds" }, { type: "held" }, { type: "released" },
    { type: "reply_ended", id: "r1", cut: true }, { type: "fell_silent" }, { type: "lost", reason: "lost" }, { type: "ended" },
  ];
  let state = BEGINNING;
  let seed = 7;
  for (let step = 0; step < 20_000; step++) {
    seed = (seed * 48_271) % 2_147_483_647;
    state = advance(state, all[seed % all.length]);
    assert.ok(state.held ? state.reply : true, "nothing is held but a reply");
    assert.ok(state.link === "live" || !(state.voice || state.sounding || state.waiting), "turns are of a connection");
  }
});

test("the microphone stays shut over a lost connection and over calls", () => {
  assert.ok(after(...LIVE, { type: "mic", closed: true }, { type: "lost", reason: "lost" }, "connected", "ended", "talk").closed);
});

// --- what who does not see the page is told

/** @param {import("../../web/page/js/session_state.js").Phase} phase @param {object} [rest] */
const now = (phase, rest = {}) => ({ phase, place: 0, closed: false, reason: "", ...rest });

test("of a talk only its beginning and its end are told", () => {
  const told = new Announcing();
  const phases = /** @type {const} */ (["idle", "asking", "connecting", "listening", "hearing", "thinking", "speaking", "muted", "hearing", "listening", "idle"]);
  assert.deepEqual(phases.map((phase, at) => told.of(now(phase), at * 1000)).filter(Boolean), ["connected", "ended"]);
});

test("a place in the line is told first, then seldom, and when it is the next", () => {
  const told = new Announcing();
  const places = [[9, 0], [8, 1000], [7, 2000], [6, 16_000], [5, 17_000], [1, 18_000], [1, 19_000]];
  assert.deepEqual(places.filter(([place, ms]) => told.of(now("queued", { place }), ms)).map(([place]) => place), [9, 6, 1]);
  assert.equal(told.of(now("thinking"), 20_000), "connected");
});

test("why it is lost is told again only if it is lost for another reason", () => {
  const told = new Announcing();
  const reasons = ["lost", "lost", "away", "away"];
  assert.deepEqual(reasons.map((reason) => told.of(now("reconnecting", { reason }), 0)), ["phase", "", "phase", ""]);
  assert.equal(told.of(now("listening"), 1), "", "the transcript says that it goes on");
});

test("a microphone that is shut by a key is told", () => {
  const told = new Announcing();
  assert.deepEqual([told.of(now("idle", { closed: true }), 0), told.of(now("idle"), 0)], ["shut", "opened"]);
});
