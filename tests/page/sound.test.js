/** Sound on its way: the jitter buffer, the resampler, bytes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { cutPackets, fromBase64, fromPcm16, toBase64, toPcm16 } from "../../web/page/js/audio_bytes.js";
import { JitterBuffer } from "../../web/page/js/jitter_buffer.js";
import { level } from "../../web/page/js/loudness.js";

import { Resampler } from "../../web/page/js/resampler.js";
import { cut, joined, unfit, wav } from "../../web/page/js/sample.js";

const RATE = 1000; // a sample is a millisecond

/** Samples that say where in the reply they belong. @param {number} from @param {number} count */
const piece = (from, count) => Float32Array.from({ length: count }, (_, at) => from + at + 1);

/** @param {JitterBuffer} buffer @param {number} count */
function heard(buffer, count) {
  const output = new Float32Array(count);
  const got = buffer.pull(output);
  return [...output.subarray(0, got)];
}

test("it starts when enough is in hand", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 40));
  assert.deepEqual(heard(buffer, 10), []);
  buffer.push(40, piece(40, 40));
  assert.deepEqual(heard(buffer, 10), [...piece(0, 10)]);
});

test("a reply shorter than that is heard all the same", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 20));
  buffer.end();
  assert.equal(heard(buffer, 50).length, 20);
  assert.ok(buffer.over);
});

test("every sample is heard once and in order, however it comes", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(100, piece(100, 100));
  buffer.push(0, piece(0, 100));
  buffer.push(0, piece(0, 50)); // again
  assert.deepEqual([...heard(buffer, 150), ...heard(buffer, 50)], [...piece(0, 100), ...piece(100, 100)]);
});

test("running dry in the middle is counted, and more is waited for next time", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 100));
  assert.equal(heard(buffer, 150).length, 100);
  assert.equal(buffer.underruns, 0, "it may have been the end");
  buffer.push(100, piece(100, 70));
  assert.equal(buffer.underruns, 1);
  assert.deepEqual(heard(buffer, 10), [], "70 ms are too little now");
  buffer.push(170, piece(170, 50));
  assert.equal(heard(buffer, 10).length, 10);
});

test("running dry at the end is not", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 100));
  heard(buffer, 150);
  buffer.end();
  assert.equal(buffer.underruns, 0);
});

test("a reply that is held is silent at once, and goes on where it stopped", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 200));
  heard(buffer, 50);
  buffer.hold();
  assert.deepEqual(heard(buffer, 50), []);
  buffer.release(80);
  buffer.push(80, piece(1000, 100)); // another version of what follows
  assert.deepEqual(heard(buffer, 40), [...piece(50, 30), ...piece(1000, 10)]);
  assert.equal(buffer.underruns, 0);
});

test("a reply that goes on before the place where we are is heard again from there", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 200));
  heard(buffer, 100);
  buffer.hold();
  buffer.release(60);
  buffer.push(60, piece(60, 100));
  assert.deepEqual(heard(buffer, 10), [...piece(60, 10)]);
  assert.equal(buffer.position, 70);
});

test("what waits too long is caught up with in pauses of the voice, and nowhere else", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.push(0, piece(0, 400));
  buffer.push(400, new Float32Array(200)); // a pause
  buffer.push(600, piece(600, 400));
  let blocks = 0;
  const spoken = [];
  for (buffer.end(); !buffer.over; blocks++) spoken.push(...heard(buffer, 10).filter((sample) => sample));
  assert.deepEqual(spoken, [...piece(0, 400), ...piece(600, 400)]);
  assert.ok(blocks < 95, `${blocks} blocks of 100`);
});

test("a reply that another connection began is counted from where it goes on", () => {
  const buffer = new JitterBuffer(RATE);
  buffer.release(3000);
  buffer.push(3000, piece(3000, 100));
  assert.deepEqual(heard(buffer, 10), [...piece(3000, 10)]);
  assert.equal(buffer.position, 3010);
});

