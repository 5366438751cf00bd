/** What closes and refusals mean, when a connection is dead, what may be believed of a server, and what was typed meanwhile. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ANSWER_MS, ASK_MS, DOUBT_MS, LINE_MS, LOOK_MS, Pulse } from "../../web/page/js/pulse.js";
import * as reading from "../../web/page/js/reading.js";
import { afterClose, afterRefusal, afterSilence, backoff, TAKEN } from "../../web/page/js/retry.js";
import { Typed } from "../../web/page/js/typed.js";

// --- what a close means

const RESUMING = { attempt: 0, resuming: true };

for (const [code, then, reason, forgets] of /** @type {const} */ ([
  [1000, "ended", "", true], [1008, "failed", "dismissed", true], [1013, "again", "full", false], [1012, "again", "lost", false],
  [1006, "again", "lost", false], [1011, "again", "lost", false], [4404, "again", "forgotten", true], [4999, "again", "lost", false],
])) {
  test(`a close with ${code}: ${then}, ${reason}`, () => {
    const verdict = afterClose({ code, reason: "" }, RESUMING, 0.5);
    assert.deepEqual([verdict.then, verdict.reason, verdict.forget], [then, reason, forgets]);
  });
}

test("who was replaced by a later connection does not take the conversation back, but could", () => {
  const verdict = afterClose({ code: 1012, reason: TAKEN }, RESUMING, 0.5);
  assert.deepEqual([verdict.then, verdict.reason, verdict.forget], ["ended", "elsewhere", false]);
});

test("who waited in the line in vain has nothing to go on with, and stands at its end at once", () => {
  const [waited, refused] = [true, false].map((queued) => afterClose({ code: 1013, reason: "" }, { ...RESUMING, queued }, 0.5));
  assert.ok(waited.forget && !refused.forget);
  assert.ok(waited.wait_ms < refused.wait_ms);
});

test("nobody is told that a conversation is kept where there was none", () => {
  assert.equal(afterClose({ code: 1006, reason: "" }, { attempt: 0, resuming: false }, 0.5).reason, "broken");
});

for (const [status, code, attempt, then, reason, forgets] of /** @type {const} */ ([
  [0, "", 0, "again", "away", false], [503, "redis_away", 3, "again", "away", false], [401, "invalid_api_key", 0, "failed", "key_", false],
  [403, "not_allowed", 0, "failed", "refused", false], [403, "session_unknown", 0, "again", "forgotten", true], [429, "rate_limit_exceeded", 0, "again", "limited", false],
  [405, "method_not_allowed", 0, "again", "lost", false], [405, "method_not_allowed", 1, "again", "noSocket", false], [200, "", 5, "again", "noSocket", false],
])) {
  test(`a connection that is refused where the door says ${status} ${code}, at attempt ${attempt}: ${reason}`, () => {
    const verdict = afterRefusal({ status, code }, { attempt, resuming: true }, 0.5);
    assert.deepEqual([verdict.then, verdict.reason, verdict.forget], [then, reason, forgets]);
  });
}

test("a server that takes connections and never greets is called strange, but not the first time", () => {
  assert.deepEqual([0, 1].map((attempt) => afterSilence(true, { attempt, resuming: true }, 0.5).reason), ["away", "strange"]);
  assert.equal(afterSilence(false, { attempt: 3, resuming: true }, 0.5).reason, "away");
});

test("waits double and end at some seconds", () => {
  assert.ok(backoff(0, 0.5) < backoff(1, 0.5));
  assert.ok(backoff(1000, 1) < 12_000);
});

// --- whether somebody is there

/** What is found at each look. @param {Pulse} pulse @param {number} from_ms @param {number} to_ms */
function looks(pulse, from_ms, to_ms) {
  const found = [];
  for (let now = from_ms; now <= to_ms; now += LOOK_MS) found.push(/** @type {const} */ ([now, pulse.look(now)]));
  return found.filter(([, verdict]) => verdict !== "well");
}

test("a server that is gone is asked once, and given up within 18 s", () => {
  const [[, first], [gone_ms, second]] = looks(new Pulse(0), 0, 18_000);
  assert.deepEqual([first, second], ["ask", "gone"]);
  assert.ok(gone_ms <= ASK_MS + ANSWER_MS + 2 * LOOK_MS);
});

