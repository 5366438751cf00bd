/** Sound over networks as they are: how late it is heard, and how often it runs dry. Time is counted in blocks. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { JitterBuffer } from "../../web/page/js/jitter_buffer.js";
import { SoftEdges } from "../../web/page/js/soft_edges.js";

const RATE = 24_000;

/** What a browser asks for at a time. */
const BLOCK = 128;

/** The server sends this much at once, and keeps so far ahead of what it takes for heard. */
const MESSAGE_MS = 80;
const LEAD_MS = 160;

/** A voice: so long it speaks, so long it pauses. */
const SPEAKS_MS = 2400;
const PAUSES_MS = 400;

/** The same numbers each time. @param {number} seed */
function dice(seed) {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/** @param {number} from_ms */
function voice(from_ms) {
  return Float32Array.from({ length: (MESSAGE_MS * RATE) / 1000 }, (_, n) => {
    const at_ms = from_ms + (n * 1000) / RATE;
    return at_ms % (SPEAKS_MS + PAUSES_MS) < SPEAKS_MS ? 0.2 * Math.sin(at_ms * 1.2) : 0;
  });
}

/**
 * @typedef {object} Network
 * @property {string} name
 * @property {(sent_ms: number, roll: () => number) => number} delay of what is sent then
 * @property {number} [length_s] of the reply
 * @property {number} [drift_ppm] how much faster the loudspeaker's clock is than the server's
 * @property {boolean} [datagrams] they overtake each other
 * @property {boolean} [doubled]
 *
 * @param {Network} network
 */
function talkOver({ delay, length_s = 60, drift_ppm = 0, datagrams = false, doubled = false }) {
  const roll = dice(7);
  const arrivals = [];
  let newest = 0;
  for (let at_ms = 0; at_ms < length_s * 1000; at_ms += MESSAGE_MS) {
    const sent_ms = Math.max(0, at_ms + MESSAGE_MS - LEAD_MS);
    const arrived_ms = sent_ms + delay(sent_ms, roll);
    newest = datagrams ? arrived_ms : Math.max(newest, arrived_ms);
    for (let times = doubled ? 2 : 1; times > 0; times--) arrivals.push({ at_ms, arrived_ms: newest + (times - 1) * 30 });
  }
  arrivals.sort((one, other) => one.arrived_ms - other.arrived_ms);
  return listen(arrivals, 1000 / (RATE * (1 + drift_ppm / 1e6)));
}

/** @param {{at_ms: number, arrived_ms: number}[]} arrivals @param {number} sample_ms */
function listen(arrivals, sample_ms) {
  const buffer = new JitterBuffer(RATE);
  const output = new Float32Array(BLOCK);
  /** @type {number[]} */
  const late = [];
  const first_ms = arrivals[0].arrived_ms;
  let [began_ms, next, heard] = [NaN, 0, 0];
  for (let block = 0; !buffer.over; block++) {
    const now_ms = block * BLOCK * sample_ms;
    for (; next < arrivals.length && arrivals[next].arrived_ms <= now_ms; next++) {
      buffer.push((arrivals[next].at_ms * RATE) / 1000, voice(arrivals[next].at_ms));
    }
    if (next === arrivals.length) buffer.end();
    const at_ms = (buffer.position * 1000) / RATE;
    const count = buffer.pull(output);
    heard += count;
    if (!count) continue;
    if (Number.isNaN(began_ms)) began_ms = now_ms;
    late.push(now_ms - first_ms - at_ms);
  }
  late.sort((one, other) => one - other);
  const quantile = (/** @type {number} */ share) => Math.round(late[Math.floor(share * (late.length - 1))]);
  return {
    starts_ms: Math.round(began_ms - first_ms), late_p50_ms: quantile(0.5), late_p95_ms: quantile(0.95),
    underruns: buffer.underruns, target_ms: buffer.target_ms, heard_s: heard / RATE,
  };
}

const stalls = (/** @type {number} */ every_ms, /** @type {number} */ stall_ms) => (/** @type {number} */ sent_ms) =>
  20 + (sent_ms % every_ms < stall_ms && sent_ms > every_ms ? stall_ms - (sent_ms % every_ms) : 0);

/** @type {(Network & {underruns: number, late_ms: number, starts_ms?: number})[]} at most so many, so late in the 95th of a hundred */
const NETWORKS = [
  { name: "a quiet network", delay: () => 20, underruns: 0, late_ms: 10 },
  { name: "jitter of 60 ms", delay: (_, roll) => 20 + 60 * roll(), underruns: 0, late_ms: 90 },
  { name: "jitter of 150 ms", delay: (_, roll) => 20 + 150 * roll(), underruns: 3, late_ms: 230 },
  { name: "bursts: nothing for 120 ms, then all of it", delay: stalls(500, 120), underruns: 2, late_ms: 100 },
  { name: "a stall of 200 ms every 5 s", delay: stalls(5000, 200), underruns: 2, late_ms: 220 },
  { name: "a stall of 1 s every 20 s", delay: stalls(20_000, 1000), underruns: 3, late_ms: 1200 },
  { name: "a loudspeaker that is 200 ppm fast, for 10 minutes", delay: () => 20, drift_ppm: 200, length_s: 600, underruns: 1, late_ms: 90 },
  { name: "a loudspeaker that is 200 ppm slow, for 10 minutes", delay: () => 20, drift_ppm: -200, length_s: 600, underruns: 0, late_ms: 200 },
  { name: "messages that overtake each other", delay: (_, roll) => 20 + 90 * roll(), datagrams: true, underruns: 2, late_ms: 200 },
  { name: "each message twice", delay: () => 20, doubled: true, underruns: 0, late_ms: 10 },
];

for (const network of NETWORKS) {
  test(network.name, (context) => {
    const found = talkOver(network);
    context.diagnostic(JSON.stringify(found));
    assert.ok(found.underruns <= network.underruns, `${found.underruns} under-runs`);
    assert.ok(found.late_p95_ms <= network.late_ms, `${found.late_p95_ms} ms late`);
    assert.ok(found.starts_ms <= 80, `begins after ${found.starts_ms} ms`);
  });
}

// --- the same ear, when something is missing

/** @param {JitterBuffer} buffer @param {SoftEdges} edges @param {number} blocks */
function hear(buffer, edges, blocks) {
  const heard = new Float32Array(blocks * BLOCK);
  for (let at = 0; at < heard.length; at += BLOCK) {
    const block = heard.subarray(at, at + BLOCK);
    edges.soften(block, buffer.pull(block));
  }
  return heard;
}

/** Where a click would be seen: the greatest step from one sample to the next. @param {Float32Array} samples */
function steepest(samples) {
  let most = 0;
  for (let at = 1; at < samples.length; at++) most = Math.max(most, Math.abs(samples[at] - samples[at - 1]));
  return most;
}

/** A tone that never pauses. @param {number} from @param {number} count samples */
const tone = (from, count) => Float32Array.from({ length: count }, (_, n) => 0.5 * Math.sin((2 * Math.PI * 220 * (from + n)) / RATE));

/** Between two samples of that tone there is no more than this. */
const STEP = (2 * Math.PI * 220 * 0.5) / RATE;

/** @type {[string, (buffer: JitterBuffer, edges: SoftEdges) => void][]} */
const BREAKS = [
  ["runs dry", () => undefined],
  ["is held", (buffer, edges) => (buffer.hold(), edges.cut())],
  ["is stopped", (buffer, edges) => (buffer.stop(), edges.cut())],
  ["is followed at once by another", (buffer, edges) => (buffer.begin(), edges.cut(), buffer.push(0, tone(1300, 4800)))],
  ["is held, and goes on elsewhere", (buffer, edges) => (buffer.hold(), edges.cut(), buffer.release(500), edges.cut(), buffer.push(500, tone(1300, 4800)))],
  ["goes on after a piece that never came", (buffer) => buffer.push(5000, tone(5000, 4800))],
];

for (const [name, breaks] of BREAKS) {
  test(`no click is heard where sound ${name}`, () => {
    const buffer = new JitterBuffer(RATE);
    const edges = new SoftEdges(RATE);
    buffer.push(0, tone(0, 3000));
    const before = hear(buffer, edges, 20);
    assert.ok(steepest(before.subarray(200)) > STEP * 0.9, "a tone is heard");
    breaks(buffer, edges);
    const after = hear(buffer, edges, 60);
    assert.ok(steepest(Float32Array.of(...before, ...after)) < STEP * 3);
  });
}

test("what is held is silent after the soft edge, and not a sample of it is heard more", () => {
  const buffer = new JitterBuffer(RATE);
  const edges = new SoftEdges(RATE);
  buffer.push(0, tone(0, RATE));
  hear(buffer, edges, 20);
  const { position } = buffer;
  buffer.hold();
  edges.cut();
  const after = hear(buffer, edges, 20);
  assert.equal(buffer.position, position);
  assert.ok(after.subarray(0, 100).some(Boolean), "an edge");
  assert.ok(!after.subarray((RATE * 5) / 1000).some(Boolean), "of 5 ms");
});

test("all that follows what never came is heard at its place", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, tone(0, 2400));
  buffer.push(2880, tone(2880, 2400));
  buffer.end();
  const blocks = [];
  for (let output = new Float32Array(BLOCK); !buffer.over; output = new Float32Array(BLOCK)) {
    buffer.pull(output);
    blocks.push(...output);
  }
  const begins = blocks.findIndex((sample, at) => at > 2500 && sample !== 0);
  assert.ok(begins >= 2880 && begins < 2880 + 2 * BLOCK, `after ${begins} samples`);
});

test("a reply that was stopped stays so, whatever still comes of it, and how far it was heard is known", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, tone(0, 4800));
  const output = new Float32Array(BLOCK);
  buffer.pull(output);
  buffer.stop();
  buffer.push(4800, tone(4800, 4800));
  assert.equal(buffer.pull(output), 0);
  assert.ok(buffer.over);
  assert.equal(buffer.position, BLOCK);
});

test("what a bad network taught is forgotten, reply by reply", () => {
  const buffer = new JitterBuffer(RATE);
  const output = new Float32Array(2400);
  for (const at of [0, 2400, 4800]) {
    buffer.push(at, tone(at, 2400));
    buffer.pull(output);
    buffer.pull(output);
  }
  const learnt = buffer.target_ms;
  assert.ok(learnt > 60);
  for (let reply = 0; reply < 20; reply++) {
    buffer.begin();
    buffer.push(0, tone(0, 9600));
    buffer.pull(output);
  }
  assert.equal(buffer.target_ms, 60);
});
