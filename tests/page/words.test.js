/** What was said, how long it took, and the words of the interface. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { scale } from "../../web/page/js/chart.js";
import { answerMs, Distribution, Latency, parts } from "../../web/page/js/latency.js";
import { STRINGS, typeset } from "../../web/page/js/strings.js";
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

test("a reply that is told again goes on, whatever was thought to have become of it", () => {
  const said = replied();
  said.recalled([{ type: "message", id: "a", role: "assistant", text: "one two" }]);
  assert.equal(said.lines[0].state, "done");
  said.saysAnew("a");
  said.says("a", "one two three");
  assert.deepEqual([said.lines.length, said.lines[0].state, said.lines[0].text], [1, "open", "one two three"]);
});

test("what was said while nobody heard it is put where it belongs, and what was left open is settled", () => {
  const said = new Transcript();
  said.understood("u1", "first");
  said.guess("u2", "sec");
  said.note("the conversation goes on");
  said.line("a2", "them");
  const message = (/** @type {string} */ id, /** @type {string} */ role, /** @type {string} */ text) => ({ type: "message", id, role, text });
  said.recalled([message("u1", "user", "first"), message("a1", "assistant", "hm"), message("u2", "user", "second"), message("a2", "assistant", "wel")], "a2");
  assert.deepEqual(said.lines.map((line) => `${line.id} ${line.text} ${line.state}`).filter((line) => !line.startsWith("note")), ["u1 first done", "a1 hm done", "u2 second done", "a2  open"]);
  said.recalled([message("u1", "user", "first")]);
  assert.equal(said.lines.length, 5);
});

test("the page says a thing once, however often it happens", () => {
  const said = new Transcript();
  for (let at = 0; at < 50; at++) said.note("lost");
  assert.equal(said.lines.length, 1);
});

test("a line does not grow without end", () => {
  const said = new Transcript();
  for (let at = 0; at < 100; at++) said.says("a", "word ".repeat(1000));
  assert.ok(said.lines[0].text.length <= 20_000);
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
  for (let at = 0; at < 30_000; at++) all.add(at < 10_000 ? 1000 : 5);
  assert.equal(all.quantile(0.95), 5);
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

test("a session names who was chosen, and the server knows the rest", () => {
  const made = session({ ...DEFAULTS, voice: "Nora" }, [MUET, NORA], true, false);
  assert.equal(made.audio.output.voice, "Nora");
  assert.equal(made.antiphon.character, "Nora");
  assert.equal(made.instructions, "");
  assert.equal(made.audio.input.transcription.language, "");
  assert.equal(made.audio.input.format.type, "audio/opus");
});

test("who chose nobody gets somebody who can speak", () => {
  assert.equal(session({ ...DEFAULTS }, [MUET, NORA], false, false).audio.output.voice, "Nora");
});

test("own instructions, an own language and an own voice go along with who was chosen", () => {
  const made = session({ ...DEFAULTS, voice: "custom:x", instructions: " Rhyme. ", language: "fr" }, [NORA], true, false);
  assert.deepEqual([made.instructions, made.audio.input.transcription.language], ["Rhyme.", "fr"]);
  assert.deepEqual([made.audio.output.voice, made.antiphon.character], ["custom:x", "Nora"]);
});

test("a conversation that goes on keeps who answers", () => {
  const made = session({ ...DEFAULTS, voice: "Nora", instructions: "Rhyme." }, [NORA], true, true);
  assert.deepEqual([made.audio.output.voice, made.antiphon.character, made.instructions], [undefined, undefined, undefined]);
});

test("sound is recorded only with words", () => {
  assert.deepEqual(session({ ...DEFAULTS, sound: true }, [], true, false).antiphon, { allow_recording: false, record_audio: false });
});

test("French is set as it is in French: no-break spaces before high signs, curly apostrophes", () => {
  for (const [name, plain] of Object.entries(STRINGS.fr)) {
    const text = typeset(plain, "fr");
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

test("what had come whole and is stopped before its end is struck off from where it was heard", () => {
  const said = new Transcript();
  said.line("a", "them");
  said.says("a", "one two three");
  said.sounds("a", [{ text: "one", start_ms: 0 }, { text: "two", start_ms: 300 }, { text: "three", start_ms: 600 }]);
  said.ended("a", false);
  said.cutShort("a", 400);
  assert.deepEqual([said.lines[0].state, said.lines[0].text.slice(0, said.lines[0].heard)], ["cut", "one two"]);
});