test("a server that stalls for 10 s at any moment is not given up", () => {
  for (let begins_ms = 0; begins_ms < 20_000; begins_ms += 500) {
    const pulse = new Pulse(0);
    let asked = NaN;
    for (let now = 0; now < 60_000; now += 250) {
      const stalls = now >= begins_ms && now < begins_ms + 10_000;
      if (!stalls && asked <= now) {
        pulse.heard(now);
        asked = NaN;
      }
      if (now % LOOK_MS) continue;
      const verdict = pulse.look(now);
      assert.notEqual(verdict, "gone", `a stall at ${begins_ms}`);
      if (verdict === "ask") asked = now;
    }
  }
});

test("a page that slept asks first: what came meanwhile waits to be read", () => {
  const pulse = new Pulse(0);
  looks(pulse, 0, ASK_MS + 2 * LOOK_MS);
  const [awake, ...later] = looks(pulse, 100_000, 100_000 + ANSWER_MS - LOOK_MS);
  assert.deepEqual(awake, [100_000, "ask"]);
  assert.deepEqual(later, []);
});

test("who doubts waits for less", () => {
  const pulse = new Pulse(0);
  pulse.doubt(50_000);
  assert.deepEqual(looks(pulse, 50_000, 50_000 + DOUBT_MS).map(([, verdict]) => verdict), ["gone"]);
  pulse.doubt(90_000);
  pulse.heard(90_100);
  assert.deepEqual(looks(pulse, 91_000, 95_000), []);
});

test("in the line nobody is asked, and nobody waits for ever", () => {
  const pulse = new Pulse(0);
  pulse.queued = true;
  const [[gone_ms, verdict]] = looks(pulse, 0, 2 * LINE_MS);
  assert.deepEqual([verdict, gone_ms > LINE_MS], ["gone", true]);
});

// --- what may be believed

/** @type {unknown[]} */
const ODD = [null, undefined, 5, NaN, -1, Infinity, 1e300, "", "x".repeat(1 << 20), {}, [], { toString: 5 }, true];

test("of what a server says only what fits is taken", () => {
  for (const value of ODD) {
    for (const read of [reading.id, reading.place, reading.list, reading.ms]) {
      try {
        const found = read(value);
        assert.ok(found !== null && found !== undefined && !Number.isNaN(found) && found !== -1 && found !== 1e300);
      } catch (error) {
        assert.ok(error instanceof reading.Unreadable, String(error));
      }
    }
  }
  assert.deepEqual([reading.text("a"), reading.id("b"), reading.ms(2.5), reading.place(3), reading.list([4])], ["a", "b", 2.5, 3, [4]]);
  assert.throws(() => reading.text("x".repeat(1 << 20)));
});

// --- what was typed

function typing() {
  /** @type {any[]} */
  const sent = [];
  const typed = new Typed((event) => sent.push(event) > 0);
  return { typed, sent, types: () => sent.splice(0).map((event) => event.type.replace("conversation.", "")) };
}

test("what was typed is told again until it arrives, by the same name, and answered once", () => {
  const { typed, sent, types } = typing();
  const id = typed.add("Hello");
  typed.tell(id);
  typed.tellAll();
  assert.deepEqual(sent.map((event) => event.item.id), [id, id]);
  types();
  typed.arrived(id);
  typed.arrived(id);
  typed.tellAll();
  assert.deepEqual(types(), ["response.create"]);
});

test("what had arrived before is not asked for again", () => {
  const { typed, types } = typing();
  const id = typed.add("Hello");
  assert.equal(typed.complained({ event_id: id, code: "item_create_duplicate_item_id" }), "");
  typed.tellAll();
  assert.deepEqual(types(), []);
});

test("what is refused is not told again", () => {
  const { typed } = typing();
  assert.equal(typed.complained({ event_id: typed.add("Hello"), code: "string_above_max_length" }), "refused");
  assert.deepEqual(typed.empty(), []);
});

test("what was typed into the beginning of a reply is answered after it", () => {
  const { typed, sent, types } = typing();
  typed.arrived(typed.add("Hello"));
  assert.equal(typed.complained({ event_id: sent[0].event_id, code: "conversation_already_has_active_response" }), "later");
  types();
  typed.replyEnded();
  typed.replyEnded();
  assert.deepEqual(types(), ["response.create"]);
});

test("nobody types without end while nothing leaves, and nothing is lost", () => {
  const { typed } = typing();
  const taken = Array.from({ length: 100 }, (_, at) => typed.add(`${at}`)).filter(Boolean);
  assert.ok(taken.length < 100);
  assert.deepEqual(typed.empty().map(([, text]) => text), taken.map((_, at) => `${at}`));
});