test("it is bounded, whatever comes", () => {
  const buffer = new JitterBuffer(RATE);
  for (let at = 0; at < 100; at++) buffer.push(at * 1000, piece(0, 1000));
  assert.ok(buffer.depth <= 31_000);
});

for (const [from, to] of [[48_000, 24_000], [44_100, 24_000], [24_000, 48_000], [24_000, 44_100], [24_000, 24_000], [16_000, 24_000]]) {
  test(`a tone of 1 kHz stays one from ${from} to ${to} Hz, in blocks of any size`, () => {
    const resampler = new Resampler(from, to);
    const made = [];
    for (let at = 0, size = 1; at < from; at += size, size = (size * 7) % 311) {
      made.push(...resampler.process(Float32Array.from({ length: size }, (_, n) => Math.sin((2 * Math.PI * 1000 * (at + n)) / from))));
    }
    assert.ok(Math.abs(made.length - to) < to / 100 + 100, `${made.length} samples`);
    const steady = made.slice(2000, 2000 + to / 10);
    let [sine, cosine] = [0, 0];
    steady.forEach((sample, at) => {
      sine += sample * Math.sin((2 * Math.PI * 1000 * at) / to);
      cosine += sample * Math.cos((2 * Math.PI * 1000 * at) / to);
    });
    const tone = (2 / steady.length) * Math.hypot(sine, cosine);
    assert.ok(Math.abs(tone - 1) < 0.01, `amplitude ${tone}`);
    const rest = Math.sqrt(Math.max(0, level(Float32Array.from(steady)) ** 2 - tone ** 2 / 2));
    assert.ok(rest < 0.003, `noise ${rest}`);
  });
}

test("what is too high for the lower rate does not come back as something else", () => {
  const resampler = new Resampler(48_000, 24_000);
  const made = resampler.process(Float32Array.from({ length: 48_000 }, (_, at) => Math.sin((2 * Math.PI * 15_000 * at) / 48_000)));
  assert.ok(level(made.subarray(1000)) < 0.003);
});

test("bytes come back from base64 as they were", () => {
  const bytes = Uint8Array.from({ length: 20_000 }, (_, at) => (at * 31) % 256);
  assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
});

test("samples come back from 16 bits, and what is too loud is clipped", () => {
  const back = fromPcm16(toPcm16(Float32Array.of(0, 0.5, -0.5, 3, -3)));
  for (const [at, sample] of [0, 0.5, -0.5, 1, -1].entries()) assert.ok(Math.abs(back[at] - sample) < 1e-4);
});

test("packets are cut by their sizes, as far as these are true", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5);
  assert.deepEqual(cutPackets(bytes, [2, 3]).map((packet) => [...packet]), [[1, 2], [3, 4, 5]]);
  assert.equal(cutPackets(bytes, [2, 9]).length, 1);
  assert.equal(cutPackets(bytes, [-1]).length, 0);
});

test("a recording is cut to what was chosen, and is a WAV file", () => {
  const file = wav(cut(new Float32Array(10 * 24_000).fill(0.5), 2, 6));
  const text = (/** @type {number} */ at) => String.fromCharCode(...file.subarray(at, at + 4));
  const view = new DataView(file.buffer);
  assert.deepEqual([text(0), text(8), text(36)], ["RIFF", "WAVE", "data"]);
  assert.equal(view.getUint32(40, true), 4 * 24_000 * 2);
  assert.equal(view.getUint32(24, true), 24_000);
  assert.equal(file.length, 44 + 4 * 24_000 * 2);
  assert.equal(joined([Float32Array.of(1), Float32Array.of(2, 3)]).join(), "1,2,3");
});

for (const [length_s, wrong] of /** @type {const} */ ([[2.9, "sampleShort"], [3, ""], [30, ""], [30.1, "sampleLong"]])) {
  test(`${length_s} s of somebody's voice: ${wrong || "enough"}`, () => assert.equal(unfit(length_s), wrong));
}
