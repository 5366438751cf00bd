/** What was said, how long it took, what closes mean, and the words of the interface. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { scale } from "../../web/page/js/chart.js";
import { answerMs, Distribution, Latency, parts } from "../../web/page/js/latency.js";
import { afterClose, afterRefusal, backoff } from "../../web/page/js/retry.js";
import { STRINGS } from "../../web/page/js/strings.js";
import { Transcript } from "../../web/page/js/transcript.js";
import { DEFAULTS, session } from "../../web/page/js/wishes.js";

const PAGE = new URL("../../web/page/", import.meta.url);

// --- the transcript

function replied() {
  const said = new Transcript();
  said.line("a", "them");
  for (const word of ["one ", "two ", "three ", "two."]) said.says("a", word);
  said.sounds("a", [{ text: "one ", start_ms: 0 }, { text: "two ", start_ms: 300 }]);
  said.sounds("a", [{ text: "three ", start_ms: 600 }, { text: "two.", start_ms: 900 }]);
  return said;
}

for (const [ms, heard] of /** @type {const} */ ([[0, ""], [1, "one "], [301, "one two "], [650, "one two three "], [901, "one two three two."]])) {
  test(`after ${ms} ms "${heard}" was heard`, () => {
    const said = replied();
    said.heardTo("a", ms);
    assert.equal(said.lines[0].text.slice(0, said.lines[0].heard), heard);
  });
}

test("of a reply that was cut the rest is not heard any more", () => {
  const said = replied();
  said.heardTo("a", 400);
  said.ended("a", true, "one");
  said.heardTo("a", 4000);
  assert.deepEqual([said.lines[0].state, said.lines[0].heard], ["cut", "one two ".length]);
});

test("where nobody told when words sound, the server's opinion counts", () => {
  const said = new Transcript();
  said.line("a", "them");
  said.says("a", "one two three");
  said.ended("a", true, "one two");
  assert.equal(said.lines[0].heard, 7);
});

test("after a lost connection the words come again, and stand there once", () => {
  const said = new Transcript();
  said.line("a", "them");
  said.says("a", "one two");
  said.saysAnew("a");
  said.says("a", "one two three");
  assert.equal(said.lines[0].text, "one two three");
});

test("and words that sound again are counted once", () => {
  const said = replied();
  said.sounds("a", [{ text: "two ", start_ms: 300 }, { text: "three ", start_ms: 600 }]);
  said.heardTo("a", 650);
  assert.equal(said.lines[0].text.slice(0, said.lines[0].heard), "one two three ");
});

test("a guess gives way to what was understood, and to nothing if that was nothing", () => {
  const said = new Transcript();
  said.guess("u", "wreck a nice");
  said.understood("u", "recognise");
  said.guess("u", "too late");
  assert.deepEqual(said.lines.map((line) => line.text), ["recognise"]);
  said.guess("v", "hm");
  said.understood("v", " ");
  assert.equal(said.lines.length, 1);
});

test("a page that is left open does not grow", () => {
  const said = new Transcript();
  for (let at = 0; at < 5000; at++) said.understood(`u${at}`, "word");
  assert.ok(said.lines.length <= 400);
});

// --- times

test("a turn is made of its parts", () => {
  const latency = new Latency();
  latency.turnEnded(1000, 1300);
  latency.asked("r", 1310);
  for (const [mark, at] of /** @type {const} */ ([["word_ms", 1500], ["packet_ms", 1600], ["sound_ms", 1700], ["sound_ms", 9999]])) latency.mark(mark, at);
  assert.equal(latency.turns.length, 1);
  assert.equal(answerMs(latency.turns[0]), 700);
  assert.deepEqual(parts(latency.turns[0]).map((part) => part.ms), [310, 190, 100, 100]);
});

test("a reply that nobody's voice asked for is counted from when it was asked for", () => {
  const latency = new Latency();
  latency.asked("r", 100);
  latency.mark("sound_ms", 400);
  assert.equal(answerMs(latency.turns[0]), 300);
  assert.ok(parts(latency.turns[0]).every((part) => part.ms >= 0));
});

test("quantiles are of what was measured last", () => {
  const all = new Distribution();
  assert.ok(Number.isNaN(all.quantile(0.5)));
  for (let at = 0; at < 20_000; at++) all.add(at < 10_000 ? 1000 : 5);
  assert.equal(all.quantile(0.95), 5);
});

// --- what a close means

for (const [code, then, reason, forgets] of /** @type {const} */ ([
  [1000, "ended", "ended", true], [1008, "failed", "dismissed", true], [1013, "again", "full", false], [1012, "again", "lost", false],
  [1006, "again", "lost", false], [1011, "again", "lost", false], [4404, "again", "forgotten", true],
])) {
  test(`a close with ${code}: ${then}, ${reason}`, () => {
    const verdict = afterClose(code, 0, 0.5);
    assert.deepEqual([verdict.then, verdict.reason, verdict.forget], [then, reason, forgets]);
  });
}

for (const [status, resuming, attempt, reason] of /** @type {const} */ ([
  [0, false, 0, "away"], [401, false, 0, "key"], [403, false, 0, "refused"], [429, false, 0, "limited"], [503, true, 3, "lost"], [200, true, 0, "lost"], [200, true, 1, "forgotten"],
])) {
  test(`a connection that is refused where HTTP says ${status}, at attempt ${attempt}: ${reason}`, () => {
    assert.equal(afterRefusal(status, resuming, attempt, 0.5).reason, reason);
  });
}

test("waits double and end at some seconds", () => {
  assert.ok(backoff(0, 0.5) < backoff(1, 0.5));
  assert.ok(backoff(1000, 1) < 12_000);
});

// --- words of the interface

test("both languages say everything", () => {
  assert.deepEqual(Object.keys(STRINGS.fr).sort(), Object.keys(STRINGS.en).sort());
  for (const [name, text] of Object.entries(STRINGS.en)) {
    const values = (/** @type {string} */ said) => (said.match(/\{\w+\}/g) ?? []).sort();
    assert.deepEqual(values(STRINGS.fr[name]), values(text), name);
    assert.ok(STRINGS.fr[name].trim() && text.trim(), name);
  }
});

test("every word that is asked for is there", () => {
  const html = readFileSync(new URL("index.html", PAGE), "utf8");
  const scripts = readdirSync(new URL("js/", PAGE)).map((name) => readFileSync(new URL(`js/${name}`, PAGE), "utf8"));
  const asked = [html, ...scripts].flatMap((source) => [...source.matchAll(/data-t(?:-label|-placeholder)?="(\w+)"|\bt\("(\w+)"/g)]);
  assert.ok(asked.length > 40);
  for (const [, one, other] of asked) assert.ok((one ?? other) in STRINGS.en, one ?? other);
});

// --- wishes

const NORA = { name: "Nora", comment: "Small talk", instructions: { type: "smalltalk", text: "Your name is Nora.", language: "en" }, source: {} };
const MUET = { ...NORA, name: "Muet", available: false };

test("a session has the voice, the words and the language of who was chosen", () => {
  const made = session({ ...DEFAULTS, voice: "Nora" }, [MUET, NORA], true, false);
  assert.equal(made.audio.output.voice, "Nora");
  assert.match(made.instructions ?? "", /Nora.*Small talk/);
  assert.equal(made.audio.input.transcription.language, "en");
  assert.equal(made.audio.input.format.type, "audio/opus");
});

test("who chose nobody gets somebody who can speak", () => {
  assert.equal(session({ ...DEFAULTS }, [MUET, NORA], false, false).audio.output.voice, "Nora");
});

test("a conversation that goes on keeps its voice", () => {
  assert.equal(session({ ...DEFAULTS, voice: "Nora" }, [NORA], true, true).audio.output.voice, undefined);
});

test("sound is recorded only with words", () => {
  assert.deepEqual(session({ ...DEFAULTS, sound: true }, [], true, false).antiphon, { allow_recording: false, record_audio: false });
});

test("French is set as it is in French: no-break spaces before high signs, curly apostrophes", () => {
  for (const [name, text] of Object.entries(STRINGS.fr)) {
    assert.doesNotMatch(text, /[^\s]'| [;:!?»%]|[^\s\u00a0\u202f][;!?]|[^\s\u00a0\u202f]:(?!\/)/, name);
  }
});

test("the axis of the chart has few lines and reaches beyond the longest turn", () => {
  assert.deepEqual(scale(826), { step_ms: 250, top_ms: 1000 });
  assert.deepEqual(scale(1001), { step_ms: 500, top_ms: 1500 });
  for (const ms of [1, 99, 12_345, 500_000]) {
    const { step_ms, top_ms } = scale(ms);
    assert.ok(top_ms >= ms && top_ms / step_ms <= 4, String(ms));
  }
});
